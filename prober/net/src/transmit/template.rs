//! Probe packets as templates: copied, patched in place, summed anew.
//!
//! Offsets count from the network header: RFC 791, RFC 8200, RFC 792 and 4443, RFC 9293. The
//! templates come from the emitters in core, so that only what is patched is said twice.

use std::net::IpAddr;

use reachd_core::monitor::{Flight, ProbePacket, SendOrder};
use reachd_core::vantage::VantageId;
use reachd_core::wire::{PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, checksum};

use crate::sys::batch::{PACKET_LEN_MAX, PacketRoom};
use crate::vantage::FAMILIES;

const V4_LEN: usize = 20;
const V4_ID_AT: usize = 4;
const V4_TTL_AT: usize = 8;
const V4_CHECKSUM_AT: usize = 10;
const V4_SOURCE_AT: usize = 12;
const V4_DEST_AT: usize = 16;

const V6_LEN: usize = 40;
const V6_HOP_LIMIT_AT: usize = 7;
const V6_SOURCE_AT: usize = 8;
const V6_DEST_AT: usize = 24;

/// Behind the network header.
const ICMP_CHECKSUM_AT: usize = 2;
const ICMP_ID_AT: usize = 4;
const ICMP_SEQ_AT: usize = 6;
const ICMP_PAYLOAD_AT: usize = 8;
const TCP_DEST_PORT_AT: usize = 2;
const TCP_SEQ_AT: usize = 4;
const TCP_CHECKSUM_AT: usize = 16;
/// The value of the timestamps option, which follows those of the segment size and of SACK.
const TCP_TIMESTAMP_AT: usize = 28;

/// One kind of packet with every field that does not vary.
#[derive(Debug)]
struct Template {
    bytes: PacketRoom,
    length: usize,
}

/// The packets of one family.
#[derive(Debug)]
struct Family {
    echo: Template,
    syn: Template,
    syn_with_timestamp: Template,
}

/// All packets of the sweep.
#[derive(Debug)]
pub(super) struct Templates {
    v4: Family,
    v6: Family,
}

impl Templates {
    /// Makes them.
    pub(super) fn new() -> Self {
        let [v4, v6] = FAMILIES.map(Family::new);
        Self { v4, v6 }
    }

    /// Writes the packet of an order and gives its length; `None` if the addresses differ in
    /// family.
    pub(super) fn write(
        &self,
        order: &SendOrder,
        source: IpAddr,
        room: &mut PacketRoom,
    ) -> Option<usize> {
        let family = if order.to.is_ipv4() { &self.v4 } else { &self.v6 };
        let template = family.of(&order.what)?;
        let length = template.length;
        *room = template.bytes;
        let start = address(order, source, room)?;
        let (protocol, checksum_at) = match &order.what {
            ProbePacket::Echo { id, seq, payload } => {
                put(room, start + ICMP_ID_AT, id.to_be_bytes());
                put(room, start + ICMP_SEQ_AT, seq.to_be_bytes());
                put(room, start + ICMP_PAYLOAD_AT, *payload);
                let protocol = if start == V4_LEN { PROTOCOL_ICMP } else { PROTOCOL_ICMPV6 };
                (protocol, start + ICMP_CHECKSUM_AT)
            }
            ProbePacket::Syn { source_port, dest_port, seq, timestamp } => {
                put(room, start, source_port.to_be_bytes());
                put(room, start + TCP_DEST_PORT_AT, dest_port.to_be_bytes());
                put(room, start + TCP_SEQ_AT, seq.to_be_bytes());
                if let Some(value) = timestamp {
                    put(room, start + TCP_TIMESTAMP_AT, value.to_be_bytes());
                }
                (PROTOCOL_TCP, start + TCP_CHECKSUM_AT)
            }
            ProbePacket::SizedEcho { .. }
            | ProbePacket::Segment { .. }
            | ProbePacket::Reset { .. }
            | ProbePacket::Connect { .. } => return None,
        };
        // Summed as a whole: 64 bytes cost no more than the bookkeeping of their differences.
        let message = room.get(start..length)?;
        let sum = checksum::transport(source, order.to, protocol, message);
        put(room, checksum_at, sum.to_be_bytes());
        Some(length)
    }
}

impl Family {
    fn new(unspecified: IpAddr) -> Self {
        let echo = ProbePacket::Echo { id: 0, seq: 0, payload: [0; 24] };
        let syn = |timestamp| ProbePacket::Syn { source_port: 0, dest_port: 0, seq: 0, timestamp };
        Self {
            echo: Template::new(unspecified, echo),
            syn: Template::new(unspecified, syn(None)),
            syn_with_timestamp: Template::new(unspecified, syn(Some(0))),
        }
    }

    /// The template of the probes that come in bursts; the others are rare.
    const fn of(&self, what: &ProbePacket) -> Option<&Template> {
        match what {
            ProbePacket::Echo { .. } => Some(&self.echo),
            ProbePacket::Syn { timestamp: None, .. } => Some(&self.syn),
            ProbePacket::Syn { timestamp: Some(_), .. } => Some(&self.syn_with_timestamp),
            ProbePacket::SizedEcho { .. }
            | ProbePacket::Segment { .. }
            | ProbePacket::Reset { .. }
            | ProbePacket::Connect { .. } => None,
        }
    }
}

