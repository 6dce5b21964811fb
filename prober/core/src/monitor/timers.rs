//! What is due when: one moment per timer.

use std::collections::{BTreeMap, BTreeSet};

use super::Monitor;
use super::flights::ViewKey;
use crate::target::TargetName;
use crate::time::Instant;
use crate::vantage::VantageId;

/// Something that is due at a moment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    View(ViewKey),
    Names(TargetName, VantageId),
    Target(TargetName),
    Vantage(VantageId),
    Decoys(VantageId),
    Groups,
}

/// One moment per timer, found by moment.
#[derive(Debug, Default)]
pub(super) struct Timers {
    by_moment: BTreeSet<(Instant, Timer)>,
    by_timer: BTreeMap<Timer, Instant>,
}

impl Timers {
    pub(super) fn set(&mut self, timer: Timer, at: Option<Instant>) {
        if let Some(old) = self.by_timer.remove(&timer) {
            self.by_moment.remove(&(old, timer.clone()));
        }
        if let Some(at) = at {
            self.by_timer.insert(timer.clone(), at);
            self.by_moment.insert((at, timer));
        }
    }

    pub(super) fn pop(&mut self, now: Instant) -> Option<Timer> {
        if self.by_moment.first()?.0 > now {
            return None;
        }
        let (_, timer) = self.by_moment.pop_first()?;
        self.by_timer.remove(&timer);
        Some(timer)
    }

    /// Sets a timer unless it is due sooner already.
    pub(super) fn hasten(&mut self, timer: Timer, at: Instant) {
        if self.by_timer.get(&timer).is_none_or(|known| *known > at) {
            self.set(timer, Some(at));
        }
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.by_moment.first().map(|(at, _)| *at)
    }
}

impl Monitor {
    /// Does everything that is due by `now`.
    pub(super) fn run_due(&mut self, now: Instant) {
        self.end_unheard(now);
        self.expire_flights(now);
        self.order_resets(now);
        self.handle_changes(now);
        self.run_chores(now);
        // Every handler sets its next moment after `now`; the bound only guards against a bug.
        for _ in 0..100_000 {
            let Some(timer) = self.timers.pop(now) else { return };
            match timer {
                Timer::View(key) => self.run_view(now, &key),
                Timer::Names(target, vantage) => self.run_names(now, &target, vantage),
                Timer::Target(target) => self.run_target(now, &target),
                Timer::Vantage(vantage) => self.run_vantage(now, vantage),
                Timer::Decoys(vantage) => self.run_decoys(now, vantage),
                Timer::Groups => self.run_groups(now),
            }
        }
        *self.bugs.entry("timer_storm").or_default() += 1;
    }
}
