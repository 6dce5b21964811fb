//! What became of a row's probes, in numbers that others may read while the sweep counts on.
//!
//! The sweep is the only writer; readers (the metrics page) take whatever is there. Reasons other
//! than silence are rare, so their counters exist only where one was needed.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::accounting::{BUCKET_BOUNDS, Counters, Fate, Histogram};
use crate::evidence::{InvalidReason, LossReason};

/// Rows of a page.
pub(super) const PAGE: u32 = 1_024;
/// Rows that share one block of rare counters.
const BLOCK: usize = 32;
const BLOCKS: usize = PAGE as usize / BLOCK;
const REASONS: usize = LossReason::ALL.len() + InvalidReason::ALL.len();
/// Where round-trip times beyond the last bound are counted: only full connections take so long.
const SLOWER: usize = REASONS;
const RARE: usize = REASONS + 1;

/// The numbers of one row.
#[derive(Debug, Default)]
struct Tally {
    received: AtomicU32,
    silent: AtomicU32,
    late: AtomicU32,
    duplicate: AtomicU32,
    buckets: [AtomicU32; BUCKET_BOUNDS.len()],
    /// Sum of all round-trip times in nanoseconds.
    sum: AtomicU64,
}

/// Counts by reason, losses first; then what was slower than the last bound.
type Rare = [AtomicU32; RARE];

/// The numbers of a thousand rows.
#[derive(Debug)]
pub(super) struct Page {
    tallies: Vec<Tally>,
    rare: [OnceLock<Box<[Rare; BLOCK]>>; BLOCKS],
}

/// Bytes that the numbers of one row take.
pub(super) const TALLY_BYTES: usize = size_of::<Tally>();

impl Page {
    pub(super) fn new() -> Arc<Self> {
        let tallies = (0..PAGE).map(|_| Tally::default()).collect();
        Arc::new(Self { tallies, rare: [const { OnceLock::new() }; BLOCKS] })
    }
}

/// One row's numbers, to be read at any time.
#[derive(Debug, Clone)]
pub struct Cell {
    page: Arc<Page>,
    index: u32,
}

/// The one writer of a counter needs no read-modify-write.
fn add(counter: &AtomicU32, more: u32) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

fn get(counter: &AtomicU32) -> u64 {
    counter.load(Ordering::Relaxed).into()
}

impl Cell {
    /// The numbers of a slot, whose page this is.
    pub(super) fn of(pages: &[Arc<Page>], slot: u32) -> Option<Self> {
        let page = pages.get(usize::try_from(slot / PAGE).ok()?)?;
        Some(Self { page: Arc::clone(page), index: slot % PAGE })
    }

    /// A cell of its own with these numbers, for tests and hand-made snapshots.
    pub fn fixed(counters: &Counters, rtt: &Histogram) -> Self {
        let cell = Self { page: Page::new(), index: 0 };
        let low = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let Some(tally) = cell.tally() else { return cell };
        add(&tally.received, low(counters.received));
        add(&tally.late, low(counters.late));
        add(&tally.duplicate, low(counters.duplicate));
        for (reason, count) in &counters.lost {
            cell.page.bump(0, Fate::Lost(*reason), low(*count));
        }
        for (reason, count) in &counters.invalid {
            cell.page.bump(0, Fate::Invalid(*reason), low(*count));
        }
        for (bucket, count) in tally.buckets.iter().zip(rtt.buckets) {
            add(bucket, low(count));
        }
        let slower = rtt.count.saturating_sub(rtt.buckets.iter().sum());
        cell.page.bump_rare(0, SLOWER, low(slower));
        tally.sum.store(nanos(Duration::from_secs_f64(rtt.sum)), Ordering::Relaxed);
        cell
    }

    fn tally(&self) -> Option<&Tally> {
        self.page.tally(self.index)
    }

