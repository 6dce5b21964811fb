//! Bytes to packets and back, for every protocol that a probe or its answer travels in.
//!
//! Everything read here may be hostile: a parser never panics, never trusts a length field and
//! never loops more often than a stated bound. Parsers borrow from the bytes they are given;
//! an emitter allocates its packet once. Nothing here touches a socket or a clock.

#![warn(clippy::indexing_slicing)]

pub mod banner;
#[cfg(test)]
pub(crate) mod captures;
pub mod certificate;
pub mod checksum;
pub mod credssp;
mod der;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
pub mod ntlm;
pub mod packet;
pub mod quote;
mod reader;
pub mod reply;
pub mod tcp;
mod text;
pub mod tls;
pub mod udp;
pub mod x224;

use std::net::IpAddr;

/// IP protocol number of ICMP for IPv4 (RFC 792).
pub const PROTOCOL_ICMP: u8 = 1;
/// IP protocol number of TCP (RFC 9293).
pub const PROTOCOL_TCP: u8 = 6;
/// IP protocol number of UDP (RFC 768).
pub const PROTOCOL_UDP: u8 = 17;
/// IP protocol number of ICMP for IPv6 (RFC 4443).
pub const PROTOCOL_ICMPV6: u8 = 58;

/// The version of IP that an address, a packet or an ICMP message belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4 (RFC 791).
    V4,
    /// IPv6 (RFC 8200).
    V6,
}

impl Family {
    /// Gives the family of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// Why bytes are not the packet that they were taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The bytes end inside a header.
    #[error("read a header that is cut short")]
    Truncated,
    /// The version nibble is neither 4 nor 6, or not the one expected.
    #[error("read an unexpected ip version")]
    BadVersion,
    /// A length field contradicts its own header or the bytes around it.
    #[error("read a length that contradicts its packet")]
    BadLength,
    /// A checksum over whole bytes does not hold.
    #[error("verify a checksum")]
    BadChecksum,
    /// The packet is legal but beyond our bounds, such as too many extension headers.
    #[error("read a packet beyond the bounds of the reader")]
    Unsupported,
}
