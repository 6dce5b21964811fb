//! A row's turn: whether it asks now, and when it is due next.
//!
//! A probe is due an interval after the last, give or take a twentieth: what goes wrong at a rhythm
//! must not hide between probes. After a stall of ours all overdue rows ask at once; each then goes
//! back to a phase of its own, so that they do not stay in step. What a budget holds back is late
//! as well, but it is the budget that spaces those.

use std::time::Duration;

use super::row::{Flag, Row};
use super::{Sweep, millis, millis_up};
use crate::budget::{Budgets, Denial, Lease};
use crate::evidence::Probe;
use crate::monitor::SendOrder;
use crate::plan::VERDICT_TIMER;
use crate::time::Instant;

/// A row that the budget holds back comes again after this at the latest: until then its account
/// may have been freed.
const HELD_MAX: Duration = Duration::from_secs(1);
/// A row that is taken out of the wheel later than this part of its interval shows a stall.
const STALL_PART: u32 = 4;

impl Sweep {
    /// What is due in one row, which was armed for this millisecond.
    pub(super) fn turn(
        &mut self,
        now: Instant,
        (slot, armed): (u32, u64),
        budgets: &mut Budgets,
        burst: &mut Vec<SendOrder>,
    ) {
        self.expire(now, slot);
        let Some(row) = self.rows.get(slot).filter(|row| row.has(Flag::Live)) else { return };
        // A vantage that is down leaves its rows idle until it is up again.
        if !self.lanes.get(row.lane).is_up() {
            return;
        }
        let due = due(row, slot);
        let eager = row.has(Flag::Eager);
        if row.is_full() || !eager && due > now {
            return self.arm_next(now, slot);
        }
        let armed = Instant::from_start(Duration::from_millis(armed));
        let late = now.since(if eager { armed } else { due });
        let lease = usize::try_from(slot).ok().and_then(|index| self.leases.get(index).copied());
        match budgets.take_late(now, lease.unwrap_or(Lease::NONE), late) {
            Ok(()) => {
                if !eager {
                    self.lateness.note(now, late);
                }
                let phased = row.is_phased();
                let stalled = now.since(armed) > row.interval() / STALL_PART;
                burst.extend(self.order(now, slot));
                // Late twice in a row, there is too much to do for any phase; and what waited for
                // the budget was spaced by it.
                if stalled && !phased && armed >= self.held_until {
                    self.rows.get_mut(slot).into_iter().for_each(Row::set_phased);
                }
                self.arm_next(now, slot);
            }
            // What the budget holds back is late, not left out.
            Err(Denial::All(wait)) => {
                self.held_until = now + wait;
                self.wheel.arm(&mut self.rows, slot, millis(now));
            }
            Err(Denial::Destination(wait)) => {
                self.await_turn(slot, armed);
                self.arm_by(now, slot, now + wait.min(HELD_MAX));
            }
        }
    }

    /// A row that waits for its budget is no longer in a hurry; one that begins has no last probe
    /// from which to tell how late it is.
    fn await_turn(&mut self, slot: u32, armed: Instant) {
        let Some(row) = self.rows.get_mut(slot).filter(|row| row.has(Flag::Eager)) else { return };
        row.set(Flag::Eager, false);
        if row.oldest_open().is_none() && due(row, slot) < armed {
            let before = jittered(row, slot);
            row.ordered = armed.as_nanos().saturating_sub(before) / 1_000 * 1_000;
        }
    }

    /// Lets a row come when its next probe, or the verdict of one, is due.
    pub(super) fn arm_next(&mut self, now: Instant, slot: u32) {
        if let Some(row) = self.rows.get(slot) {
            self.arm_by(now, slot, due(row, slot));
        }
    }

    /// Lets a row come at this moment if it can ask then, or when a verdict is due.
    fn arm_by(&mut self, now: Instant, slot: u32, due: Instant) {
        let Some((row, memory)) = self.at(slot) else { return };
        let verdict = row.oldest_open().and_then(|age| row.ordered(memory, age, now));
        let verdict = verdict.map(|ordered| ordered + VERDICT_TIMER);
        let due = (!row.is_full()).then_some(due);
        if let Some(next) = verdict.into_iter().chain(due).min() {
            self.wheel.arm(&mut self.rows, slot, millis_up(next));
        }
    }
}

/// When the next probe of a row is due.
pub(super) fn due(row: &Row, slot: u32) -> Instant {
    let interval = u64::from(row.interval_us) * 1_000;
    if !row.is_phased() {
        return Instant::from_nanos(row.ordered.saturating_add(jittered(row, slot)));
    }
    // Not before half an interval has passed, so that no two probes follow each other closely.
    let soonest = row.ordered.saturating_add(interval / 2);
    let phase = phase(row) * 1_000;
    let rounds = soonest.saturating_sub(phase).div_ceil(interval);
    Instant::from_nanos(phase.saturating_add(rounds.saturating_mul(interval)))
}

/// An interval, give or take a twentieth, in nanoseconds.
fn jittered(row: &Row, slot: u32) -> u64 {
    let draw = mix(u64::from(slot) << 16 | u64::from(row.generation)) % 101;
    u64::from(row.interval_us) * (950 + draw)
}

/// Where in its interval a row belongs, in microseconds; the SYNs of a view half an interval after
/// its echoes, since the two find a fault sooner than side by side.
fn phase(row: &Row) -> u64 {
    let interval = u64::from(row.interval_us);
    let share = ((mix(u64::from(row.owner) << 16 | u64::from(row.lane)) >> 32) * interval) >> 32;
    let apart = if row.probe() == Probe::Syn { interval / 2 } else { 0 };
    (share + apart) % interval.max(1)
}

/// A word mixed well enough to spread probes (the finaliser of `SplitMix64`, Steele and others,
/// 2014); nothing secret rests on it.
pub(super) const fn mix(word: u64) -> u64 {
    let word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}
