//! A whole packet from its network header on: what a capture gives and what a probe sends.

use super::icmp::{self, Icmp, IcmpError};
use super::tcp::{self, Flags, Segment};
use super::{Family, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP};
use super::{ParseError, checksum, ipv4, ipv6, udp};
use std::net::{IpAddr, SocketAddr};

/// The receive window of a SYN: what Linux offers on Ethernet.
pub const SYN_WINDOW: u16 = 64_240;
/// The window scale of SYNs, as Linux announces it.
const SYN_WINDOW_SCALE: u8 = 7;

/// Room for the longest IP and transport headers emitted here, in bytes.
const HEADERS_LEN_MAX: usize = ipv6::HEADER_LEN + 40;
const TCP_CHECKSUM_AT: usize = 16;
const UDP_CHECKSUM_AT: usize = 6;
const ICMP_CHECKSUM_AT: usize = 2;

/// A packet as seen on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Where the packet says it comes from.
    pub source: IpAddr,
    /// Where the packet goes; the family of `source`.
    pub dest: IpAddr,
    /// Hops left: TTL or hop limit.
    pub ttl: u8,
    /// Identification, which only IPv4 has.
    pub ip_id: Option<u16>,
    /// Routers must not fragment the packet: always so in IPv6.
    pub dont_fragment: bool,
    /// The packet's length in bytes as its header declares it; [`Packet::emit`] computes it.
    pub total_len: usize,
    /// What the packet carries.
    pub body: Body<'a>,
}

/// What a packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body<'a> {
    /// A TCP segment.
    Tcp(Segment<'a>),
    /// An ICMP message of the packet's own family.
    Icmp(Icmp<'a>),
    /// A UDP datagram.
    Udp(udp::Datagram<'a>),
    /// A fragment other than the first: it has no transport header.
    Fragment,
    /// Any other protocol.
    Other {
        /// Protocol number.
        protocol: u8,
    },
}

/// Whether checksums are final, and so may be judged.
///
/// With offload the kernel hands over packets whose checksum is still to be computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksums {
    /// Refuse a packet whose checksum does not hold.
    Verify,
    /// Ignore checksums.
    Skip,
}

/// An ICMP echo request to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EchoSpec<'a> {
    /// Our address.
    pub source: IpAddr,
    /// The target's address, of the same family.
    pub dest: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Identification; ignored in IPv6. Linux replaces 0 by its own on raw sockets.
    pub ip_id: u16,
    /// ICMP identifier.
    pub id: u16,
    /// ICMP sequence number.
    pub seq: u16,
    /// The data to be echoed.
    pub payload: &'a [u8],
    /// Forbid fragmentation; ignored in IPv6.
    pub dont_fragment: bool,
}

/// A TCP SYN to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SynSpec {
    /// Our address.
    pub source: IpAddr,
    /// The target's address, of the same family.
    pub dest: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Identification; ignored in IPv6. Linux replaces 0 by its own on raw sockets.
    pub ip_id: u16,
    /// Our port.
    pub source_port: u16,
    /// The target's port.
    pub dest_port: u16,
    /// Initial sequence number.
    pub seq: u32,
    /// Maximum segment size in bytes.
    pub mss: u16,
    /// TSval of the timestamps option, which is left out without it.
    pub timestamp: Option<u32>,
}

