//! The driver's clock: monotonic nanoseconds since start, and how they map to the wall.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant as StdInstant, SystemTime, UNIX_EPOCH};

use reachd_core::time::Instant;

/// A change of the offset up to here is measuring noise; the kernel steers both clocks alike, so
/// between steps the offset is constant and stamps stay comparable.
const NOISE: Duration = Duration::from_micros(100);

/// A change of the offset from here on is told to the monitor.
const STEP: Duration = Duration::from_millis(50);

/// The driver's clock; clones share it.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    start: StdInstant,
    /// Wall clock minus monotonic clock, in nanoseconds.
    offset: AtomicI64,
}

impl Default for Clock {
    fn default() -> Self {
        Self::start()
    }
}

impl Clock {
    /// Starts a clock at zero.
    pub fn start() -> Self {
        let start = StdInstant::now();
        let inner = Inner { start, offset: AtomicI64::new(measure_offset(start)) };
        Self(Arc::new(inner))
    }

    /// The present moment.
    pub fn now(&self) -> Instant {
        Instant::from_start(self.0.start.elapsed())
    }

    /// Measures the offset to the wall clock anew; gives the size of a step, if there was one.
    pub fn resync(&self) -> Option<Duration> {
        let measured = measure_offset(self.0.start);
        let change = Duration::from_nanos(measured.abs_diff(self.0.offset.load(Ordering::Relaxed)));
        if change > NOISE {
            self.0.offset.store(measured, Ordering::Relaxed);
        }
        (change > STEP).then_some(change)
    }

    /// The moment of a kernel stamp given in nanoseconds of the wall clock.
    pub fn of_wall(&self, nanos: u64) -> Instant {
        let offset = self.0.offset.load(Ordering::Relaxed);
        Instant::from_nanos(nanos.saturating_add_signed(offset.saturating_neg()))
    }

    /// The wall-clock nanoseconds of a moment.
    pub fn wall_nanos(&self, at: Instant) -> u64 {
        at.as_nanos().saturating_add_signed(self.0.offset.load(Ordering::Relaxed))
    }

    /// The wall-clock time of a moment.
    pub fn wall(&self, at: Instant) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.wall_nanos(at))
    }
}

/// Brackets the wall clock between two monotonic readings and takes the tightest of a few.
fn measure_offset(start: StdInstant) -> i64 {
    let mut best = (u128::MAX, 0);
    for _ in 0..5 {
        let before = start.elapsed().as_nanos();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let after = start.elapsed().as_nanos();
        let gap = after - before;
        if gap < best.0 {
            let middle = before + gap / 2;
            let offset = i128::try_from(wall).unwrap_or(0) - i128::try_from(middle).unwrap_or(0);
            best = (gap, i64::try_from(offset).unwrap_or(i64::MAX));
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_stamps_map_to_the_monotonic_clock_and_back() {
        let clock = Clock::start();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let at = clock.of_wall(u64::try_from(wall.as_nanos()).unwrap());
        assert!(clock.now().since(at) < Duration::from_millis(100));
        assert!(at.since(clock.now()) < Duration::from_millis(1));
        assert_eq!(u128::from(clock.wall_nanos(at)), wall.as_nanos());
        assert_eq!(clock.resync(), None);
    }

    #[test]
    fn a_step_of_the_wall_clock_is_told_once() {
        let clock = Clock::start();
        clock.0.offset.fetch_add(2_000_000_000, Ordering::Relaxed);
        let step = clock.resync().unwrap();
        assert!(step.abs_diff(Duration::from_secs(2)) < Duration::from_millis(10));
        assert_eq!(clock.resync(), None);
    }
}
