//! ICMP for IPv4 (RFC 792) and IPv6 (RFC 4443), with multi-part errors (RFC 4884).

use super::quote::{self, Quoted};
use super::reader::Reader;
use super::{Family, ParseError, checksum};

/// How many extension objects, and how many MPLS labels, are read from one error.
pub const OBJECTS_MAX: usize = 16;

/// RFC 4884 section 5.1: a quote that extensions follow is padded to at least this many bytes.
const QUOTED_LEN_MIN: usize = 128;
const EXTENSION_VERSION: u8 = 2;
const MPLS_LABEL_STACK: (u8, u8) = (1, 1);

/// An ICMP message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Icmp<'a> {
    /// A question: are you there?
    EchoRequest {
        /// Identifier, which tells pinging processes apart.
        id: u16,
        /// Sequence number.
        seq: u16,
        /// The data to be echoed, as far as it was captured.
        payload: &'a [u8],
    },
    /// The answer to an echo request, with the same fields.
    EchoReply {
        /// Identifier of the request.
        id: u16,
        /// Sequence number of the request.
        seq: u16,
        /// The data echoed, as far as it was captured.
        payload: &'a [u8],
    },
    /// What became of another packet.
    Error(IcmpError<'a>),
    /// Any other message, such as neighbour discovery.
    Other {
        /// Type of the message.
        ty: u8,
        /// Code of the message.
        code: u8,
    },
}

/// An ICMP error: RFC 1122 section 3.2.2 (redirect included), RFC 4443 section 2.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IcmpError<'a> {
    /// Whether type and code are those of ICMPv4 or ICMPv6.
    pub family: Family,
    /// Type of the error.
    pub ty: u8,
    /// Code of the error.
    pub code: u8,
    /// MTU of the next hop in bytes, where the error carries one other than 0.
    ///
    /// ICMPv4 3/4 (RFC 1191 section 4) and ICMPv6 2 (RFC 4443 section 3.2).
    pub mtu: Option<u32>,
    /// The packet that caused the error, from its IP header on, often cut, sometimes padded.
    pub quoted: &'a [u8],
    /// What the router adds about itself; empty in most errors.
    pub extensions: Extensions<'a>,
}

/// An extension structure whose version and checksum hold (RFC 4884 section 7), or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extensions<'a>(&'a [u8]);

/// An extension object (RFC 4884 section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Object<'a> {
    /// Class number: 1 is the MPLS label stack, 2 the interface (RFC 5837).
    pub class: u8,
    /// Sub-type within the class.
    pub ty: u8,
    /// What the object says.
    pub payload: &'a [u8],
}

/// An entry of the label stack a packet arrived with (RFC 4950, RFC 3032 section 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MplsLabel {
    /// The label, 20 bits.
    pub label: u32,
    /// Traffic class, 3 bits (RFC 5462).
    pub traffic_class: u8,
    /// This is the last entry of the stack.
    pub bottom: bool,
    /// Hops left to the label.
    pub ttl: u8,
}

/// Reads a message; its checksum is not judged.
pub fn parse(family: Family, bytes: &[u8]) -> Result<Icmp<'_>, ParseError> {
    let mut reader = Reader::new(bytes);
    let [ty, code] = reader.array()?;
    let _checksum = reader.u16()?;
    match (family, ty) {
        (Family::V4, 8) | (Family::V6, 128) => {
            let (id, seq) = (reader.u16()?, reader.u16()?);
            Ok(Icmp::EchoRequest { id, seq, payload: reader.rest() })
        }
        (Family::V4, 0) | (Family::V6, 129) => {
            let (id, seq) = (reader.u16()?, reader.u16()?);
            Ok(Icmp::EchoReply { id, seq, payload: reader.rest() })
        }
        (Family::V4, 3 | 4 | 5 | 11 | 12) | (Family::V6, 1..=4) => {
            let word = reader.array()?;
            Ok(Icmp::Error(IcmpError::parse(family, [ty, code], word, reader.rest())))
        }
        (Family::V4 | Family::V6, _) => Ok(Icmp::Other { ty, code }),
    }
}

impl Icmp<'_> {
    /// Appends the message with a checksum of 0, as the family numbers it.
    pub fn emit(&self, family: Family, out: &mut Vec<u8>) {
        let (request, reply) = match family {
            Family::V4 => (8, 0),
            Family::V6 => (128, 129),
        };
        match *self {
            Self::EchoRequest { id, seq, payload } => emit_echo(request, [id, seq], payload, out),
            Self::EchoReply { id, seq, payload } => emit_echo(reply, [id, seq], payload, out),
            Self::Error(error) => error.emit(out),
            Self::Other { ty, code } => out.extend([ty, code, 0, 0]),
        }
    }
}

fn emit_echo(ty: u8, id_and_seq: [u16; 2], payload: &[u8], out: &mut Vec<u8>) {
    out.extend([ty, 0, 0, 0]);
    out.extend(id_and_seq.into_iter().flat_map(u16::to_be_bytes));
    out.extend_from_slice(payload);
}

impl<'a> IcmpError<'a> {
    /// Reads the packet that caused the error, which must be of the error's own family.
    pub fn quoted_packet(&self) -> Result<Quoted, ParseError> {
        let quoted = quote::parse(self.quoted)?;
        if Family::of(quoted.source) == self.family {
            Ok(quoted)
        } else {
            Err(ParseError::BadVersion)
        }
    }

