//! The IPv6 header and the extension headers behind it (RFC 8200).

use super::ParseError;
use super::reader::Reader;
use std::net::Ipv6Addr;

/// Length in bytes of the fixed header.
pub const HEADER_LEN: usize = 40;
/// How many extension headers a packet may carry before we stop believing it.
pub const EXTENSIONS_MAX: usize = 8;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;

/// The fixed header, without its payload length (RFC 8200 section 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Where the packet says it comes from.
    pub source: Ipv6Addr,
    /// Where the packet goes.
    pub dest: Ipv6Addr,
    /// Hops left.
    pub hop_limit: u8,
    /// Protocol number of what follows at once, which may be an extension header.
    pub next_header: u8,
    /// DSCP and ECN (RFC 2474, RFC 3168).
    pub traffic_class: u8,
    /// Flow label, 20 bits (RFC 6437).
    pub flow_label: u32,
}

/// A fixed header with what surrounds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// The fixed header.
    pub header: Header,
    /// The packet's length in bytes as the header declares it, not checked against anything.
    pub total_len: usize,
    /// All bytes after the fixed header: link padding is not cut yet.
    pub rest: &'a [u8],
}

/// A fragment header (RFC 8200 section 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// Identification, which fragments of one packet share.
    pub id: u32,
    /// Where the payload belongs in the original packet, in bytes, a multiple of 8.
    pub offset: u16,
    /// A later fragment follows.
    pub more_fragments: bool,
}

/// What lies behind the extension headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain<'a> {
    /// Protocol number of the payload.
    pub protocol: u8,
    /// The last fragment header met; with an offset other than 0 there is no transport header.
    pub fragment: Option<Fragment>,
    /// The bytes after the last header walked.
    pub payload: &'a [u8],
}

/// Reads the fixed header; its payload length is not judged.
pub fn parse(bytes: &[u8]) -> Result<Datagram<'_>, ParseError> {
    let mut reader = Reader::new(bytes);
    let first = reader.u32()?;
    if first >> 28 != 6 {
        return Err(ParseError::BadVersion);
    }
    let total_len = HEADER_LEN + usize::from(reader.u16()?);
    let [next_header, hop_limit] = reader.array()?;
    let header = Header {
        source: reader.array::<16>()?.into(),
        dest: reader.array::<16>()?.into(),
        hop_limit,
        next_header,
        traffic_class: (first >> 20) as u8,
        flow_label: first & 0x000f_ffff,
    };
    Ok(Datagram { header, total_len, rest: reader.rest() })
}

/// Walks at most [`EXTENSIONS_MAX`] extension headers.
///
/// Stops at the transport, at a fragment that does not hold it, and at a routing header with
/// segments left: such a packet is still on its way to someone else (RFC 8200 section 4.4), so
/// its transport checksum is not for the destination in the fixed header.
pub fn walk(next_header: u8, bytes: &[u8]) -> Result<Chain<'_>, ParseError> {
    let mut chain = Chain { protocol: next_header, fragment: None, payload: bytes };
    for _ in 0..=EXTENSIONS_MAX {
        match chain.step()? {
            Some(next) => chain = next,
            None => return Ok(chain),
        }
    }
    Err(ParseError::Unsupported)
}

impl Chain<'_> {
    /// Passes one extension header; `None` when the chain has ended.
    fn step(&self) -> Result<Option<Self>, ParseError> {
        if self.fragment.is_some_and(|fragment| fragment.offset != 0) {
            return Ok(None);
        }
        let mut reader = Reader::new(self.payload);
        let mut fragment = self.fragment;
        let protocol = match self.protocol {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => {
                let [next, units] = reader.array()?;
                let [_, segments_left] = reader.array()?;
                reader.take(4 + usize::from(units) * 8)?;
                if self.protocol == ROUTING && segments_left != 0 {
                    return Ok(None);
                }
                next
            }
            AUTHENTICATION => {
                // RFC 4302 section 2.2: the length counts 4-byte words, minus 2.
                let [next, words] = reader.array()?;
                reader.take(6 + usize::from(words) * 4)?;
                next
            }
            FRAGMENT => {
                let [next, _reserved] = reader.array()?;
                let offset = reader.u16()?;
                let more_fragments = offset & 1 != 0;
                fragment =
                    Some(Fragment { id: reader.u32()?, offset: offset & !7, more_fragments });
                next
            }
            _ => return Ok(None),
        };
        Ok(Some(Chain { protocol, fragment, payload: reader.rest() }))
    }
}

impl Header {
    /// Appends the fixed header; `None` if the payload would be too long.
    pub fn emit(&self, payload_len: usize, out: &mut Vec<u8>) -> Option<()> {
        let payload_len = u16::try_from(payload_len).ok()?;
        let flow_label = self.flow_label & 0x000f_ffff;
        let first = 6 << 28 | u32::from(self.traffic_class) << 20 | flow_label;
        out.extend(first.to_be_bytes());
        out.extend(payload_len.to_be_bytes());
        out.extend([self.next_header, self.hop_limit]);
        out.extend(self.source.octets());
        out.extend(self.dest.octets());
        Some(())
    }
}

#[cfg(test)]
mod tests;
