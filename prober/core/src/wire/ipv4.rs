//! The IPv4 header (RFC 791).

use super::reader::Reader;
use super::{ParseError, checksum};
use std::net::Ipv4Addr;

/// Length in bytes of a header without options.
pub const HEADER_LEN: usize = 20;

const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET_MASK: u16 = 0x1fff;
const CHECKSUM_AT: usize = 10;

/// The fields of a header, without lengths, checksum and options (RFC 791 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Where the packet says it comes from.
    pub source: Ipv4Addr,
    /// Where the packet goes.
    pub dest: Ipv4Addr,
    /// Hops left.
    pub ttl: u8,
    /// Protocol number of the payload.
    pub protocol: u8,
    /// Identification, which fragments of one packet share.
    pub id: u16,
    /// DSCP and ECN (RFC 2474, RFC 3168).
    pub traffic_class: u8,
    /// Routers must not fragment the packet.
    pub dont_fragment: bool,
    /// A later fragment follows.
    pub more_fragments: bool,
    /// Where the payload belongs in the original packet, in bytes, a multiple of 8.
    ///
    /// A fragment whose offset is not 0 has no transport header.
    pub fragment_offset: u16,
}

/// A header with what surrounds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// The fixed part of the header.
    pub header: Header,
    /// The options, padding included, unread.
    pub options: &'a [u8],
    /// The packet's length in bytes as the header declares it, not checked against anything.
    pub total_len: usize,
    /// All bytes after the header: link padding is not cut yet.
    pub rest: &'a [u8],
}

impl Datagram<'_> {
    /// Gives the length of the header in bytes, options included.
    pub fn header_len(&self) -> usize {
        HEADER_LEN + self.options.len()
    }
}

/// Reads a header; neither its checksum nor its total length is judged.
pub fn parse(bytes: &[u8]) -> Result<Datagram<'_>, ParseError> {
    let mut reader = Reader::new(bytes);
    let first = reader.u8()?;
    if first >> 4 != 4 {
        return Err(ParseError::BadVersion);
    }
    let header_len = usize::from(first & 0x0f) * 4;
    let options_len = header_len.checked_sub(HEADER_LEN).ok_or(ParseError::BadLength)?;
    let traffic_class = reader.u8()?;
    let total_len = usize::from(reader.u16()?);
    let id = reader.u16()?;
    let fragment = reader.u16()?;
    let [ttl, protocol] = reader.array()?;
    let _checksum = reader.u16()?;
    let header = Header {
        source: reader.array::<4>()?.into(),
        dest: reader.array::<4>()?.into(),
        ttl,
        protocol,
        id,
        traffic_class,
        dont_fragment: fragment & DONT_FRAGMENT != 0,
        more_fragments: fragment & MORE_FRAGMENTS != 0,
        fragment_offset: (fragment & OFFSET_MASK) << 3,
    };
    let options = reader.take(options_len)?;
    Ok(Datagram { header, options, total_len, rest: reader.rest() })
}

/// Judges the checksum of the header that the bytes start with.
pub fn verify(bytes: &[u8]) -> Result<(), ParseError> {
    let header_len = parse(bytes)?.header_len();
    match bytes.get(..header_len).map(checksum::internet) {
        Some(0) => Ok(()),
        _ => Err(ParseError::BadChecksum),
    }
}

impl Header {
    /// Appends the header, checksum included; `None` if the packet would be too long.
    pub fn emit(&self, payload_len: usize, out: &mut Vec<u8>) -> Option<()> {
        let total_len = u16::try_from(payload_len.checked_add(HEADER_LEN)?).ok()?;
        let fragment = self.fragment_offset >> 3
            | if self.dont_fragment { DONT_FRAGMENT } else { 0 }
            | if self.more_fragments { MORE_FRAGMENTS } else { 0 };
        let start = out.len();
        out.extend([0x45, self.traffic_class]);
        out.extend(total_len.to_be_bytes());
        out.extend(self.id.to_be_bytes());
        out.extend(fragment.to_be_bytes());
        out.extend([self.ttl, self.protocol, 0, 0]);
        out.extend(self.source.octets());
        out.extend(self.dest.octets());
        let header = out.get_mut(start..)?;
        let checksum = checksum::internet(header).to_be_bytes();
        header.get_mut(CHECKSUM_AT..)?.first_chunk_mut().map(|field| *field = checksum)
    }
}

#[cfg(test)]
mod tests;
