//! The wall clock, which only the edge knows: turns the driver's monotonic time into dates.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use reachd_core::incident::Moment;
use reachd_core::time::Instant;

/// How Alertmanager writes "not yet": Go's zero time.
pub const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// A step of the wall clock smaller than this is left alone: dates that were told stay as they are.
const STEP: Duration = Duration::from_secs(1);

/// The wall time at which the driver's monotonic clock stood at zero; clones are the same clock.
///
/// A date is computed, not stored: after a step of the wall clock ([`WallClock::follow`]) what is
/// told from then on has the right one.
#[derive(Debug, Clone)]
pub struct WallClock {
    /// Nanoseconds since 1970, which fit until the year 2554.
    zero: Arc<AtomicU64>,
}

impl WallClock {
    /// Anchors the driver's clock: it read `now` when the wall clock read `wall`.
    pub fn anchored(now: Instant, wall: SystemTime) -> Self {
        Self { zero: Arc::new(AtomicU64::new(zero(now, wall))) }
    }

    /// Anchors it anew if the wall clock was stepped; by how much, if it was.
    pub fn follow(&self, now: Instant, wall: SystemTime) -> Option<Duration> {
        let (old, new) = (self.zero.load(Ordering::Relaxed), zero(now, wall));
        let step = Duration::from_nanos(old.abs_diff(new));
        (step >= STEP).then(|| {
            self.zero.store(new, Ordering::Relaxed);
            step
        })
    }

    /// The date of a moment of the driver's clock.
    pub fn date(&self, at: Instant) -> SystemTime {
        let zero = Duration::from_nanos(self.zero.load(Ordering::Relaxed));
        SystemTime::UNIX_EPOCH
            .checked_add(zero + at.since_start())
            .unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// The date of a moment as RFC 3339 in UTC, with milliseconds.
    pub fn rfc3339(&self, at: impl Into<Moment>) -> String {
        rfc3339(self.moment(at.into()))
    }

    /// The date of a moment of this run or an earlier one.
    pub fn moment(&self, at: Moment) -> SystemTime {
        match at {
            Moment::At(at) => self.date(at),
            Moment::Dated(millis) => {
                let since = Duration::from_millis(u64::try_from(millis).unwrap_or_default());
                SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
            }
        }
    }
}

fn zero(now: Instant, wall: SystemTime) -> u64 {
    let since = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.saturating_sub(now.since_start()).as_nanos()).unwrap_or(u64::MAX)
}

/// A date as RFC 3339 in UTC, with milliseconds.
pub fn rfc3339(date: SystemTime) -> String {
    let timestamp = Timestamp::try_from(date).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{timestamp:.3}")
}

/// Milliseconds since 1970 as RFC 3339 in UTC.
pub fn rfc3339_millis(millis: i64) -> String {
    let since = Duration::from_millis(u64::try_from(millis).unwrap_or_default());
    rfc3339(SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH))
}

/// Whole seconds since 1970; zero for dates before.
pub fn unix_seconds(date: SystemTime) -> u64 {
    date.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since: Duration| since.as_secs())
}

/// Milliseconds since 1970; zero for dates before.
pub fn unix_millis(date: SystemTime) -> i64 {
    let since = date.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_the_anchor_plus_the_time_since() {
        let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let clock = WallClock::anchored(Instant::from_start(Duration::from_secs(10)), wall);
        let at = Instant::from_start(Duration::from_millis(11_250));
        assert_eq!(clock.rfc3339(at), "2023-11-14T22:13:21.250Z");
        assert_eq!(clock.rfc3339(Instant::ZERO), "2023-11-14T22:13:10.000Z");
        assert_eq!(unix_seconds(clock.date(at)), 1_700_000_001);
    }

    #[test]
    fn a_step_is_followed_by_every_copy_and_a_slow_clock_is_left_alone() {
        let at = |seconds| Instant::from_start(Duration::from_secs(seconds));
        let wall = |millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        let clock = WallClock::anchored(at(10), wall(3_610_000));
        let copy = clock.clone();
        assert_eq!(clock.follow(at(20), wall(3_620_900)), None);
        assert_eq!(copy.rfc3339(at(20)), "1970-01-01T01:00:20.000Z");
        // An hour back.
        let step = clock.follow(at(30), wall(30_000));
        assert_eq!(step, Some(Duration::from_secs(3600)));
        assert_eq!(copy.rfc3339(at(20)), "1970-01-01T00:00:20.000Z");
        // What an earlier run told stays as it was told.
        assert_eq!(copy.rfc3339(Moment::Dated(7_000)), "1970-01-01T00:00:07.000Z");
        assert_eq!(copy.moment(Moment::At(at(20))), copy.date(at(20)));
    }
}
