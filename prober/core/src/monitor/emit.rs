//! What is to be sent: orders, and orders as packets.

use std::net::IpAddr;

use super::Flight;
use crate::vantage::VantageId;
use crate::wire::packet::{
    EchoSpec, SegmentSpec, SynSpec, emit_echo, emit_rst, emit_segment, emit_syn,
};
use crate::wire::{ipv4, ipv6, tcp};

/// One packet to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendOrder {
    /// The probe, to name in [`Input::SendFailed`](super::Input::SendFailed) and [`Input::Answered`](super::Input::Answered).
    pub flight: Flight,
    /// From where.
    pub vantage: VantageId,
    /// To whom.
    pub to: IpAddr,
    /// Hop limit.
    pub ttl: u8,
    /// IPv4 identification.
    pub ip_id: u16,
    /// What.
    pub what: ProbePacket,
}

/// The inside of a probe packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbePacket {
    /// An ICMP echo request.
    Echo {
        /// Identifier (replaced by the kernel on ping sockets).
        id: u16,
        /// Sequence number.
        seq: u16,
        /// Payload; it proves the reply.
        payload: [u8; 24],
    },
    /// An ICMP echo request of a certain size, which no router may fragment.
    SizedEcho {
        /// Identifier (replaced by the kernel on ping sockets).
        id: u16,
        /// Sequence number.
        seq: u16,
        /// The first bytes of the payload; they prove the reply.
        payload: [u8; 24],
        /// Bytes on the wire, network header included.
        size: u16,
    },
    /// A TCP segment of no connection, filled with zeros, which no router may fragment.
    Segment {
        /// Source port, outside the kernel's ephemeral range.
        source_port: u16,
        /// Destination port.
        dest_port: u16,
        /// Sequence number.
        seq: u32,
        /// What it acknowledges: a reset that answers it carries this and is proven by it.
        ack: u32,
        /// Bytes on the wire, network header included.
        size: u16,
    },
    /// A TCP SYN.
    Syn {
        /// Source port, outside the kernel's ephemeral range.
        source_port: u16,
        /// Destination port.
        dest_port: u16,
        /// Initial sequence number; it proves the answer.
        seq: u32,
        /// Timestamp option (RFC 7323), echoed by most stacks.
        timestamp: Option<u32>,
    },
    /// The reset that ends a handshake which a SYN of ours began and the kernel did not end.
    Reset {
        /// Source port of the SYN.
        source_port: u16,
        /// Destination port.
        dest_port: u16,
        /// What the SYN-ACK acknowledged, so that the peer accepts it (RFC 5961 section 3.2).
        seq: u32,
    },
    /// A SYN of the kernel's own, by a connect that is given up at once: where raw SYNs would leave
    /// half-open connections behind.
    Connect {
        /// Destination port.
        dest_port: u16,
    },
}

/// The segment size that our SYNs announce: what Linux announces on Ethernet, by family.
const MSS: [u16; 2] = [1_460, 1_440];

/// Type, code, checksum, identifier and sequence number.
const ECHO_HEADER_LEN: usize = 8;

impl SendOrder {
    /// The packet from this address; `None` if the addresses differ in family, and for a connect,
    /// which is a socket's work.
    pub fn emit(&self, source: IpAddr) -> Option<Vec<u8>> {
        // The kernel would put its own number in place of 0, and the answer would not match.
        let ip_id = self.ip_id.max(1);
        let (dest, ttl) = (self.to, self.ttl);
        let echo = |id: u16, seq: u16, payload: &[u8]| {
            let dont_fragment = true;
            emit_echo(&EchoSpec { source, dest, ttl, ip_id, id, seq, payload, dont_fragment })
        };
        let header = if dest.is_ipv4() { ipv4::HEADER_LEN } else { ipv6::HEADER_LEN };
        match &self.what {
            ProbePacket::Echo { id, seq, payload } => echo(*id, *seq, payload),
            ProbePacket::SizedEcho { id, seq, payload, size } => {
                let mut filled = payload.to_vec();
                let wanted = usize::from(*size).saturating_sub(header + ECHO_HEADER_LEN);
                filled.resize(wanted.max(payload.len()), 0);
                echo(*id, *seq, &filled)
            }
            ProbePacket::Segment { source_port, dest_port, seq, ack, size } => {
                let length = usize::from(*size).saturating_sub(header + tcp::HEADER_LEN);
                emit_segment(&SegmentSpec {
                    source: (source, *source_port).into(),
                    dest: (dest, *dest_port).into(),
                    ttl,
                    ip_id,
                    seq: *seq,
                    ack: *ack,
                    payload: &vec![0; length],
                })
            }
            ProbePacket::Syn { source_port, dest_port, seq, timestamp } => emit_syn(&SynSpec {
                source,
                dest,
                ttl,
                ip_id,
                source_port: *source_port,
                dest_port: *dest_port,
                seq: *seq,
                mss: if dest.is_ipv4() { MSS[0] } else { MSS[1] },
                timestamp: *timestamp,
            }),
            ProbePacket::Reset { source_port, dest_port, seq } => {
                emit_rst((source, *source_port).into(), (dest, *dest_port).into(), *seq, ttl)
            }
            ProbePacket::Connect { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::packet::{Body, Checksums, Packet};

    #[test]
    fn sized_packets_have_their_size_whole_in_both_families() {
        for (source, dest) in [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")] {
            for size in [80, 1_280, 1_400, 1_500] {
                let echo = ProbePacket::SizedEcho { id: 1, seq: 2, payload: [7; 24], size };
                let (source_port, dest_port, seq, ack) = (61_000, 3_389, 5, 6);
                let segment = ProbePacket::Segment { source_port, dest_port, seq, ack, size };
                for what in [echo, segment] {
                    let order = SendOrder {
                        flight: Flight::Survey(1),
                        vantage: VantageId(0),
                        to: dest.parse().unwrap(),
                        ttl: 64,
                        ip_id: 9,
                        what,
                    };
                    let bytes = order.emit(source.parse().unwrap()).unwrap();
                    assert_eq!(bytes.len(), usize::from(size), "{order:?}");
                    let packet = Packet::parse(&bytes, Checksums::Verify).unwrap();
                    assert!(packet.dont_fragment && packet.total_len == bytes.len());
                    if let Body::Tcp(segment) = packet.body {
                        assert!(segment.flags.ack() && !segment.flags.syn());
                        assert_eq!((segment.seq, segment.ack), (5, 6));
                    }
                }
            }
        }
    }
}
