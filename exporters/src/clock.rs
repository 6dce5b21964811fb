//! The wall clock, which only the edge knows: turns the driver's monotonic time into dates.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use reachd_core::time::Instant;

/// How Alertmanager writes "not yet": Go's zero time.
pub const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// The wall time at which the driver's monotonic clock stood at zero.
///
/// A date is computed, not stored: after a step of the wall clock, anchor anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WallClock {
    zero: SystemTime,
}

impl WallClock {
    /// Anchors the driver's clock: it read `now` when the wall clock read `wall`.
    pub fn anchored(now: Instant, wall: SystemTime) -> Self {
        Self { zero: wall.checked_sub(now.since_start()).unwrap_or(SystemTime::UNIX_EPOCH) }
    }

    /// The date of a moment of the driver's clock.
    pub fn date(self, at: Instant) -> SystemTime {
        self.zero.checked_add(at.since_start()).unwrap_or(self.zero)
    }

    /// The date of a moment as RFC 3339 in UTC, with milliseconds.
    pub fn rfc3339(self, at: Instant) -> String {
        rfc3339(self.date(at))
    }
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
}
