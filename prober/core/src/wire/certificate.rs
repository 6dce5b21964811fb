//! What a prober needs of a server's certificate (RFC 5280): whose it is, until when, how strong.
//!
//! Nothing here decides whether a certificate is to be trusted. Texts come from the peer and are
//! made printable and at most 256 bytes long.

mod algorithm;
mod name;

pub use self::algorithm::{KeyAlgorithm, PublicKey, SignatureAlgorithm};
use super::reader::Reader;
use super::{ParseError, der};
use std::fmt::Write;
use x509_parser::asn1_rs::{Oid, oid};
use x509_parser::certificate::{X509Certificate, X509CertificateParser};
use x509_parser::error::X509Error;
use x509_parser::extensions::{ExtendedKeyUsage, X509Extension};
use x509_parser::nom::{self, Parser};
use x509_parser::oid_registry::OID_X509_EXT_EXTENDED_KEY_USAGE;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

/// The longest certificate that is read, in bytes.
pub const LEN_MAX: usize = 64 * 1024;

/// RFC 5280 section 4.1.2.2: a serial number takes at most so many octets.
const SERIAL_LEN_MAX: usize = 20;
/// "Remote Desktop Authentication", the purpose that certificate templates of Windows give.
const REMOTE_DESKTOP_AUTHENTICATION: Oid<'static> = oid!(1.3.6.1.4.1.311.54.1.2);

/// A certificate, as far as it is of use here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The last `commonName` of the subject, which is the most specific one.
    pub subject_common_name: Option<String>,
    /// The issuer's distinguished name as RFC 4514 writes it, most specific part first.
    pub issuer: String,
    /// The serial number in hexadecimal, without leading zero octets.
    pub serial: String,
    /// Who signed it.
    pub issuance: Issuance,
    /// Start of validity in seconds since the Unix epoch.
    pub not_before: i64,
    /// End of validity in seconds since the Unix epoch.
    pub not_after: i64,
    /// The subject's key.
    pub public_key: PublicKey,
    /// How it was signed.
    pub signature_algorithm: SignatureAlgorithm,
    /// What it says it may be used for.
    pub purpose: Purpose,
    /// SHA-256 over the whole certificate, in hexadecimal.
    pub fingerprint_sha256: String,
}

/// Who signed a certificate (RFC 5280 section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Issuance {
    /// Subject and issuer are the same, and the signature is by its own key.
    SelfSigned,
    /// Subject and issuer are the same, but the signature does not verify with its own key.
    SelfIssued,
    /// Subject and issuer are the same, and the signature is of a kind that is not checked.
    Unverified,
    /// Another issuer's name stands in it; its signature was not checked.
    Foreign,
}

/// What the extended key usage allows a server (RFC 5280 section 4.2.1.12).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// The extension is absent: any use is allowed.
    Unrestricted,
    /// `id-kp-serverAuth` or `anyExtendedKeyUsage` is listed.
    ServerAuth,
    /// Only Windows' "Remote Desktop Authentication" is listed, which its clients accept.
    RemoteDesktop,
    /// None of these is listed.
    Other,
}

/// Why bytes are no certificate that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// More than [`LEN_MAX`] bytes.
    #[error("read a certificate of more than 64 KiB")]
    TooLarge,
    /// The bytes end inside the certificate.
    #[error("read a certificate that is cut short")]
    Truncated,
    /// There are bytes behind the certificate.
    #[error("read a certificate with bytes behind it")]
    TrailingData,
    /// Its start or end of validity is no time.
    #[error("read the validity of a certificate")]
    BadValidity,
    /// Its key is not of the algorithm that it names.
    #[error("read the public key of a certificate")]
    BadPublicKey,
    /// Its extensions cannot be taken apart, or one that is needed cannot be read.
    #[error("read the extensions of a certificate")]
    BadExtensions,
    /// Anything else that is not as RFC 5280 has it.
    #[error("read bytes that are no certificate")]
    Malformed,
}

impl Certificate {
    /// Reads a certificate in DER.
    pub fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        check_length(der)?;
        // Of the extensions one is needed, so the contents of the others are left alone.
        let mut parser = X509CertificateParser::new().with_deep_parse_extensions(false);
        let (_, certificate) = parser.parse(der).map_err(CertificateError::from)?;
        let public_key = PublicKey::read(certificate.public_key())?;
        let signature_algorithm = SignatureAlgorithm::read(&certificate.signature_algorithm);
        let validity = certificate.validity();
        Ok(Self {
            subject_common_name: name::common_name(certificate.subject()),
            issuer: name::distinguished_name(certificate.issuer()),
            serial: serial(certificate.raw_serial()),
            issuance: issuance(&certificate, signature_algorithm, public_key),
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
            public_key,
            signature_algorithm,
            purpose: Purpose::read(certificate.extensions())?,
            fingerprint_sha256: fingerprint_sha256(der),
        })
    }
}

