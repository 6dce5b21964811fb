//! Surveys that wait for their turn.
//!
//! A survey costs dozens of packets and seconds of attention, so only so many run at a time. Of
//! those that wait, suspicions go first, and one prefix after the other: when ten thousand targets
//! fall silent together, a sample from everywhere is worth more than all of one subnet.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use super::flights::ViewKey;
use crate::budget::prefix;
use crate::survey::Depth;

/// Surveys that run at the same time at most.
pub(super) const RUNNING_MAX: usize = 256;

/// How soon a survey is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    /// Something changed.
    Suspicion,
    /// A look at what is new or due.
    Routine,
}

/// The waiting surveys, and how many run.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: BTreeMap<(Urgency, IpAddr), VecDeque<(ViewKey, Depth)>>,
    known: BTreeSet<ViewKey>,
    /// Whose turn was last.
    cursor: Option<(Urgency, IpAddr)>,
    pub(super) running: usize,
}

impl Queue {
    /// Whether another survey may begin.
    pub(super) const fn has_room(&self) -> bool {
        self.running < RUNNING_MAX
    }

    /// Lets a view wait, once.
    pub(super) fn push(&mut self, key: ViewKey, depth: Depth, urgency: Urgency) {
        if self.known.insert(key.clone()) {
            let line = self.waiting.entry((urgency, prefix(key.address))).or_default();
            line.push_back((key, depth));
        }
    }

    /// The next survey to begin: of the most urgent, of the next prefix.
    pub(super) fn pop(&mut self) -> Option<(ViewKey, Depth)> {
        let first = self.waiting.keys().next().copied()?;
        let after = self.cursor.filter(|cursor| cursor.0 == first.0);
        let next = after.and_then(|cursor| {
            use std::ops::Bound::{Excluded, Unbounded};
            let found = self.waiting.range((Excluded(cursor), Unbounded)).next();
            found.map(|(at, _)| *at).filter(|at| at.0 == first.0)
        });
        let at = next.unwrap_or(first);
        self.cursor = Some(at);
        let line = self.waiting.get_mut(&at)?;
        let found = line.pop_front();
        if line.is_empty() {
            self.waiting.remove(&at);
        }
        if let Some((key, _)) = &found {
            self.known.remove(key);
        }
        found
    }

    /// Whether this view waits.
    pub(super) fn holds(&self, key: &ViewKey) -> bool {
        self.known.contains(key)
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::TargetName;
    use crate::vantage::VantageId;

    fn key(address: &str) -> ViewKey {
        let target = TargetName::new(address);
        ViewKey { target, vantage: VantageId(0), address: address.parse().unwrap() }
    }

    #[test]
    fn suspicions_go_first_and_prefixes_in_turn() {
        let mut queue = Queue::default();
        queue.push(key("10.0.2.1"), Depth::Full, Urgency::Routine);
        for address in ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.1.1", "10.0.0.1"] {
            queue.push(key(address), Depth::Suspicion, Urgency::Suspicion);
        }
        assert_eq!(queue.len(), 5);
        let order = std::iter::from_fn(|| queue.pop()).map(|(key, _)| key.target.to_string());
        let order: Vec<_> = order.collect();
        assert_eq!(order, ["10.0.0.1", "10.0.1.1", "10.0.0.2", "10.0.0.3", "10.0.2.1"]);
        assert!(!queue.holds(&key("10.0.0.1")));
    }
}
