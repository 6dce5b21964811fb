//! What the rows of one vantage have in common: whether it is open, believed and undisturbed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::token::{Flow, Token};
use super::{Flag, Sweep, millis_up};
use crate::evidence::{Answer, InvalidReason, Observation, Probe};
use crate::monitor::{Flight, ProbePacket, SendOrder, TapId};
use crate::probe::FULL_TTL;
use crate::time::Instant;
use crate::vantage::{Mode, VantageId};

/// How long after a SYN-ACK the kernel's reset may be seen leaving; it follows within the same
/// interrupt.
pub(super) const RESET_WITHIN: Duration = Duration::from_millis(500);
/// Resets of our own in a row that were not seen leaving, after which SYNs are no longer sent raw.
const RESETS_MISSED_MAX: u8 = 8;
/// How long connects stand in for raw SYNs before those are tried again.
const CONNECTS_FOR: Duration = Duration::from_secs(60);

/// How a vantage can probe at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LaneState {
    /// How much it sees; `None` while it is not open.
    pub mode: Option<Mode>,
    /// The ring that sees its packets; `None` where sockets tell the fates.
    pub tap: Option<TapId>,
    /// Whether its silence means anything: canaries answer, no local fact forbids.
    pub believed: bool,
}

/// One vantage's part of the sweep.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lane {
    pub(super) state: LaneState,
    resets_missed: u8,
    connects_until: Option<Instant>,
}

impl Lane {
    pub(super) const fn is_up(self) -> bool {
        self.state.mode.is_some()
    }

    pub(super) const fn tap(self) -> Option<TapId> {
        self.state.tap
    }

    pub(super) const fn is_believed(self) -> bool {
        self.state.believed
    }

    /// Whether SYNs leave as connects of the kernel's at present.
    pub(super) fn connects(self, now: Instant) -> bool {
        self.connects_until.is_some_and(|until| now < until)
    }
}

/// All vantages by their number, and what disturbed us.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    drops: BTreeMap<TapId, Instant>,
    lag: Option<Instant>,
    clock: Option<Instant>,
}

impl Lanes {
    pub(super) fn get(&self, lane: u16) -> Lane {
        self.lanes.get(usize::from(lane)).copied().unwrap_or_default()
    }

    fn get_mut(&mut self, lane: u16) -> &mut Lane {
        let index = usize::from(lane);
        if self.lanes.len() <= index {
            self.lanes.resize(index + 1, Lane::default());
        }
        self.lanes.get_mut(index).expect("the list was made long enough")
    }

    /// Why a silence is our own fault, given when the probe was ordered and given up, and whether
    /// it was seen leaving.
    pub(super) fn excuse(
        &self,
        lane: Lane,
        (ordered, now): (Instant, Instant),
        left: bool,
    ) -> Option<InvalidReason> {
        let since = |at: Option<Instant>| at.is_some_and(|at| at >= ordered);
        let dropped = lane.tap().and_then(|tap| self.drops.get(&tap).copied());
        if since(dropped) {
            Some(InvalidReason::CaptureDrop)
        } else if lane.tap().is_some() && !left && !lane.connects(now) {
            Some(InvalidReason::NotSeenLeaving)
        } else if since(self.lag) {
            Some(InvalidReason::Lag)
        } else if since(self.clock) {
            Some(InvalidReason::ClockStep)
        } else {
            None
        }
    }
}

impl Sweep {
    /// Says how a vantage can probe from now on. When it comes up its rows begin again, spread over
    /// their intervals; when it goes down its probes in flight are over, by our own fault.
    pub fn set_lane(&mut self, now: Instant, vantage: VantageId, state: LaneState) {
        let lane = self.lanes.get_mut(vantage.0);
        let before = std::mem::replace(&mut lane.state, state);
        if before.mode == state.mode && before.tap == state.tap {
            return;
        }
        (lane.resets_missed, lane.connects_until) = (0, None);
        let count = u32::try_from(self.rows.0.len()).unwrap_or(u32::MAX);
        for slot in 0..count {
            let of_lane = |row: &&super::Row| row.has(Flag::Live) && row.lane == vantage.0;
            let Some(row) = self.rows.get(slot).filter(of_lane).copied() else { continue };
            if before.mode.is_some() {
                self.abandon(slot);
            }
            if state.mode.is_some() && matches!(row.probe(), Probe::Echo | Probe::Syn) {
                self.begin_again(now, slot);
            }
        }
    }

    fn abandon(&mut self, slot: u32) {
        while let Some(age) = self.rows.get(slot).and_then(super::Row::oldest_open) {
            let answer = Answer::Invalid(InvalidReason::SendError);
            let seen = Observation { answer, sent: None, arrived: None };
            self.settle_open(slot, age, seen, 0);
        }
    }

