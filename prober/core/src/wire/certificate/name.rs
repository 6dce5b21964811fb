//! Distinguished names as text.

use crate::wire::text::{bounded, escaped, printable, utf16};
use x509_parser::asn1_rs::{Oid, Tag, oid};
use x509_parser::oid_registry as registry;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// RFC 4514 section 3: the attribute types that have a short name.
static SHORT_NAMES: [(Oid<'static>, &str); 9] = [
    (registry::OID_X509_COMMON_NAME, "CN"),
    (registry::OID_X509_LOCALITY_NAME, "L"),
    (registry::OID_X509_STATE_OR_PROVINCE_NAME, "ST"),
    (registry::OID_X509_ORGANIZATION_NAME, "O"),
    (registry::OID_X509_ORGANIZATIONAL_UNIT, "OU"),
    (registry::OID_X509_COUNTRY_NAME, "C"),
    (registry::OID_X509_STREET_ADDRESS, "STREET"),
    (registry::OID_DOMAIN_COMPONENT, "DC"),
    (oid!(0.9.2342.19200300.100.1.1), "UID"),
];

/// The longest object identifier that is written out, in octets.
const OID_LEN_MAX: usize = 32;

/// Gives the last common name.
pub(super) fn common_name(name: &X509Name<'_>) -> Option<String> {
    name.iter_common_name().last().map(|attribute| printable(characters(attribute)))
}

/// Writes a name as RFC 4514 section 2 has it: the last part first, separators escaped.
pub(super) fn distinguished_name(name: &X509Name<'_>) -> String {
    let mut parts: Vec<_> = name.iter_rdn().collect();
    parts.reverse();
    bounded(parts.iter().enumerate().flat_map(|(index, part)| {
        part.iter().enumerate().flat_map(move |(inner, attribute)| {
            let separator = match (index, inner) {
                (0, 0) => "",
                (_, 0) => ",",
                _ => "+",
            };
            let start = format!("{separator}{}=", short_name(attribute.attr_type()));
            [start].into_iter().chain(characters(attribute).map(escaped_in_name))
        })
    }))
}

fn short_name(attribute_type: &Oid<'_>) -> String {
    match SHORT_NAMES.iter().find(|(oid, _)| oid == attribute_type) {
        Some((_, name)) => (*name).to_owned(),
        // Arcs are numbers without bound, and writing one takes the square of its length.
        None if attribute_type.as_bytes().len() > OID_LEN_MAX => "?".to_owned(),
        None => attribute_type.to_id_string(),
    }
}

/// RFC 4514 section 2.4: what would else be read as the name's own syntax.
fn escaped_in_name(character: char) -> String {
    match character {
        ',' | '+' | ';' | '<' | '>' | '=' | '"' => format!("\\{character}"),
        other => escaped(other),
    }
}

/// Decodes the string types of X.520; what is no Unicode is read as Latin-1.
fn characters<'a>(attribute: &'a AttributeTypeAndValue<'_>) -> Box<dyn Iterator<Item = char> + 'a> {
    let octets = attribute.attr_value().data;
    match attribute.attr_value().tag() {
        Tag::Utf8String => {
            let decoded = octets.utf8_chunks().flat_map(|chunk| {
                let lost = (!chunk.invalid().is_empty()).then_some(char::REPLACEMENT_CHARACTER);
                chunk.valid().chars().chain(lost)
            });
            Box::new(decoded)
        }
        Tag::BmpString => {
            let (units, _odd) = octets.as_chunks();
            Box::new(utf16(units.iter().map(|unit| u16::from_be_bytes(*unit))))
        }
        Tag::UniversalString => {
            let (units, _odd) = octets.as_chunks();
            let points = units.iter().map(|unit| u32::from_be_bytes(*unit));
            Box::new(points.map(|it| char::from_u32(it).unwrap_or(char::REPLACEMENT_CHARACTER)))
        }
        _ => Box::new(octets.iter().copied().map(char::from)),
    }
}