    fn parse(family: Family, [ty, code]: [u8; 2], word: [u8; 4], body: &'a [u8]) -> Self {
        let [first, second, mtu @ ..] = word;
        let mtu = match (family, ty, code) {
            (Family::V4, 3, 4) => u32::from(u16::from_be_bytes(mtu)),
            (Family::V6, 2, _) => u32::from_be_bytes(word),
            (Family::V4 | Family::V6, ..) => 0,
        };
        let (quoted, extensions) = match length_unit(family, ty) {
            Some(unit) => {
                let words = if family == Family::V4 { second } else { first };
                split_extensions(body, usize::from(words) * unit)
            }
            None => (body, Extensions::default()),
        };
        Self { family, ty, code, mtu: (mtu != 0).then_some(mtu), quoted, extensions }
    }

    /// Appends the error; a quote that extensions follow is cut or padded as RFC 4884 asks.
    fn emit(&self, out: &mut Vec<u8>) {
        let unit = length_unit(self.family, self.ty).filter(|_| !self.extensions.0.is_empty());
        let quoted_max = unit.map_or(usize::MAX, |unit| usize::from(u8::MAX) * unit);
        let quoted = self.quoted.get(..quoted_max).unwrap_or(self.quoted);
        let padded_len = match unit {
            Some(unit) => quoted.len().max(QUOTED_LEN_MIN).next_multiple_of(unit),
            None => quoted.len(),
        };
        let words = unit.map_or(0, |unit| (padded_len / unit) as u8);
        let mtu = self.mtu.unwrap_or(0);
        out.extend([self.ty, self.code, 0, 0]);
        match (self.family, self.ty) {
            (Family::V6, 2) => out.extend(mtu.to_be_bytes()),
            (Family::V6, _) => out.extend([words, 0, 0, 0]),
            (Family::V4, _) => {
                out.extend([0, words]);
                out.extend(u16::try_from(mtu).unwrap_or(u16::MAX).to_be_bytes());
            }
        }
        let extensions_at = out.len() + padded_len;
        out.extend_from_slice(quoted);
        if unit.is_some() {
            out.resize(extensions_at, 0);
            out.extend_from_slice(self.extensions.0);
        }
    }
}

/// Gives the unit in bytes of the length attribute, for errors that have one (RFC 4884
/// section 3).
fn length_unit(family: Family, ty: u8) -> Option<usize> {
    match (family, ty) {
        (Family::V4, 3 | 11 | 12) => Some(4),
        (Family::V6, 1 | 3) => Some(8),
        (Family::V4 | Family::V6, _) => None,
    }
}

/// Parts the quoted packet from the extensions behind it.
///
/// A declared length of 0 may come from a router older than RFC 4884, which puts extensions
/// after 128 bytes; they count only with a checksum (RFC 4884 section 5.5). A declared length
/// that exceeds the body means that the body was cut: all of it is the quote.
fn split_extensions(body: &[u8], declared: usize) -> (&[u8], Extensions<'_>) {
    let legacy = declared == 0;
    let quoted_len = if legacy { QUOTED_LEN_MIN } else { declared };
    let Some((quoted, tail)) = body.split_at_checked(quoted_len) else {
        return (body, Extensions::default());
    };
    match Extensions::parse(tail, legacy) {
        Some(extensions) => (quoted, extensions),
        None if legacy => (body, Extensions::default()),
        None => (quoted, Extensions::default()),
    }
}

impl<'a> Extensions<'a> {
    /// Judges a structure by its version and checksum.
    ///
    /// RFC 4884 section 7: a checksum of 0 was not computed, which the caller may refuse.
    fn parse(bytes: &'a [u8], must_have_checksum: bool) -> Option<Self> {
        let &[version, _, high, low, ..] = bytes else {
            return None;
        };
        let holds = match [high, low] {
            [0, 0] => !must_have_checksum,
            _ => checksum::internet(bytes) == 0,
        };
        (version >> 4 == EXTENSION_VERSION && holds).then_some(Self(bytes))
    }

    /// Says whether the error carries no extension structure.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives the objects in order, at most [`OBJECTS_MAX`], up to the first malformed one.
    pub fn objects(self) -> impl Iterator<Item = Object<'a>> {
        let mut reader = Reader::new(self.0.get(4..).unwrap_or_default());
        let next = move || {
            let len = usize::from(reader.u16().ok()?).checked_sub(4)?;
            let [class, ty] = reader.array().ok()?;
            Some(Object { class, ty, payload: reader.take(len).ok()? })
        };
        std::iter::from_fn(next).fuse().take(OBJECTS_MAX)
    }

    /// Gives the MPLS label stack from the outermost label on, at most [`OBJECTS_MAX`] entries.
    pub fn mpls_labels(self) -> impl Iterator<Item = MplsLabel> {
        self.objects()
            .filter(|object| (object.class, object.ty) == MPLS_LABEL_STACK)
            .flat_map(|object| object.payload.as_chunks::<4>().0)
            .map(|entry| MplsLabel::read(*entry))
            .take(OBJECTS_MAX)
    }
}

impl MplsLabel {
    fn read(entry: [u8; 4]) -> Self {
        let word = u32::from_be_bytes(entry);
        let [_, _, low, ttl] = entry;
        Self { label: word >> 12, traffic_class: low >> 1 & 7, bottom: low & 1 != 0, ttl }
    }
}

#[cfg(test)]
mod tests;
