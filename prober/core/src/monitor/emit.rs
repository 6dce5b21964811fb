//! Orders as packets.

use std::net::IpAddr;

use super::{ProbePacket, SendOrder};
use crate::wire::packet::{EchoSpec, SynSpec, emit_echo, emit_rst, emit_syn};

/// The segment size that our SYNs announce: what Linux announces on Ethernet, by family.
const MSS: [u16; 2] = [1_460, 1_440];

impl SendOrder {
    /// The packet from this address; `None` if the addresses differ in family, and for a connect,
    /// which is a socket's work.
    pub fn emit(&self, source: IpAddr) -> Option<Vec<u8>> {
        // The kernel would put its own number in place of 0, and the answer would not match.
        let ip_id = self.ip_id.max(1);
        let (dest, ttl) = (self.to, self.ttl);
        match &self.what {
            ProbePacket::Echo { id, seq, payload } => emit_echo(&EchoSpec {
                source,
                dest,
                ttl,
                ip_id,
                id: *id,
                seq: *seq,
                payload,
                dont_fragment: true,
            }),
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
