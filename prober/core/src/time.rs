//! Time as core knows it: a monotonic point handed in from outside, never read from a clock.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

/// A point on the driver's monotonic clock, in nanoseconds since the driver started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The driver's start.
    pub const ZERO: Self = Self(0);

    /// A point so many nanoseconds after the driver's start.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// A point so long after the driver's start; saturates after 584 years.
    pub fn from_start(since_start: Duration) -> Self {
        Self(u64::try_from(since_start.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Nanoseconds since the driver's start.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time since the driver's start.
    pub const fn since_start(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// Time from `earlier` to here; zero when `earlier` is in fact later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000_000, self.0 / 1_000 % 1_000_000)
    }
}

/// Who took a time stamp; the nearer to the wire, the better the round-trip time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StampSource {
    /// The capture ring, on the way out or in.
    Capture,
    /// The kernel's socket layer (`SO_TIMESTAMPNS`, `TCP_INFO`).
    Kernel,
    /// The process itself, after it was woken.
    User,
}

impl StampSource {
    /// The label exported in metrics and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Kernel => "kernel",
            Self::User => "user",
        }
    }
}

/// When something happened and who says so. "Not measured" is `Option::None`, never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The moment, on the driver's clock.
    pub at: Instant,
    /// Who took it.
    pub source: StampSource,
}
