//! Whole packets, built and read by hand: just what the lab's own probes and forger need.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A received packet, as far as the lab cares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet<'a> {
    pub(crate) source: IpAddr,
    pub(crate) target: IpAddr,
    pub(crate) ttl: u8,
    pub(crate) protocol: u8,
    pub(crate) payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads a packet from its IP header on; fragments and extension headers are passed over.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        match bytes.first()? >> 4 {
            4 => {
                let header = usize::from(bytes[0] & 0x0f) * 4;
                let total = usize::from(u16_at(bytes, 2)?);
                Some(Self {
                    source: Ipv4Addr::from(array_at::<4>(bytes, 12)?).into(),
                    target: Ipv4Addr::from(array_at::<4>(bytes, 16)?).into(),
                    ttl: *bytes.get(8)?,
                    protocol: *bytes.get(9)?,
                    // A quote is shorter than its header says.
                    payload: bytes.get(header..total.min(bytes.len()))?,
                })
            }
            6 => Some(Self {
                source: Ipv6Addr::from(array_at::<16>(bytes, 8)?).into(),
                target: Ipv6Addr::from(array_at::<16>(bytes, 24)?).into(),
                ttl: *bytes.get(7)?,
                protocol: *bytes.get(6)?,
                payload: bytes.get(40..)?,
            }),
            _ => None,
        }
    }

    /// Reads the payload as a TCP header.
    pub(crate) fn tcp(&self) -> Option<Segment> {
        if self.protocol != TCP {
            return None;
        }
        Some(Segment {
            source_port: u16_at(self.payload, 0)?,
            target_port: u16_at(self.payload, 2)?,
            sequence: u32::from_be_bytes(array_at(self.payload, 4)?),
            acknowledged: array_at(self.payload, 8).map(u32::from_be_bytes),
            flags: self.payload.get(13).copied(),
        })
    }

    /// Reads the payload as an ICMP message of the packet's family.
    pub(crate) fn icmp(&self) -> Option<Icmp<'a>> {
        let (kind, code) = (*self.payload.first()?, *self.payload.get(1)?);
        let identity = (u16_at(self.payload, 4)?, u16_at(self.payload, 6)?);
        match (self.protocol, kind) {
            (ICMP, 8) | (ICMPV6, 128) => Some(Icmp::EchoRequest(identity)),
            (ICMP, 0) | (ICMPV6, 129) => Some(Icmp::EchoReply(identity)),
            (ICMP, 3 | 11) | (ICMPV6, 1..=3) => {
                Some(Icmp::Error { kind, code, quote: self.payload.get(8..)? })
            }
            _ => None,
        }
    }
}

/// An ICMP message; an echo is known by its identifier and sequence number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Icmp<'a> {
    EchoRequest((u16, u16)),
    EchoReply((u16, u16)),
    Error { kind: u8, code: u8, quote: &'a [u8] },
}

/// The fields of a TCP header; those beyond the first eight bytes may be missing in a quote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) source_port: u16,
    pub(crate) target_port: u16,
    pub(crate) sequence: u32,
    pub(crate) acknowledged: Option<u32>,
    pub(crate) flags: Option<u8>,
}

impl Segment {
    fn bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(20);
        bytes.extend(self.source_port.to_be_bytes());
        bytes.extend(self.target_port.to_be_bytes());
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(self.acknowledged.unwrap_or(0).to_be_bytes());
        bytes.extend([0x50, self.flags.unwrap_or(0)]);
        bytes.extend(WINDOW.to_be_bytes());
        bytes.extend([0; 4]);
        bytes
    }
}

/// The way of a packet to build. Both addresses are of one family.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope {
    pub(crate) source: IpAddr,
    pub(crate) target: IpAddr,
    pub(crate) ttl: u8,
}

impl Envelope {
    /// Builds a TCP segment without data.
    pub(crate) fn tcp(self, segment: Segment) -> Vec<u8> {
        let mut bytes = segment.bytes();
        let sum = self.checksum(TCP, &bytes);
        bytes[16..18].copy_from_slice(&sum.to_be_bytes());
        self.wrap(TCP, &bytes)
    }

    /// Builds an echo request.
    pub(crate) fn echo(self, identifier: u16, sequence: u16) -> Vec<u8> {
        let (protocol, kind) = match self.target {
            IpAddr::V4(_) => (ICMP, 8),
            IpAddr::V6(_) => (ICMPV6, 128),
        };
        let mut bytes = vec![kind, 0, 0, 0];
        bytes.extend(identifier.to_be_bytes());
        bytes.extend(sequence.to_be_bytes());
        bytes.extend(*b"reachd lab echo ");
        let sum = match self.target {
            IpAddr::V4(_) => fold(sum_words(&bytes)),
            IpAddr::V6(_) => self.checksum(ICMPV6, &bytes),
        };
        bytes[2..4].copy_from_slice(&sum.to_be_bytes());
        self.wrap(protocol, &bytes)
    }

    fn wrap(self, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap_or(u16::MAX - 40);
        let mut bytes = Vec::with_capacity(40 + payload.len());
        match (self.source, self.target) {
            (IpAddr::V6(source), IpAddr::V6(target)) => {
                bytes.extend([0x60, 0, 0, 0]);
                bytes.extend(length.to_be_bytes());
                bytes.extend([protocol, self.ttl]);
                bytes.extend(source.octets());
                bytes.extend(target.octets());
            }
            _ => {
                bytes.extend([0x45, 0]);
                bytes.extend((length + 20).to_be_bytes());
                bytes.extend([0, 0, 0x40, 0, self.ttl, protocol, 0, 0]);
                bytes.extend(octets(self.source));
                bytes.extend(octets(self.target));
                let sum = fold(sum_words(&bytes));
                bytes[10..12].copy_from_slice(&sum.to_be_bytes());
            }
        }
        bytes.extend(payload);
        bytes
    }

    /// Gives the checksum with the pseudo header, which for both families sums up alike.
    fn checksum(self, protocol: u8, payload: &[u8]) -> u16 {
        let addresses = sum_words(&octets(self.source)) + sum_words(&octets(self.target));
        fold(addresses + u64::from(protocol) + payload.len() as u64 + sum_words(payload))
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().into(),
        IpAddr::V6(address) => address.octets().into(),
    }
}

fn sum_words(bytes: &[u8]) -> u64 {
    let word = |pair: &[u8]| u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0));
    bytes.chunks(2).map(word).sum()
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_be_bytes)
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const ACK: u8 = 0x10;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const ICMPV6: u8 = 58;
const WINDOW: u16 = 64_240;
