//! Counting fates: into the row's numbers, its charts and its standing.

use std::time::Duration;

use super::row::Flag;
use super::{RowId, Sweep, What};
use crate::accounting::{Fate, fate};
use crate::evidence::{Answer, Observation};

impl Sweep {
    /// Counts a probe that was not the sweep's, such as a survey's of the same kind.
    pub fn account(&mut self, row: RowId, seen: &Observation) {
        if self.live_row(row).is_none() {
            return;
        }
        self.count(row.0, &seen.answer, seen.rtt());
    }

    /// Counts a fate and a time where nothing but the numbers is kept here.
    pub fn book(&mut self, row: RowId, fate: Fate, time: Option<Duration>) {
        let Some((page, index)) = self.page(row.0) else { return };
        page.book(index, fate);
        time.into_iter().for_each(|time| page.observe(index, time));
    }

    /// Counts a time alone.
    pub fn observe(&mut self, row: RowId, time: Duration) {
        if let Some((page, index)) = self.page(row.0) {
            page.observe(index, time);
        }
    }

    /// Counts a late answer to a probe that was not the sweep's.
    pub fn count_late(&mut self, row: RowId) {
        if let Some((page, index)) = self.page(row.0) {
            page.count_late(index);
        }
    }

    /// Counts an answer beyond the first to a probe that was not the sweep's.
    pub fn count_duplicate(&mut self, row: RowId) {
        if let Some((page, index)) = self.page(row.0) {
            page.count_duplicate(index);
        }
    }

    /// Counts a fate and follows the row's standing.
    pub(super) fn count(&mut self, slot: u32, answer: &Answer, rtt: Option<Duration>) {
        let fate = fate(answer);
        if let Some((page, index)) = self.page(slot) {
            page.book(index, fate);
            rtt.filter(|_| fate == Fate::Received)
                .into_iter()
                .for_each(|rtt| page.observe(index, rtt));
        }
        let Some((row, memory)) = self.at_mut(slot) else { return };
        let lost = match fate {
            Fate::Received => false,
            Fate::Lost(_) => true,
            Fate::Invalid(_) => return,
        };
        let misses = row.misses;
        row.misses = if lost { misses.saturating_add(1) } else { 0 };
        let told = match (lost, misses) {
            (true, 0 | 1) => Some(What::Missed(misses + 1)),
            (false, 1..) => Some(What::Back),
            _ => None,
        };
        if !lost {
            row.set(Flag::Ever, true);
        }
        // In a row, losses are an outage and no partial loss.
        let is_partial = row.misses < 3;
        let alarm = memory.charts.handle(lost).filter(|_| is_partial);
        if let Some(what) = told {
            self.tell(slot, what);
        }
        if let Some((lost, sent)) = alarm {
            self.tell(slot, What::Loss { lost, sent });
        }
    }
}