impl Template {
    /// The packet between unspecified addresses, with all checksums 0.
    fn new(unspecified: IpAddr, what: ProbePacket) -> Self {
        let checksum_at = match what {
            ProbePacket::Echo { .. } | ProbePacket::SizedEcho { .. } => ICMP_CHECKSUM_AT,
            ProbePacket::Syn { .. }
            | ProbePacket::Segment { .. }
            | ProbePacket::Reset { .. }
            | ProbePacket::Connect { .. } => TCP_CHECKSUM_AT,
        };
        let order = SendOrder {
            flight: Flight::Survey(0),
            vantage: VantageId(0),
            to: unspecified,
            ttl: 0,
            ip_id: 0,
            what,
        };
        let packet = order.emit(unspecified).unwrap_or_default();
        let mut bytes = [0; PACKET_LEN_MAX];
        let length = packet.len().min(PACKET_LEN_MAX);
        bytes[..length].copy_from_slice(&packet[..length]);
        if unspecified.is_ipv4() {
            put(&mut bytes, V4_CHECKSUM_AT, [0; 2]);
            put(&mut bytes, V4_LEN + checksum_at, [0; 2]);
        } else {
            put(&mut bytes, V6_LEN + checksum_at, [0; 2]);
        }
        Self { bytes, length }
    }
}

/// Fills in the network header; gives where the transport begins.
fn address(order: &SendOrder, source: IpAddr, room: &mut PacketRoom) -> Option<usize> {
    match (source, order.to) {
        (IpAddr::V4(source), IpAddr::V4(dest)) => {
            // The kernel would put its own number in place of 0, and the answer would not match.
            put(room, V4_ID_AT, order.ip_id.max(1).to_be_bytes());
            put(room, V4_TTL_AT, [order.ttl]);
            put(room, V4_SOURCE_AT, source.octets());
            put(room, V4_DEST_AT, dest.octets());
            // The kernel sums the header of raw packets, but not of frames.
            let sum = checksum::internet(&room[..V4_LEN]);
            put(room, V4_CHECKSUM_AT, sum.to_be_bytes());
            Some(V4_LEN)
        }
        (IpAddr::V6(source), IpAddr::V6(dest)) => {
            put(room, V6_HOP_LIMIT_AT, [order.ttl]);
            put(room, V6_SOURCE_AT, source.octets());
            put(room, V6_DEST_AT, dest.octets());
            Some(V6_LEN)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => None,
    }
}

fn put<const N: usize>(room: &mut PacketRoom, at: usize, bytes: [u8; N]) {
    room[at..at + N].copy_from_slice(&bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packets() -> impl Strategy<Value = ProbePacket> {
        let echo = any::<(u16, u16, [u8; 24])>();
        let syn = any::<(u16, u16, u32, Option<u32>)>();
        prop_oneof![
            echo.prop_map(|(id, seq, payload)| ProbePacket::Echo { id, seq, payload }),
            syn.prop_map(|(source_port, dest_port, seq, timestamp)| {
                ProbePacket::Syn { source_port, dest_port, seq, timestamp }
            }),
        ]
    }

    fn pairs() -> impl Strategy<Value = (IpAddr, IpAddr)> {
        prop_oneof![
            any::<([u8; 4], [u8; 4])>().prop_map(|(a, b)| (a.into(), b.into())),
            any::<([u8; 16], [u8; 16])>().prop_map(|(a, b)| (a.into(), b.into())),
        ]
    }

    proptest! {
        #[test]
        fn templates_give_what_core_emits(
            what in packets(),
            (source, to) in pairs(),
            (ttl, ip_id) in any::<(u8, u16)>(),
        ) {
            let templates = Templates::new();
            let (flight, vantage) = (Flight::Survey(0), VantageId(0));
            let order = SendOrder { flight, vantage, to, ttl, ip_id, what };
            // Whatever the last packet left there.
            let mut room = [0xa5; PACKET_LEN_MAX];
            let length = templates.write(&order, source, &mut room);
            let expected = order.emit(source);
            prop_assert_eq!(length.map(|length| room[..length].to_vec()), expected);
        }
    }

    #[test]
    fn families_do_not_mix() {
        let [v4, v6] = FAMILIES;
        let what = ProbePacket::Echo { id: 0, seq: 0, payload: [0; 24] };
        let mut order = SendOrder {
            flight: Flight::Survey(0),
            vantage: VantageId(0),
            to: v4,
            ttl: 0,
            ip_id: 0,
            what,
        };
        let mut room = [0; PACKET_LEN_MAX];
        assert_eq!(Templates::new().write(&order, v6, &mut room), None);
        order.to = v6;
        assert_eq!(Templates::new().write(&order, v4, &mut room), None);
    }
}
