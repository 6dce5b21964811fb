//! Counts shared by the tasks of one thread.

use std::cell::Cell;
use std::time::Instant;

use crate::measured::Measured;

/// The counts of a run by many tasks, and which target is next.
pub(crate) struct Tally {
    /// When to begin no more.
    pub(crate) deadline: Instant,
    targets: u32,
    next: Cell<u32>,
    sent: Cell<u64>,
    received: Cell<u64>,
    lost: Cell<u64>,
    invalid: Cell<u64>,
}

impl Tally {
    /// Begins at nought.
    pub(crate) const fn new(deadline: Instant, targets: u32) -> Self {
        Self {
            deadline,
            targets,
            next: Cell::new(0),
            sent: Cell::new(0),
            received: Cell::new(0),
            lost: Cell::new(0),
            invalid: Cell::new(0),
        }
    }

    /// Gives the index of the next target, in turn.
    pub(crate) fn following(&self) -> u32 {
        let index = self.next.get();
        self.next.set((index + 1) % self.targets.max(1));
        index
    }

    /// How many were sent so far.
    pub(crate) fn sent_so_far(&self) -> u64 {
        self.sent.get()
    }

    /// Counts a probe sent.
    pub(crate) fn sent(&self) {
        self.sent.set(self.sent.get() + 1);
    }

    /// Counts an answer.
    pub(crate) fn received(&self) {
        self.received.set(self.received.get() + 1);
    }

    /// Counts a probe given up.
    pub(crate) fn lost(&self) {
        self.lost.set(self.lost.get() + 1);
    }

    /// Counts a probe that could not be made.
    pub(crate) fn invalid(&self) {
        self.invalid.set(self.invalid.get() + 1);
    }

    /// Gives the counts; times are for the caller to fill in.
    pub(crate) fn measured(&self) -> Measured {
        Measured {
            sent: self.sent.get(),
            received: self.received.get(),
            lost: self.lost.get(),
            invalid: self.invalid.get(),
            ..Measured::default()
        }
    }
}
