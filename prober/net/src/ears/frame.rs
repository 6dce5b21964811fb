//! Finds the probe in what an error queue gives back: the frame as the device got it.

use reachd_core::monitor::FIRST_PORT;
use reachd_core::wire::packet::{Body, Checksums, Packet};

/// The least IPv4 header.
const V4_LEN: usize = 20;
/// The IPv6 header.
const V6_LEN: usize = 40;
/// Ethernet drivers fill up to 60 bytes, some before they stamp.
const PADDING_MAX: usize = 46;

/// The first ICMP or TCP packet that fills the rest of a frame.
///
/// The frame begins with the link header of whatever device it left by (14 bytes on Ethernet and
/// `lo`, 18 with a VLAN tag, none on TUN), and with a tunnel's headers where there is one; its
/// kind is not told, so the packet is known by its own lengths.
pub(super) fn probe_in(frame: &[u8]) -> Option<&[u8]> {
    (0..frame.len()).find_map(|at| {
        let rest = frame.get(at..)?;
        let length = packet_len(rest).filter(|_| carries_probe(rest))?;
        let padding = rest.len().checked_sub(length)?;
        rest.get(..length).filter(|_| padding < PADDING_MAX)
    })
}

/// A packet's length on the wire: that of its header, if it was cut, else its own.
pub(super) fn wire_len(bytes: &[u8]) -> u32 {
    let told = packet_len(bytes).unwrap_or(0);
    u32::try_from(told.max(bytes.len())).unwrap_or(u32::MAX)
}

/// Whether a packet that came can be the answer to a probe: TCP to a port of ours, or any ICMP.
pub(super) fn may_answer(bytes: &[u8]) -> bool {
    match Packet::parse(bytes, Checksums::Skip).map(|packet| packet.body) {
        Ok(Body::Tcp(segment)) => segment.dest_port >= FIRST_PORT,
        Ok(body) => matches!(body, Body::Icmp(_)),
        Err(_) => false,
    }
}

/// The length that a network header gives.
fn packet_len(bytes: &[u8]) -> Option<usize> {
    let half = |at: usize| Some(usize::from(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?)));
    match bytes.first()? {
        0x45..=0x4f => half(2).filter(|length| *length >= V4_LEN),
        0x60..=0x6f => half(4).map(|length| length + V6_LEN),
        _ => None,
    }
}

/// Whether ICMP or TCP follows the network header, as in all that we send raw.
fn carries_probe(bytes: &[u8]) -> bool {
    match bytes.first() {
        Some(0x45) => matches!(bytes.get(9), Some(1 | 6)),
        Some(0x60..=0x6f) => matches!(bytes.get(6), Some(58 | 6)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reachd_core::wire::packet::{EchoSpec, emit_echo};
    use std::net::IpAddr;

    fn echo(source: &str, dest: &str) -> Vec<u8> {
        let (source, dest): (IpAddr, IpAddr) = (source.parse().unwrap(), dest.parse().unwrap());
        let spec = EchoSpec {
            source,
            dest,
            ttl: 64,
            ip_id: 9,
            id: 1,
            seq: 2,
            payload: &[0x45; 24],
            dont_fragment: true,
        };
        emit_echo(&spec).unwrap()
    }

    #[test]
    fn the_probe_is_found_behind_every_kind_of_header() {
        for probe in [echo("10.0.0.1", "10.0.0.2"), echo("fd00::1", "fd00::2")] {
            for length in [0, 4, 14, 18, 22] {
                for padding in [0, 6, 18] {
                    let frame = [&vec![0x45; length], &probe[..], &vec![0; padding]].concat();
                    assert_eq!(probe_in(&frame), Some(&probe[..]), "{length} {padding}");
                }
            }
            // IPv4 in IPv4, and IPv6 in it: protocols 4 and 41 are no probe's.
            let mut outer = vec![0; 14 + V4_LEN];
            outer[14] = 0x45;
            outer[23] = if probe[0] == 0x45 { 4 } else { 41 };
            let total = u16::try_from(V4_LEN + probe.len()).unwrap();
            outer[16..18].copy_from_slice(&total.to_be_bytes());
            assert_eq!(probe_in(&[outer, probe.clone()].concat()), Some(&probe[..]));
            assert_eq!(probe_in(&probe[..probe.len() - 1]), None, "it was cut");
        }
        assert_eq!(probe_in(&[]), None);
        assert_eq!(probe_in(&[0x45; 200]), None);
    }
}
