//! A timing wheel over rows: one entry per row, linked through the rows themselves.
//!
//! A head per millisecond, sixteen seconds round; what is due later than that passes its head until
//! its turn comes. A bit per head says whether anything waits there, so that finding the next
//! moment costs no walk over empty heads. Entries are linked both ways: a row is taken out or moved
//! in constant time.

/// Heads of the wheel; a power of two.
const HEADS: usize = 1 << 14;
const WORDS: usize = HEADS / 64;
/// The end of a list.
const NONE: u32 = u32::MAX;

/// A row's place in the wheel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Link {
    /// The next row of the same head.
    next: u32,
    /// The row before it; the row itself when it is the first.
    prev: u32,
    /// When it is due, in milliseconds since the start, modulo 2^32.
    pub(super) due: u32,
}

impl Link {
    /// In no list.
    pub(super) const IDLE: Self = Self { next: NONE, prev: NONE, due: 0 };

    /// Whether it waits in the wheel.
    pub(super) const fn is_armed(self) -> bool {
        self.prev != NONE
    }
}

/// Where the wheel finds the link of a row.
pub(super) trait Linked {
    /// The link of this slot, if the slot exists.
    fn link(&mut self, slot: u32) -> Option<&mut Link>;
}

/// The heads.
#[derive(Debug)]
pub(super) struct Wheel {
    heads: Vec<u32>,
    occupied: Vec<u64>,
    /// Everything before this millisecond was taken out.
    at: u64,
    armed: usize,
}

impl Wheel {
    pub(super) fn new() -> Self {
        Self { heads: vec![NONE; HEADS], occupied: vec![0; WORDS], at: 0, armed: 0 }
    }

    /// Puts a row where it is due, wherever it was before; what is overdue comes next.
    pub(super) fn arm(&mut self, rows: &mut impl Linked, slot: u32, due: u64) {
        self.disarm(rows, slot);
        let due = due.max(self.at);
        let head = head_of(due);
        let Some(first) = self.heads.get_mut(head) else { return };
        let old = std::mem::replace(first, slot);
        if let Some(link) = rows.link(slot) {
            *link = Link { next: old, prev: slot, due: low32(due) };
        }
        if let Some(link) = rows.link(old) {
            link.prev = slot;
        }
        if let Some(word) = self.occupied.get_mut(head / 64) {
            *word |= 1 << (head % 64);
        }
        self.armed += 1;
    }

    /// Takes a row out, if it is in.
    pub(super) fn disarm(&mut self, rows: &mut impl Linked, slot: u32) {
        let Some(link) = rows.link(slot) else { return };
        if !link.is_armed() {
            return;
        }
        let Link { next, prev, due } = std::mem::replace(link, Link::IDLE);
        self.armed -= 1;
        let is_first = prev == slot;
        if let Some(after) = rows.link(next) {
            after.prev = if is_first { next } else { prev };
        }
        if !is_first {
            if let Some(before) = rows.link(prev) {
                before.next = next;
            }
            return;
        }
        let head = head_of(u64::from(due));
        if let Some(first) = self.heads.get_mut(head) {
            *first = next;
        }
        if next == NONE
            && let Some(word) = self.occupied.get_mut(head / 64)
        {
            *word &= !(1 << (head % 64));
        }
    }

    /// Takes out the next row that is due by `now`, in milliseconds; gives for when it was armed.
    pub(super) fn pop(&mut self, rows: &mut impl Linked, now: u64) -> Option<(u32, u64)> {
        while let Some(at) = self.next_occupied(now) {
            self.at = at;
            let mut slot = self.heads.get(head_of(at)).copied().unwrap_or(NONE);
            while let Some(link) = rows.link(slot) {
                let ago = low32(at).wrapping_sub(link.due);
                if ago < u32::MAX / 2 {
                    self.disarm(rows, slot);
                    return Some((slot, at.saturating_sub(ago.into())));
                }
                slot = link.next;
            }
            // The rest waits for another round.
            if at == now {
                return None;
            }
            self.at = at + 1;
        }
        self.at = self.at.max(now);
        None
    }

    /// The first millisecond from now on, or long overdue, at which a row may be due; `None` while
    /// nothing is armed. It may be early by whole rounds, never late.
    pub(super) fn next(&self) -> Option<u64> {
        self.next_occupied(self.at + HEADS as u64 - 1)
    }

    /// The first occupied head from the present one up to this moment, a round at most.
    fn next_occupied(&self, until: u64) -> Option<u64> {
        if self.armed == 0 {
            return None;
        }
        let until = until.min(self.at + HEADS as u64 - 1);
        let mut at = self.at;
        while at <= until {
            let head = head_of(at);
            let word = self.occupied.get(head / 64).copied().unwrap_or(0) >> (head % 64);
            if word != 0 {
                let found = at + u64::from(word.trailing_zeros());
                return (found <= until).then_some(found);
            }
            at += 64 - (head % 64) as u64;
        }
        None
    }

    /// Rows that wait.
    #[cfg(test)]
    pub(super) const fn len(&self) -> usize {
        self.armed
    }
}

fn head_of(due: u64) -> usize {
    usize::try_from(due % HEADS as u64).unwrap_or(0)
}

fn low32(word: u64) -> u32 {
    u32::try_from(word & u64::from(u32::MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Default)]
    struct Links(Vec<Link>);

    impl Linked for Links {
        fn link(&mut self, slot: u32) -> Option<&mut Link> {
            self.0.get_mut(usize::try_from(slot).unwrap())
        }
    }

    proptest! {
        /// Arming, moving, taking out and time, against a sorted map.
        #[test]
        fn rows_come_when_they_are_due(
            steps in prop::collection::vec((0_u8..4, 0_u32..40, 0_u64..60_000), 1..400),
            start in prop::sample::select(vec![0_u64, 16_300, u64::from(u32::MAX) - 30_000]),
        ) {
            let mut rows = Links(vec![Link::IDLE; 40]);
            let mut wheel = Wheel::new();
            let mut now = start;
            prop_assert_eq!(wheel.pop(&mut rows, now), None);
            let mut model: BTreeMap<u32, u64> = BTreeMap::new();
            for (what, slot, time) in steps {
                match what {
                    0 | 1 => {
                        wheel.arm(&mut rows, slot, now + time);
                        model.insert(slot, now + time);
                    }
                    2 => {
                        wheel.disarm(&mut rows, slot);
                        model.remove(&slot);
                    }
                    _ => {
                        now += time / 4;
                        while let Some((slot, armed)) = wheel.pop(&mut rows, now) {
                            let due = model.remove(&slot);
                            prop_assert!(due.is_some_and(|due| due <= armed) && armed <= now);
                            prop_assert!(due.is_some_and(|due| due <= now), "{due:?} at {now}");
                        }
                        prop_assert!(model.values().all(|due| *due > now), "{model:?} at {now}");
                    }
                }
                prop_assert_eq!(wheel.len(), model.len());
                let next = model.values().min();
                prop_assert_eq!(wheel.next().is_some(), next.is_some());
                prop_assert!(wheel.next().zip(next).is_none_or(|(found, due)| found <= *due));
            }
        }
    }
}