    fn begin_again(&mut self, now: Instant, slot: u32) {
        let Some(row) = self.rows.get_mut(slot) else { return };
        if row.link.is_armed() {
            return;
        }
        row.set(Flag::Eager, true);
        let share = super::turn::mix(u64::from(slot)) % 1_000;
        let wait = Duration::from_nanos(u64::from(row.interval_us) * share);
        self.wheel.arm(&mut self.rows, slot, millis_up(now + wait));
    }

    /// A ring dropped packets: silence up to now means nothing.
    pub fn note_drops(&mut self, now: Instant, tap: TapId) {
        self.lanes.drops.insert(tap, now);
    }

    /// We were late: silence up to now means nothing.
    pub const fn note_lag(&mut self, now: Instant) {
        self.lanes.lag = Some(now);
    }

    /// The wall clock was stepped: stamps up to now do not compare.
    pub const fn note_clock_step(&mut self, now: Instant) {
        self.lanes.clock = Some(now);
    }

    /// A SYN-ACK came: the kernel, which knows of no such connection, must reset it.
    pub(super) fn await_reset(&mut self, slot: u32, token: Token, at: Instant) {
        let Some(row) = self.rows.get_mut(slot) else { return };
        if self.lanes.get(row.lane).state.mode.is_some_and(Mode::sees_resets) {
            row.set(Flag::ResetDue, true);
            self.resets.push_back((at + RESET_WITHIN, token));
        }
    }

    /// A reset for this probe was seen leaving.
    pub(super) fn note_reset(&mut self, slot: u32) {
        let Some(row) = self.rows.get_mut(slot) else { return };
        if row.has(Flag::ResetDue) || row.has(Flag::ResetOrdered) {
            row.set(Flag::ResetDue, false);
            row.set(Flag::ResetOrdered, false);
            self.lanes.get_mut(row.lane).resets_missed = 0;
        }
    }

    /// Sends the resets that the kernel did not: behind a firewall that eats SYN-ACKs the target
    /// would else keep half-open connections.
    pub(super) fn order_resets(&mut self, now: Instant, burst: &mut Vec<SendOrder>) {
        while burst.len() < super::BURST
            && let Some((_, token)) = self.resets.front().filter(|(at, _)| *at <= now).copied()
        {
            self.resets.pop_front();
            let slot = token.slot();
            let Some(row) = self.rows.get_mut(slot) else { continue };
            if !row.has(Flag::ResetDue) || token.age(row.generation) != 0 || !row.has(Flag::Live) {
                continue;
            }
            row.set(Flag::ResetDue, false);
            row.set(Flag::ResetOrdered, true);
            let (to, dest_port, vantage) = (row.address(), row.port, VantageId(row.lane));
            let marks = Flow::to(&self.secret, to, dest_port).marks(token);
            let seq = marks.isn.wrapping_add(1);
            let what = ProbePacket::Reset { source_port: marks.source_port, dest_port, seq };
            let flight = Flight::Sweep(token);
            let ip_id = marks.ip_id.wrapping_add(1).max(1);
            burst.push(SendOrder { flight, vantage, to, ttl: FULL_TTL, ip_id, what });
        }
    }

    /// Before the next probe: where not even our own resets leave, raw SYNs are no longer polite.
    pub(super) fn note_reset_failure(&mut self, slot: u32) {
        let Some(row) = self.rows.get(slot) else { return };
        if !row.has(Flag::ResetOrdered) {
            return;
        }
        let (lane, ordered) = (row.lane, row.ordered);
        let known = self.lanes.get(lane);
        let dropped = known.tap().and_then(|tap| self.lanes.drops.get(&tap));
        if dropped.is_some_and(|at| at.as_nanos() >= ordered) {
            return;
        }
        self.note_reset_missed(Instant::from_nanos(ordered), VantageId(lane));
    }

    /// A reset of ours, ordered at a moment, was not seen leaving.
    pub fn note_reset_missed(&mut self, ordered: Instant, vantage: VantageId) {
        let lane = self.lanes.get_mut(vantage.0);
        lane.resets_missed = lane.resets_missed.saturating_add(1);
        if lane.resets_missed >= RESETS_MISSED_MAX {
            lane.resets_missed = 0;
            lane.connects_until = Some(ordered + CONNECTS_FOR);
        }
    }

    /// Whether a vantage makes connects in place of raw SYNs at present.
    pub fn connects(&self, now: Instant, vantage: VantageId) -> bool {
        self.lanes.get(vantage.0).connects(now)
    }
}
