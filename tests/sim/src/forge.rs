//! An attacker off the path who knows addresses, ports and even echo numbers, and guesses the rest.

use reachd_core::monitor::{ProbePacket, SendOrder};
use reachd_core::wire::packet::{EchoSpec, SynSpec, emit_echo, emit_rst, emit_syn};
use reachd_core::wire::reply::{Stack, emit_icmp_error, emit_rst_ack, emit_syn_ack};

use crate::random::Random;
use crate::world::Place;

/// What the attacker answers to a probe it has not seen: a SYN-ACK, resets and ICMP errors that
/// carry guessed numbers.
pub(crate) fn forge(order: &SendOrder, place: &Place, random: &mut Random) -> Vec<Vec<u8>> {
    let (source, dest) = (place.address(order.to), order.to);
    let guess = random.next().to_le_bytes();
    let ip_id = u16::from_le_bytes([guess[0], guess[1]]).wrapping_add(1) | 1;
    let ip_id = if ip_id == order.ip_id { ip_id ^ 2 } else { ip_id };
    let guessed = u32::from_le_bytes([guess[2], guess[3], guess[4], guess[5]]);
    let ttl = 57;
    let mut forged = Vec::new();
    let probe = match order.what {
        ProbePacket::Echo { id, seq, .. } | ProbePacket::SizedEcho { id, seq, .. } => {
            emit_echo(&EchoSpec {
                source,
                dest,
                ttl: order.ttl,
                ip_id,
                id,
                seq,
                payload: &guess,
                dont_fragment: false,
            })
        }
        ProbePacket::Syn { source_port, dest_port, seq, .. } => {
            let seq = if guessed == seq { guessed ^ 1 } else { guessed };
            let (ours, theirs) = ((source, source_port).into(), (dest, dest_port).into());
            forged.extend(emit_rst(theirs, ours, guessed, ttl));
            emit_syn(&SynSpec {
                source,
                dest,
                ttl: order.ttl,
                ip_id,
                source_port,
                dest_port,
                seq,
                mss: 1_460,
                timestamp: None,
            })
        }
        ProbePacket::Segment { source_port, dest_port, .. } => {
            let (ours, theirs) = ((source, source_port).into(), (dest, dest_port).into());
            forged.extend(emit_rst(theirs, ours, guessed, ttl));
            None
        }
        ProbePacket::Reset { .. } | ProbePacket::Connect { .. } => None,
    };
    let Some(probe) = probe else { return forged };
    let stack = Stack { ttl, ..Stack::default() };
    forged.extend(emit_syn_ack(&probe, guessed, &stack));
    forged.extend(emit_rst_ack(&probe, &stack));
    let errors =
        if source.is_ipv4() { [(3, 1), (11, 0), (3, 4)] } else { [(1, 3), (3, 0), (2, 0)] };
    for (ty, code) in errors {
        forged.extend(emit_icmp_error(dest, source, ty, code, &probe, ttl));
    }
    forged
}