/// A TCP segment of no connection to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentSpec<'a> {
    /// Our address and port.
    pub source: SocketAddr,
    /// The target's, of the same family.
    pub dest: SocketAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Identification; ignored in IPv6. Linux replaces 0 by its own on raw sockets.
    pub ip_id: u16,
    /// Sequence number.
    pub seq: u32,
    /// What it acknowledges.
    pub ack: u32,
    /// Its data.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads a captured packet from its network header on.
    ///
    /// Bytes after the declared length are link padding and are cut. Where the capture is
    /// shorter than the declared length, or the packet is a first fragment, the transport
    /// checksum is not judged; it is `Truncated` only if the transport header is incomplete.
    pub fn parse(bytes: &'a [u8], checksums: Checksums) -> Result<Self, ParseError> {
        match bytes.first().map(|first| first >> 4) {
            Some(4) => Self::parse_v4(bytes, checksums),
            Some(6) => Self::parse_v6(bytes, checksums),
            Some(_) => Err(ParseError::BadVersion),
            None => Err(ParseError::Truncated),
        }
    }

    fn parse_v4(bytes: &'a [u8], checksums: Checksums) -> Result<Self, ParseError> {
        let datagram = ipv4::parse(bytes)?;
        if checksums == Checksums::Verify {
            ipv4::verify(bytes)?;
        }
        let ipv4::Datagram { header, total_len, rest, .. } = datagram;
        let payload_len =
            total_len.checked_sub(datagram.header_len()).ok_or(ParseError::BadLength)?;
        let (payload, is_cut) = cut(rest, payload_len);
        let mut packet = Self {
            source: header.source.into(),
            dest: header.dest.into(),
            ttl: header.ttl,
            ip_id: Some(header.id),
            dont_fragment: header.dont_fragment,
            total_len,
            body: Body::Fragment,
        };
        if header.fragment_offset == 0 {
            let checksums = checksums.unless(is_cut || header.more_fragments);
            packet.body = packet.read_body(header.protocol, payload, checksums)?;
        }
        Ok(packet)
    }

    fn parse_v6(bytes: &'a [u8], checksums: Checksums) -> Result<Self, ParseError> {
        let ipv6::Datagram { header, total_len, rest } = ipv6::parse(bytes)?;
        let (payload, is_cut) = cut(rest, total_len.saturating_sub(ipv6::HEADER_LEN));
        let ipv6::Chain { protocol, fragment, payload } = ipv6::walk(header.next_header, payload)?;
        let mut packet = Self {
            source: header.source.into(),
            dest: header.dest.into(),
            ttl: header.hop_limit,
            ip_id: None,
            dont_fragment: true,
            total_len,
            body: Body::Fragment,
        };
        if fragment.is_none_or(|fragment| fragment.offset == 0) {
            let is_first_of_many = fragment.is_some_and(|fragment| fragment.more_fragments);
            let checksums = checksums.unless(is_cut || is_first_of_many);
            packet.body = packet.read_body(protocol, payload, checksums)?;
        }
        Ok(packet)
    }

    /// Reads the transport of a packet whose addresses are known.
    fn read_body(
        &self,
        protocol: u8,
        bytes: &'a [u8],
        checksums: Checksums,
    ) -> Result<Body<'a>, ParseError> {
        let family = Family::of(self.source);
        let body = match (family, protocol) {
            (_, PROTOCOL_TCP) => Body::Tcp(tcp::parse(bytes)?),
            (_, PROTOCOL_UDP) => Body::Udp(udp::parse(bytes)?),
            (Family::V4, PROTOCOL_ICMP) | (Family::V6, PROTOCOL_ICMPV6) => {
                Body::Icmp(icmp::parse(family, bytes)?)
            }
            (Family::V4 | Family::V6, _) => return Ok(Body::Other { protocol }),
        };
        if checksums == Checksums::Verify {
            self.verify(protocol, bytes)?;
        }
        Ok(body)
    }

    /// Judges the checksum of a transport message that is there as a whole.
    fn verify(&self, protocol: u8, message: &[u8]) -> Result<(), ParseError> {
        let message = if protocol == PROTOCOL_UDP {
            let declared = udp::declared_len(message)?;
            message.get(..declared).ok_or(ParseError::BadLength)?
        } else {
            message
        };
        // RFC 768: over IPv4 a UDP checksum of 0 was not computed.
        let is_absent = protocol == PROTOCOL_UDP
            && Family::of(self.source) == Family::V4
            && message.get(UDP_CHECKSUM_AT..UDP_CHECKSUM_AT + 2) == Some(&[0, 0]);
        if is_absent || checksum::transport(self.source, self.dest, protocol, message) == 0 {
            Ok(())
        } else {
            Err(ParseError::BadChecksum)
        }
    }

    /// Gives the bytes of the packet, lengths and checksums computed.
    ///
    /// `None` if the addresses differ in family, the packet would be too long, or the body is
    /// one that holds no bytes ([`Body::Fragment`], [`Body::Other`]).
    pub fn emit(&self) -> Option<Vec<u8>> {
        let family = Family::of(self.source);
        let mut packet = Vec::with_capacity(HEADERS_LEN_MAX + self.body.payload_len());
        let (protocol, checksum_at) = match self.body {
            Body::Tcp(segment) => {
                segment.emit(&mut packet);
                (PROTOCOL_TCP, TCP_CHECKSUM_AT)
            }
            Body::Udp(datagram) => {
                datagram.emit(&mut packet)?;
                (PROTOCOL_UDP, UDP_CHECKSUM_AT)
            }
            Body::Icmp(message) => {
                message.emit(family, &mut packet);
                let protocol = if family == Family::V4 { PROTOCOL_ICMP } else { PROTOCOL_ICMPV6 };
                (protocol, ICMP_CHECKSUM_AT)
            }
            Body::Fragment | Body::Other { .. } => return None,
        };
        let checksum = match checksum::transport(self.source, self.dest, protocol, &packet) {
            // RFC 768: a computed 0 is sent as its other representation.
            0 if protocol == PROTOCOL_UDP => u16::MAX,
            checksum => checksum,
        };
        *packet.get_mut(checksum_at..)?.first_chunk_mut()? = checksum.to_be_bytes();
        // The header needs the length of what it precedes: append it, then turn it to the front.
        let payload_len = packet.len();
        self.emit_header(protocol, payload_len, &mut packet)?;
        packet.rotate_left(payload_len);
        Some(packet)
    }

    fn emit_header(&self, protocol: u8, payload_len: usize, out: &mut Vec<u8>) -> Option<()> {
        match (self.source, self.dest) {
            (IpAddr::V4(source), IpAddr::V4(dest)) => {
                let header = ipv4::Header {
                    source,
                    dest,
                    ttl: self.ttl,
                    protocol,
                    id: self.ip_id.unwrap_or(0),
                    traffic_class: 0,
                    dont_fragment: self.dont_fragment,
                    more_fragments: false,
                    fragment_offset: 0,
                };
                header.emit(payload_len, out)
            }
            (IpAddr::V6(source), IpAddr::V6(dest)) => {
                let header = ipv6::Header {
                    source,
                    dest,
                    hop_limit: self.ttl,
                    next_header: protocol,
                    traffic_class: 0,
                    flow_label: 0,
                };
                header.emit(payload_len, out)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
        }
    }
}

