//! The packet quoted inside an ICMP error, as far as it can be read.
//!
//! A quote may end 8 bytes after its IP header (RFC 792), and its own lengths and checksums
//! are not believed: routers rewrite them, and some hosts leave them in their own byte order.
//! Every transport header that a probe sends has 8 bytes or more, so link or RFC 4884 padding
//! is never taken for one.

use super::reader::Reader;
use super::{
    PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP, ParseError, ipv4, ipv6, tcp,
};
use std::net::IpAddr;

/// What a quote says about the packet that caused an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quoted {
    /// Where the packet came from.
    pub source: IpAddr,
    /// Where the packet was going.
    pub dest: IpAddr,
    /// Hops left when the packet was quoted; some routers quote what they received, others
    /// what they would have sent.
    pub ttl: u8,
    /// Identification, which only IPv4 has.
    pub ip_id: Option<u16>,
    /// The start of the transport header.
    pub transport: QuotedTransport,
}

/// The start of a quoted transport header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotedTransport {
    /// A TCP segment.
    Tcp {
        /// Port that it came from.
        source_port: u16,
        /// Port that it was going to.
        dest_port: u16,
        /// Sequence number, unless the quote ends before it.
        seq: Option<u32>,
        /// Timestamp value (RFC 7323), if the quote is long enough to hold the option.
        timestamp: Option<u32>,
    },
    /// A UDP datagram.
    Udp {
        /// Port that it came from.
        source_port: u16,
        /// Port that it was going to.
        dest_port: u16,
    },
    /// An ICMP echo request of the quote's own family.
    Echo {
        /// Identifier.
        id: u16,
        /// Sequence number.
        seq: u16,
    },
    /// Any other transport, ICMP messages other than echo requests included.
    Other {
        /// Protocol number.
        protocol: u8,
    },
    /// The quote ends before its transport, or is a fragment without one.
    None,
}

/// Reads a quote from its IP header on, which must be whole.
pub fn parse(bytes: &[u8]) -> Result<Quoted, ParseError> {
    match bytes.first().map(|first| first >> 4) {
        Some(4) => parse_v4(bytes),
        Some(6) => parse_v6(bytes),
        Some(_) => Err(ParseError::BadVersion),
        None => Err(ParseError::Truncated),
    }
}

fn parse_v4(bytes: &[u8]) -> Result<Quoted, ParseError> {
    let ipv4::Datagram { header, rest, .. } = ipv4::parse(bytes)?;
    let transport = if header.fragment_offset == 0 {
        QuotedTransport::read(header.protocol, (PROTOCOL_ICMP, 8), rest)
    } else {
        None
    };
    Ok(Quoted {
        source: header.source.into(),
        dest: header.dest.into(),
        ttl: header.ttl,
        ip_id: Some(header.id),
        transport: transport.unwrap_or(QuotedTransport::None),
    })
}

fn parse_v6(bytes: &[u8]) -> Result<Quoted, ParseError> {
    let ipv6::Datagram { header, rest, .. } = ipv6::parse(bytes)?;
    let transport = ipv6::walk(header.next_header, rest)
        .ok()
        .filter(|chain| chain.fragment.is_none_or(|fragment| fragment.offset == 0))
        .and_then(|chain| {
            QuotedTransport::read(chain.protocol, (PROTOCOL_ICMPV6, 128), chain.payload)
        });
    Ok(Quoted {
        source: header.source.into(),
        dest: header.dest.into(),
        ttl: header.hop_limit,
        ip_id: None,
        transport: transport.unwrap_or(QuotedTransport::None),
    })
}

impl QuotedTransport {
    /// Reads the start of a transport; `None` if it is cut before what identifies it.
    ///
    /// `echo` is the protocol and type of an echo request in the quote's family.
    fn read(protocol: u8, echo: (u8, u8), bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        match protocol {
            PROTOCOL_TCP => Some(Self::Tcp {
                source_port: reader.u16().ok()?,
                dest_port: reader.u16().ok()?,
                seq: reader.u32().ok(),
                timestamp: timestamp(bytes),
            }),
            PROTOCOL_UDP => {
                Some(Self::Udp { source_port: reader.u16().ok()?, dest_port: reader.u16().ok()? })
            }
            _ if protocol == echo.0 => {
                let [ty, _code, _, _] = reader.array().ok()?;
                let (id, seq) = (reader.u16().ok()?, reader.u16().ok()?);
                Some(if ty == echo.1 { Self::Echo { id, seq } } else { Self::Other { protocol } })
            }
            _ => Some(Self::Other { protocol }),
        }
    }
}

/// The timestamp value of a TCP header that was quoted whole.
fn timestamp(bytes: &[u8]) -> Option<u32> {
    tcp::parse(bytes).ok()?.options.timestamps.map(|(value, _echoed)| value)
}

#[cfg(test)]
mod tests;
