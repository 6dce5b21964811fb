//! An attacker off the path who knows addresses, ports and even echo numbers, and guesses the rest.

use reachd_core::wire::icmp::Icmp;
use reachd_core::wire::packet::{
    Body, Checksums, EchoSpec, Packet, SynSpec, emit_echo, emit_rst, emit_syn,
};
use reachd_core::wire::reply::{Stack, emit_icmp_error, emit_rst_ack, emit_syn_ack};

use crate::random::Random;

/// The hop limit that forgeries arrive with.
const TTL: u8 = 57;

/// What the attacker answers to a packet it has not seen: a SYN-ACK, resets and ICMP errors that
/// carry guessed numbers.
pub fn forge(sent: &[u8], random: &mut Random) -> Vec<Vec<u8>> {
    let Ok(packet) = Packet::parse(sent, Checksums::Verify) else { return Vec::new() };
    let (source, dest, ttl) = (packet.source, packet.dest, packet.ttl);
    let guess = random.next().to_le_bytes();
    let ip_id = u16::from_le_bytes([guess[0], guess[1]]).wrapping_add(1) | 1;
    let ip_id = if Some(ip_id) == packet.ip_id { ip_id ^ 2 } else { ip_id };
    let guessed = u32::from_le_bytes([guess[2], guess[3], guess[4], guess[5]]);
    let mut forged = Vec::new();
    let probe = match packet.body {
        Body::Icmp(Icmp::EchoRequest { id, seq, .. }) => emit_echo(&EchoSpec {
            source,
            dest,
            ttl,
            ip_id,
            id,
            seq,
            payload: &guess,
            dont_fragment: false,
        }),
        Body::Tcp(segment) if !segment.flags.rst() => {
            let ours = (source, segment.source_port).into();
            let theirs = (dest, segment.dest_port).into();
            forged.extend(emit_rst(theirs, ours, guessed, TTL));
            let seq = if guessed == segment.seq { guessed ^ 1 } else { guessed };
            let syn = SynSpec {
                source,
                dest,
                ttl,
                ip_id,
                source_port: segment.source_port,
                dest_port: segment.dest_port,
                seq,
                mss: 1_460,
                timestamp: None,
            };
            if segment.flags.syn() { emit_syn(&syn) } else { None }
        }
        _ => None,
    };
    let Some(probe) = probe else { return forged };
    let stack = Stack { ttl: TTL, ..Stack::default() };
    forged.extend(emit_syn_ack(&probe, guessed, &stack));
    forged.extend(emit_rst_ack(&probe, &stack));
    let errors =
        if source.is_ipv4() { [(3, 1), (11, 0), (3, 4)] } else { [(1, 3), (3, 0), (2, 0)] };
    for (ty, code) in errors {
        forged.extend(emit_icmp_error(dest, source, ty, code, &probe, TTL));
    }
    forged
}
