//! Room for new questions.

use super::{CAPACITY, Flights, Stage};

/// So many are forgotten at once to make room.
const FORGOTTEN: usize = 1_024;

impl Flights {
    /// Whether another probe may be ordered. To make room, those are forgotten that are only
    /// listened for: what they may still hear is worth less than a new question.
    pub(in crate::monitor) fn has_room(&mut self) -> bool {
        if self.flying.len() >= CAPACITY {
            let listening = self.deadlines.iter().filter(|(_, flight, stage)| {
                let known = self.flying.get(flight);
                *stage == Stage::Listen && known.is_some_and(|probe| !probe.is_connect())
            });
            let oldest: Vec<_> = listening.take(FORGOTTEN).copied().collect();
            for deadline in oldest {
                self.deadlines.remove(&deadline);
                self.forget(deadline.1);
            }
        }
        self.flying.len() < CAPACITY
    }
}
