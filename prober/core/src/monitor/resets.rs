//! Resets of the surveys' handshakes: the kernel's own are awaited, ours follow where none leaves.
//!
//! A SYN-ACK to a SYN that our kernel knows nothing of is reset by it. Where that reset does not
//! leave (DESIGN section 4 rule 14), the target would keep a half-open connection for each SYN.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::standing::VantageWatch;
use super::{Captured, Direction, Monitor, Output, ProbePacket, SendOrder, TapId};
use crate::probe::FULL_TTL;
use crate::time::Instant;
use crate::vantage::{Mode, VantageId};
use crate::wire::packet::{Body, Packet};

/// How long a reset may take to be seen leaving.
const WITHIN: Duration = Duration::from_millis(500);
/// Handshakes watched at once at most; beyond that a flood of answers is not ours to clean up.
const WATCHED_MAX: usize = 1 << 16;

/// One handshake: who answered, from which port, to which of ours.
type Handshake = (TapId, IpAddr, u16, u16);

#[derive(Debug, Clone, Copy)]
struct Awaited {
    since: Instant,
    vantage: VantageId,
    /// The sequence number that a reset must have: what the answer acknowledged.
    seq: u32,
    /// Whether ours was sent already.
    ordered: bool,
}

/// The handshakes whose reset has not been seen leaving yet.
#[derive(Debug, Default)]
pub(super) struct Resets {
    awaited: BTreeMap<Handshake, Awaited>,
    due: VecDeque<(Instant, Handshake)>,
}

impl Resets {
    /// When the next reset is overdue.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.front().map(|(at, _)| *at)
    }

    fn watch(&mut self, now: Instant, handshake: Handshake, awaited: Awaited) {
        self.awaited.insert(handshake, awaited);
        self.due.push_back((now + WITHIN, handshake));
    }
}

impl Monitor {
    /// A reset left: nothing is half open.
    pub(super) fn note_reset(&mut self, captured: &Captured<'_>, packet: &Packet<'_>) {
        if captured.direction == Direction::Sent
            && let Body::Tcp(segment) = packet.body
            && segment.flags.rst()
        {
            let ends = (packet.dest, segment.dest_port, segment.source_port);
            self.resets.awaited.remove(&(captured.tap, ends.0, ends.1, ends.2));
        }
    }

    /// A survey's SYN was accepted: our kernel has to reset what it knows nothing of.
    pub(super) fn await_reset(
        &mut self,
        now: Instant,
        vantage: VantageId,
        captured: &Captured<'_>,
        packet: &Packet<'_>,
    ) {
        let sees = self.vantages.get(&vantage).and_then(VantageWatch::mode);
        if sees.is_some_and(Mode::sees_resets)
            && self.resets.awaited.len() < WATCHED_MAX
            && let Body::Tcp(segment) = packet.body
            && segment.flags.syn()
            && segment.flags.ack()
        {
            let handshake = (captured.tap, packet.source, segment.source_port, segment.dest_port);
            let awaited = Awaited { since: now, vantage, seq: segment.ack, ordered: false };
            self.resets.watch(now, handshake, awaited);
        }
    }

    /// Sends the resets that did not leave by themselves; where ours does not leave either, the
    /// vantage is to make full connections instead.
    pub(super) fn order_resets(&mut self, now: Instant) {
        while let Some((_, handshake)) = self.resets.due.pop_front_if(|(at, _)| *at <= now) {
            let Some(awaited) = self.resets.awaited.get(&handshake).copied() else { continue };
            let (tap, to, dest_port, source_port) = handshake;
            let dropped = self.disturbed.drops.get(&tap).is_some_and(|at| *at >= awaited.since);
            if awaited.ordered || dropped {
                self.resets.awaited.remove(&handshake);
                if !dropped {
                    self.sweep.note_reset_missed(now, awaited.vantage);
                }
                continue;
            }
            let what = ProbePacket::Reset { source_port, dest_port, seq: awaited.seq };
            let flight = self.flights.token();
            let vantage = awaited.vantage;
            let order = SendOrder { flight, vantage, to, ttl: FULL_TTL, ip_id: 1, what };
            self.outputs.push_back(Output::Send(order));
            self.resets.watch(now, handshake, Awaited { since: now, ordered: true, ..awaited });
        }
    }
}
