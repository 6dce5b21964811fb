//! What is known of the way to each destination, found by the sweep's row instead of by a hash.

use std::net::IpAddr;
use std::time::Duration;

use reachd_core::time::Instant;

/// An answer is asked for anew after this long even if no change was told.
const BELIEVED_FOR: Duration = Duration::from_secs(60);
/// Answers of one moment are asked for anew over this long, not in one moment.
const SPREAD_SECONDS: u64 = 16;

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

/// The way to one destination, packed: it belongs to every row of the sweep.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// The destination, folded. A row that is another destination's has rested for a minute before,
    /// so a stale entry has run out; this is for rows that never rested.
    tag: u32,
    /// Milliseconds since the start, modulo 2^32; 0 is nothing known.
    until: u32,
    epoch: u16,
    source: u16,
    hop: u32,
}

/// No hop of ours: the kernel finds the way.
const RAW: u32 = u32::MAX;
const NOTHING: Known = Known { tag: 0, until: 0, epoch: 0, source: 0, hop: RAW };

const _: () = assert!(size_of::<Known>() == 16);

/// The ways of all rows.
#[derive(Debug, Default)]
pub(super) struct Slots {
    pages: Vec<Option<Box<[Known]>>>,
    /// The few source addresses that there are.
    sources: Vec<IpAddr>,
}

impl Slots {
    /// What still holds of the destination in this row: its source address and way.
    pub(super) fn get(
        &self,
        slot: usize,
        dest: IpAddr,
        epoch: u32,
        now: Instant,
    ) -> Option<(IpAddr, Way)> {
        let known = self.pages.get(slot / PAGE_LEN)?.as_ref()?.get(slot % PAGE_LEN)?;
        let left = known.until.wrapping_sub(millis(now));
        let believed = u128::from(left) <= BELIEVED_FOR.as_millis() && left > 0;
        let holds = known.tag == fold(dest) && known.epoch == low16(epoch) && believed;
        let source = self.sources.get(usize::from(known.source)).filter(|_| holds)?;
        let way = if known.hop == RAW { Way::Raw } else { Way::Hop(known.hop) };
        Some((*source, way))
    }

    /// Remembers what was said now. Refusals are not worth it: no interval is shorter than a
    /// second, and they must not be believed for longer.
    pub(super) fn set(
        &mut self,
        (slot, dest): (usize, IpAddr),
        epoch: u32,
        now: Instant,
        (source, way): (IpAddr, Way),
    ) {
        // Knuth's multiplicative hash: neighbouring rows, which are asked about together, differ.
        let hash = (slot as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let earlier = Duration::from_millis(hash % (SPREAD_SECONDS * 1_000));
        let Some(source) = self.number(source) else { return };
        let at = slot / PAGE_LEN;
        if self.pages.len() <= at {
            self.pages.resize(at + 1, None);
        }
        let page = self.pages[at].get_or_insert_with(|| vec![NOTHING; PAGE_LEN].into_boxed_slice());
        let hop = match way {
            Way::Raw => RAW,
            Way::Hop(hop) => hop,
        };
        let until = millis(now + (BELIEVED_FOR - earlier));
        page[slot % PAGE_LEN] = Known { tag: fold(dest), until, epoch: low16(epoch), source, hop };
    }

    /// Forgets one row, because sending there failed.
    pub(super) fn forget(&mut self, slot: usize) {
        if let Some(Some(page)) = self.pages.get_mut(slot / PAGE_LEN) {
            page[slot % PAGE_LEN] = NOTHING;
        }
    }

    /// The number of a source address; `None` on a host with more of them than fit, which asks anew
    /// every time.
    fn number(&mut self, source: IpAddr) -> Option<u16> {
        let known = self.sources.iter().position(|known| *known == source);
        let at = known.unwrap_or_else(|| {
            self.sources.push(source);
            self.sources.len() - 1
        });
        u16::try_from(at).ok()
    }
}

fn millis(at: Instant) -> u32 {
    (at.as_nanos() / 1_000_000) as u32
}

const fn low16(epoch: u32) -> u16 {
    epoch as u16
}

fn fold(dest: IpAddr) -> u32 {
    match dest {
        IpAddr::V4(v4) => v4.to_bits(),
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            let half = (bits >> 64) as u64 ^ bits as u64;
            (half >> 32) as u32 ^ half as u32
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
        slots.set((700, DEST), 3, now, (OTHER, Way::Hop(5)));
        assert_eq!(slots.get(700, DEST, 3, later(43)), Some((OTHER, Way::Hop(5))));
        assert!(slots.get(700, DEST, 3, later(60)).is_none());
        assert!(slots.get(700, DEST, 3, later(6_000)).is_none());
        assert!(slots.get(700, OTHER, 3, now).is_none());
        assert!(slots.get(700, DEST, 4, now).is_none());
        assert!(slots.get(701, DEST, 3, now).is_none());
        assert!(slots.get(9_999, DEST, 3, now).is_none());
        slots.set((700, DEST), 4, now, (DEST, Way::Raw));
        assert_eq!(slots.get(700, DEST, 4, now), Some((DEST, Way::Raw)));
        slots.forget(700);
        slots.forget(9_999);
        assert!(slots.get(700, DEST, 4, now).is_none());
    }

    #[test]
    fn rows_asked_together_are_not_asked_again_together() {
        let mut slots = Slots::default();
        (0..1_600).for_each(|slot| slots.set((slot, DEST), 0, Instant::ZERO, (OTHER, Way::Raw)));
        let holding = |seconds| {
            let at = Instant::ZERO + Duration::from_secs(seconds);
            (0..1_600).filter(|slot| slots.get(*slot, DEST, 0, at).is_some()).count()
        };
        let held: Vec<_> = (43..=60).map(holding).collect();
        assert!(held.windows(2).all(|pair| pair[0] - pair[1] < 200), "{held:?}");
        assert_eq!((held.first(), held.last()), (Some(&1_600), Some(&0)));
    }
}
