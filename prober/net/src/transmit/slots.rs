//! What is known of the way to each destination, found by the sweep's row instead of by a hash.

use std::net::IpAddr;
use std::time::Duration;

use reachd_core::evidence::LocalError;
use reachd_core::time::Instant;

/// An answer is asked for anew after this long even if no change was told.
const BELIEVED_FOR: Duration = Duration::from_secs(60);
/// Answers of one moment are asked for anew over this long, not in one moment.
const SPREAD_SECONDS: u64 = 16;
/// A refusal is believed for less than any probe interval.
const REFUSED_FOR: Duration = Duration::from_secs(1);

/// Rows on one page: those of another vantage cost nothing if they come in long runs.
const PAGE_LEN: usize = 256;

/// How a packet leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// By the raw socket: the kernel finds the way.
    Raw,
    /// By the packet socket, to this next hop.
    Hop(u32),
}

/// The way to one destination.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    dest: IpAddr,
    epoch: u32,
    until: Instant,
    /// Source address and way, or the local fact that there is none.
    pub(super) answer: Result<(IpAddr, Way), LocalError>,
}

/// Of the 192 bytes that all state of a row may take.
const _: () = assert!(size_of::<Option<Known>>() <= 64);

impl Known {
    /// What was said now of the destination in this row.
    pub(super) fn new(
        slot: usize,
        dest: IpAddr,
        epoch: u32,
        now: Instant,
        answer: Result<(IpAddr, Way), LocalError>,
    ) -> Self {
        // Knuth's multiplicative hash: neighbouring rows, which are asked about together, differ.
        let hash = (slot as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let earlier = Duration::from_secs(hash % SPREAD_SECONDS);
        let believed = if answer.is_ok() { BELIEVED_FOR - earlier } else { REFUSED_FOR };
        Self { dest, epoch, until: now + believed, answer }
    }
}

/// The ways of all rows.
#[derive(Debug, Default)]
pub(super) struct Slots {
    pages: Vec<Option<Box<[Option<Known>]>>>,
}

impl Slots {
    /// What still holds of the destination in this row.
    pub(super) fn get(
        &self,
        slot: usize,
        dest: IpAddr,
        epoch: u32,
        now: Instant,
    ) -> Option<&Known> {
        let page = self.pages.get(slot / PAGE_LEN)?.as_ref()?;
        let known = page.get(slot % PAGE_LEN)?.as_ref()?;
        (known.dest == dest && known.epoch == epoch && now < known.until).then_some(known)
    }

    /// Remembers.
    pub(super) fn set(&mut self, slot: usize, known: Known) {
        let at = slot / PAGE_LEN;
        if self.pages.len() <= at {
            self.pages.resize(at + 1, None);
        }
        let page = self.pages[at].get_or_insert_with(|| vec![None; PAGE_LEN].into_boxed_slice());
        page[slot % PAGE_LEN] = Some(known);
    }

    /// Forgets one row, because sending there failed.
    pub(super) fn forget(&mut self, slot: usize) {
        if let Some(Some(page)) = self.pages.get_mut(slot / PAGE_LEN) {
            page[slot % PAGE_LEN] = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const DEST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::BROADCAST);

    #[test]
    fn an_answer_holds_for_its_row_destination_epoch_and_time() {
        let mut slots = Slots::default();
        let now = Instant::ZERO + Duration::from_secs(100);
        let later = |seconds| now + Duration::from_secs(seconds);
        slots.set(700, Known::new(700, DEST, 3, now, Ok((OTHER, Way::Raw))));
        assert!(slots.get(700, DEST, 3, later(44)).is_some());
        assert!(slots.get(700, DEST, 3, later(60)).is_none());
        assert!(slots.get(700, OTHER, 3, now).is_none());
        assert!(slots.get(700, DEST, 4, now).is_none());
        assert!(slots.get(701, DEST, 3, now).is_none());
        assert!(slots.get(9_999, DEST, 3, now).is_none());
        slots.set(0, Known::new(0, DEST, 3, now, Err(LocalError::NoRoute)));
        assert!(slots.get(0, DEST, 3, now).is_some());
        assert!(slots.get(0, DEST, 3, later(1)).is_none());
        slots.forget(700);
        slots.forget(9_999);
        assert!(slots.get(700, DEST, 3, now).is_none());
    }

    #[test]
    fn rows_asked_together_are_not_asked_again_together() {
        let ends = (0..1_600).map(|slot| {
            let known = Known::new(slot, DEST, 0, Instant::ZERO, Ok((OTHER, Way::Raw)));
            known.until.as_nanos() / 1_000_000_000
        });
        let mut counts = [0; 61];
        ends.for_each(|end| counts[usize::try_from(end).unwrap()] += 1);
        assert!(counts.iter().all(|count| *count < 200), "{counts:?}");
    }
}