impl Issuance {
    /// Gives the stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SelfSigned => "self_signed",
            Self::SelfIssued => "self_issued",
            Self::Unverified => "unverified",
            Self::Foreign => "foreign",
        }
    }
}

impl Purpose {
    /// Gives the stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unrestricted => "unrestricted",
            Self::ServerAuth => "server_auth",
            Self::RemoteDesktop => "remote_desktop",
            Self::Other => "other",
        }
    }

    fn read(extensions: &[X509Extension<'_>]) -> Result<Self, CertificateError> {
        let mut usages = extensions.iter().filter(|it| it.oid == OID_X509_EXT_EXTENDED_KEY_USAGE);
        let Some(extension) = usages.next() else { return Ok(Self::Unrestricted) };
        // RFC 5280 section 4.2: no extension stands there twice.
        let (Ok((_, usage)), None) = (ExtendedKeyUsage::from_der(extension.value), usages.next())
        else {
            return Err(CertificateError::BadExtensions);
        };
        Ok(if usage.server_auth || usage.any {
            Self::ServerAuth
        } else if usage.other.contains(&REMOTE_DESKTOP_AUTHENTICATION) {
            Self::RemoteDesktop
        } else {
            Self::Other
        })
    }
}

impl From<nom::Err<X509Error>> for CertificateError {
    fn from(error: nom::Err<X509Error>) -> Self {
        match error {
            nom::Err::Error(X509Error::InvalidDate) => Self::BadValidity,
            nom::Err::Error(X509Error::InvalidSPKI) => Self::BadPublicKey,
            nom::Err::Error(X509Error::InvalidExtensions) => Self::BadExtensions,
            _ => Self::Malformed,
        }
    }
}

/// Gives SHA-256 over these bytes in hexadecimal.
pub fn fingerprint_sha256(der: &[u8]) -> String {
    hexadecimal(ring::digest::digest(&ring::digest::SHA256, der).as_ref())
}

/// Gives the day of a time since the Unix epoch in seconds, `YYYY-MM-DD` in UTC; the seconds
/// themselves where the calendar does not reach.
pub fn date(seconds: i64) -> String {
    let time = ASN1Time::from_timestamp(seconds);
    let spell = |time: ASN1Time| {
        let time = time.to_datetime();
        format!("{} {:02}:{:02} UTC", time.date(), time.hour(), time.minute())
    };
    time.map_or_else(|_| format!("{seconds} s"), spell)
}

/// Checks that the bytes are one element and nothing else.
fn check_length(der: &[u8]) -> Result<(), CertificateError> {
    if der.len() > LEN_MAX {
        return Err(CertificateError::TooLarge);
    }
    let mut reader = Reader::new(der);
    match der::element(&mut reader) {
        Ok(_) if reader.rest().is_empty() => Ok(()),
        Ok(_) => Err(CertificateError::TrailingData),
        Err(ParseError::Truncated) => Err(CertificateError::Truncated),
        Err(_) => Err(CertificateError::Malformed),
    }
}

fn issuance(
    certificate: &X509Certificate<'_>,
    signature_algorithm: SignatureAlgorithm,
    public_key: PublicKey,
) -> Issuance {
    if certificate.subject().as_raw() != certificate.issuer().as_raw() {
        return Issuance::Foreign;
    }
    let Some(verifier) = algorithm::verifier(signature_algorithm, public_key) else {
        return Issuance::Unverified;
    };
    let key = &certificate.public_key().subject_public_key.data;
    let signature = &certificate.signature_value.data;
    let signed = certificate.tbs_certificate.as_ref();
    match ring::signature::UnparsedPublicKey::new(verifier, key).verify(signed, signature) {
        Ok(()) => Issuance::SelfSigned,
        Err(_) => Issuance::SelfIssued,
    }
}

/// Writes a serial number; one that is longer than allowed is cut.
fn serial(octets: &[u8]) -> String {
    let zeros = octets.iter().take_while(|octet| **octet == 0).count();
    let significant = octets.get(zeros..).filter(|octets| !octets.is_empty()).unwrap_or(&[0]);
    match significant.get(..SERIAL_LEN_MAX) {
        Some(start) if start.len() < significant.len() => hexadecimal(start) + "…",
        _ => hexadecimal(significant),
    }
}

/// Spells octets in lower-case hexadecimal.
pub fn hexadecimal(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{octet:02x}");
        text
    })
}

/// Reads what [`hexadecimal`] wrote; `None` where it is anything else.
pub fn from_hexadecimal(text: &str) -> Option<[u8; 32]> {
    let mut octets = [0; 32];
    let digits = text.as_bytes();
    if digits.len() != octets.len() * 2 {
        return None;
    }
    for (octet, pair) in octets.iter_mut().zip(digits.as_chunks::<2>().0) {
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|it| u8::try_from(it).ok());
        let [high, low] = *pair;
        *octet = digit(high)? * 16 + digit(low)?;
    }
    Some(octets)
}

#[cfg(test)]
mod tests;