impl Body<'_> {
    /// Gives the length in bytes of what follows the transport header.
    fn payload_len(&self) -> usize {
        match self {
            Self::Tcp(segment) => segment.payload.len(),
            Self::Udp(datagram) => datagram.payload.len(),
            Self::Icmp(
                Icmp::EchoRequest { payload, .. }
                | Icmp::EchoReply { payload, .. }
                | Icmp::Error(IcmpError { quoted: payload, .. }),
            ) => payload.len(),
            Self::Icmp(Icmp::Other { .. }) | Self::Fragment | Self::Other { .. } => 0,
        }
    }
}

impl Checksums {
    /// Ignores the checksum of a message that is not there as a whole.
    fn unless(self, is_cut: bool) -> Self {
        if is_cut { Self::Skip } else { self }
    }
}

/// Cuts link padding; says whether the capture ends before the declared length.
fn cut(bytes: &[u8], declared: usize) -> (&[u8], bool) {
    match bytes.get(..declared) {
        Some(payload) => (payload, false),
        None => (bytes, true),
    }
}

/// Gives an ICMP echo request; `None` if the addresses differ in family.
pub fn emit_echo(spec: &EchoSpec<'_>) -> Option<Vec<u8>> {
    let EchoSpec { source, dest, ttl, ip_id, id, seq, payload, dont_fragment } = *spec;
    let body = Body::Icmp(Icmp::EchoRequest { id, seq, payload });
    Packet { source, dest, ttl, ip_id: Some(ip_id), dont_fragment, total_len: 0, body }.emit()
}

/// Gives a TCP SYN that may not be fragmented; `None` if the addresses differ in family.
///
/// It has the options of a client's: a firewall that drops by them or by the length treats probes
/// as it treats connections. A timestamp is left out unless it carries something: hosts that
/// recycle ports by it (Linux before 4.12) drop what comes with an older one from our address.
pub fn emit_syn(spec: &SynSpec) -> Option<Vec<u8>> {
    let options = tcp::Options {
        mss: Some(spec.mss),
        window_scale: Some(SYN_WINDOW_SCALE),
        sack_permitted: true,
        timestamps: spec.timestamp.map(|value| (value, 0)),
    };
    let segment = Segment {
        source_port: spec.source_port,
        dest_port: spec.dest_port,
        seq: spec.seq,
        ack: 0,
        flags: Flags::SYN,
        window: SYN_WINDOW,
        options,
        payload: &[],
    };
    let packet = Packet {
        source: spec.source,
        dest: spec.dest,
        ttl: spec.ttl,
        ip_id: Some(spec.ip_id),
        dont_fragment: true,
        total_len: 0,
        body: Body::Tcp(segment),
    };
    packet.emit()
}

/// Gives a segment that acknowledges and may not be fragmented; `None` if the addresses differ in
/// family.
pub fn emit_segment(spec: &SegmentSpec<'_>) -> Option<Vec<u8>> {
    let segment = Segment {
        source_port: spec.source.port(),
        dest_port: spec.dest.port(),
        seq: spec.seq,
        ack: spec.ack,
        flags: Flags::ACK,
        window: SYN_WINDOW,
        options: tcp::Options::default(),
        payload: spec.payload,
    };
    let packet = Packet {
        source: spec.source.ip(),
        dest: spec.dest.ip(),
        ttl: spec.ttl,
        ip_id: Some(spec.ip_id),
        dont_fragment: true,
        total_len: 0,
        body: Body::Tcp(segment),
    };
    packet.emit()
}

/// Gives the RST that ends a handshake we began; `None` if the addresses differ in family.
///
/// `seq` is what the SYN-ACK acknowledged, so that the peer accepts it (RFC 5961 section 3.2).
pub fn emit_rst(source: SocketAddr, dest: SocketAddr, seq: u32, ttl: u8) -> Option<Vec<u8>> {
    let segment = Segment {
        source_port: source.port(),
        dest_port: dest.port(),
        seq,
        ack: 0,
        flags: Flags::RST,
        window: 0,
        options: tcp::Options::default(),
        payload: &[],
    };
    let packet = Packet {
        source: source.ip(),
        dest: dest.ip(),
        ttl,
        ip_id: Some(0),
        dont_fragment: true,
        total_len: 0,
        body: Body::Tcp(segment),
    };
    packet.emit()
}

#[cfg(test)]
mod tests;