    fn rare(&self, at: usize) -> u64 {
        let rare = self.page.rare(self.index).and_then(|rare| rare.get(at));
        rare.map_or(0, get)
    }

    /// Probes the target itself answered in time.
    pub fn received(&self) -> u64 {
        self.tally().map_or(0, |tally| get(&tally.received))
    }

    /// Answers that came after the verdict.
    pub fn late(&self) -> u64 {
        self.tally().map_or(0, |tally| get(&tally.late))
    }

    /// Answers beyond the first.
    pub fn duplicate(&self) -> u64 {
        self.tally().map_or(0, |tally| get(&tally.duplicate))
    }

    /// Probes lost for this reason.
    pub fn lost(&self, reason: LossReason) -> u64 {
        match reason {
            LossReason::Silent => self.tally().map_or(0, |tally| get(&tally.silent)),
            _ => self.rare(lost_at(reason)),
        }
    }

    /// Probes that say nothing, for this reason.
    pub fn invalid(&self, reason: InvalidReason) -> u64 {
        self.rare(invalid_at(reason))
    }

    /// Probes whose fate is known.
    pub fn sent(&self) -> u64 {
        let lost = LossReason::ALL.into_iter().map(|reason| self.lost(reason));
        let invalid = InvalidReason::ALL.into_iter().map(|reason| self.invalid(reason));
        self.received() + lost.chain(invalid).sum::<u64>()
    }

    /// Answers in this bucket of [`BUCKET_BOUNDS`], not cumulative.
    pub fn bucket(&self, bucket: usize) -> u64 {
        self.tally().and_then(|tally| tally.buckets.get(bucket)).map_or(0, get)
    }

    /// All round-trip times that were measured.
    pub fn rtt_count(&self) -> u64 {
        let buckets = (0..BUCKET_BOUNDS.len()).map(|bucket| self.bucket(bucket));
        buckets.sum::<u64>() + self.rare(SLOWER)
    }

    /// Sum of all round-trip times.
    pub fn rtt_sum(&self) -> Duration {
        let sum = self.tally().map_or(0, |tally| tally.sum.load(Ordering::Relaxed));
        Duration::from_nanos(sum)
    }

    /// Adds its numbers to these.
    pub fn add_to(&self, counters: &mut Counters, rtt: &mut Histogram) {
        counters.sent += self.sent();
        counters.received += self.received();
        counters.late += self.late();
        counters.duplicate += self.duplicate();
        for (reason, count) in LossReason::ALL.map(|reason| (reason, self.lost(reason))) {
            if count > 0 {
                *counters.lost.entry(reason).or_default() += count;
            }
        }
        for (reason, count) in InvalidReason::ALL.map(|reason| (reason, self.invalid(reason))) {
            if count > 0 {
                *counters.invalid.entry(reason).or_default() += count;
            }
        }
        for (index, bucket) in rtt.buckets.iter_mut().enumerate() {
            *bucket += self.bucket(index);
        }
        rtt.count += self.rtt_count();
        rtt.sum += self.rtt_sum().as_secs_f64();
    }
}

impl Page {
    fn tally(&self, index: u32) -> Option<&Tally> {
        self.tallies.get(usize::try_from(index).ok()?)
    }

    fn rare(&self, index: u32) -> Option<&Rare> {
        let index = usize::try_from(index).ok()?;
        self.rare.get(index / BLOCK)?.get()?.get(index % BLOCK)
    }

    /// Books a probe whose fate is known.
    pub(super) fn book(&self, index: u32, fate: Fate) {
        self.bump(index, fate, 1);
    }

    fn bump(&self, index: u32, fate: Fate, more: u32) {
        let Some(tally) = self.tally(index) else { return };
        let at = match fate {
            Fate::Received => return add(&tally.received, more),
            Fate::Lost(LossReason::Silent) => return add(&tally.silent, more),
            Fate::Lost(reason) => lost_at(reason),
            Fate::Invalid(reason) => invalid_at(reason),
        };
        self.bump_rare(index, at, more);
    }

