//! Counts shared by many tasks.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use crate::measured::Measured;

/// The counts of a run by many tasks, and which target is next.
pub(crate) struct Tally {
    /// When to begin no more.
    pub(crate) deadline: Instant,
    targets: u32,
    next: AtomicU32,
    sent: AtomicU64,
    received: AtomicU64,
    lost: AtomicU64,
    invalid: AtomicU64,
}

impl Tally {
    /// Begins at nought.
    pub(crate) const fn new(deadline: Instant, targets: u32) -> Self {
        Self {
            deadline,
            targets,
            next: AtomicU32::new(0),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            invalid: AtomicU64::new(0),
        }
    }

    /// Gives the index of the next target, in turn.
    pub(crate) fn following(&self) -> u32 {
        self.next.fetch_add(1, Relaxed) % self.targets.max(1)
    }

    /// How many were sent so far.
    pub(crate) fn sent_so_far(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Counts a probe sent.
    pub(crate) fn sent(&self) {
        self.sent.fetch_add(1, Relaxed);
    }

    /// Counts an answer.
    pub(crate) fn received(&self) {
        self.received.fetch_add(1, Relaxed);
    }

    /// Counts a probe given up.
    pub(crate) fn lost(&self) {
        self.lost.fetch_add(1, Relaxed);
    }

    /// Counts a probe that could not be made.
    pub(crate) fn invalid(&self) {
        self.invalid.fetch_add(1, Relaxed);
    }

    /// Gives the counts; times are for the caller to fill in.
    pub(crate) fn measured(&self) -> Measured {
        Measured {
            sent: self.sent.load(Relaxed),
            received: self.received.load(Relaxed),
            lost: self.lost.load(Relaxed),
            invalid: self.invalid.load(Relaxed),
            ..Measured::default()
        }
    }
}