    fn bump_rare(&self, index: u32, at: usize, more: u32) {
        if more == 0 {
            return;
        }
        let index = usize::try_from(index).unwrap_or(0);
        let block = self.rare.get(index / BLOCK).map(|block| block.get_or_init(Box::default));
        let counter = block.and_then(|block| block.get(index % BLOCK)?.get(at));
        counter.into_iter().for_each(|counter| add(counter, more));
    }

    /// Adds a round-trip time.
    pub(super) fn observe(&self, index: u32, rtt: Duration) {
        let Some(tally) = self.tally(index) else { return };
        match tally.buckets.get(bucket_of(rtt)) {
            Some(bucket) => add(bucket, 1),
            None => self.bump_rare(index, SLOWER, 1),
        }
        let sum = tally.sum.load(Ordering::Relaxed).wrapping_add(nanos(rtt));
        tally.sum.store(sum, Ordering::Relaxed);
    }

    /// Counts a late answer.
    pub(super) fn count_late(&self, index: u32) {
        self.tally(index).into_iter().for_each(|tally| add(&tally.late, 1));
    }

    /// Counts an answer beyond the first.
    pub(super) fn count_duplicate(&self, index: u32) {
        self.tally(index).into_iter().for_each(|tally| add(&tally.duplicate, 1));
    }

    /// Begins at zero again, for another row.
    pub(super) fn clear(&self, index: u32) {
        let Some(tally) = self.tally(index) else { return };
        let Tally { received, silent, late, duplicate, buckets, sum } = tally;
        let counters = [received, silent, late, duplicate].into_iter().chain(buckets);
        let rare = self.rare(index).into_iter().flatten();
        counters.chain(rare).for_each(|counter| counter.store(0, Ordering::Relaxed));
        sum.store(0, Ordering::Relaxed);
    }
}

/// The bucket of a round-trip time: bounds double from 100 us.
fn bucket_of(rtt: Duration) -> usize {
    let units = nanos(rtt).div_ceil(100_000).max(1);
    usize::try_from(u64::BITS - (units - 1).leading_zeros()).unwrap_or(usize::MAX)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

const fn lost_at(reason: LossReason) -> usize {
    reason as usize
}

const fn invalid_at(reason: InvalidReason) -> usize {
    LossReason::ALL.len() + reason as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_those_of_the_bounds() {
        for micros in [1_u64, 99, 100, 101, 200, 201, 12_800, 12_801, 3_276_800] {
            let rtt = Duration::from_micros(micros);
            let expected = BUCKET_BOUNDS.iter().position(|bound| rtt.as_secs_f64() <= *bound);
            assert_eq!(Some(bucket_of(rtt)), expected, "{micros} us");
        }
    }

    #[test]
    fn every_fate_is_counted_once_and_cleared() {
        let page = Page::new();
        let cell = Cell { page: Arc::clone(&page), index: 40 };
        page.book(40, Fate::Received);
        LossReason::ALL.into_iter().for_each(|reason| page.book(40, Fate::Lost(reason)));
        InvalidReason::ALL.into_iter().for_each(|reason| page.book(40, Fate::Invalid(reason)));
        page.observe(40, Duration::from_micros(150));
        let (mut counters, mut rtt) = Default::default();
        cell.add_to(&mut counters, &mut rtt);
        assert!(counters.adds_up());
        assert_eq!((counters.sent, counters.lost.len(), counters.invalid.len()), (13, 5, 7));
        assert_eq!((rtt.count, rtt.buckets[1]), (1, 1));
        let copy = Cell::fixed(&counters, &rtt);
        assert_eq!((copy.sent(), copy.bucket(1)), (13, 1));
        page.clear(40);
        assert_eq!((cell.sent(), cell.bucket(1), cell.rtt_sum()), (0, 0, Duration::ZERO));
    }
}
