//! What is kept of a target, and how it is told.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::clock::rfc3339;

/// A verdict that differs from the one before it.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The target's name.
    pub target: String,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// Class before.
    pub before: String,
    /// Class since.
    pub class: String,
    /// Its confidence, 0 to 1.
    pub confidence: f64,
    /// One sentence in English.
    pub summary: String,
}

/// How a target fared in one hour, as one vantage saw it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hour {
    /// The target's name.
    pub target: String,
    /// Hours since 1970.
    pub hour: i64,
    /// The vantage's name.
    pub vantage: String,
    /// Moments at which it was known whether the target can be reached, about one a minute.
    pub looks: u32,
    /// Those of them at which it could.
    pub reachable: u32,
    /// Probes whose fate is known, of all kinds.
    pub sent: u32,
    /// Those that were answered.
    pub received: u32,
    /// Those that were not; the rest of them was invalid by our own fault.
    pub lost: u32,
    /// Round trips.
    pub rtt_count: u32,
    /// Their sum in microseconds.
    pub rtt_micros: i64,
}

/// What is written in one go.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Batch {
    /// Hours, or parts of them.
    pub hours: Vec<Hour>,
    /// Changes.
    pub changes: Vec<Change>,
}

impl Batch {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.hours.is_empty() && self.changes.is_empty()
    }
}

/// What is known of one target, the newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetHistory {
    /// The target's name.
    pub target: String,
    /// Its changes.
    pub changes: Vec<Change>,
    /// Its hours.
    pub hours: Vec<Hour>,
}

impl Change {
    /// When, as RFC 3339 in UTC.
    pub fn at(&self) -> String {
        rfc3339(after_1970(Duration::from_millis(u64::try_from(self.at_ms).unwrap_or_default())))
    }
}

impl Hour {
    /// When it began, as RFC 3339 in UTC.
    pub fn began(&self) -> String {
        let hours = u64::try_from(self.hour).unwrap_or_default();
        rfc3339(after_1970(Duration::from_secs(hours.saturating_mul(3_600))))
    }

    /// The part of the hour in which the target could be reached; `None` if that was never known.
    pub fn availability(&self) -> Option<f64> {
        (self.looks > 0).then(|| f64::from(self.reachable) / f64::from(self.looks))
    }

    /// The part of the probes that was lost; `None` without a valid one.
    pub fn loss(&self) -> Option<f64> {
        let valid = f64::from(self.received) + f64::from(self.lost);
        (valid > 0.0).then(|| f64::from(self.lost) / valid)
    }

    /// The mean round trip in seconds; `None` without one.
    pub fn rtt_seconds(&self) -> Option<f64> {
        let micros = Duration::from_micros(u64::try_from(self.rtt_micros).unwrap_or_default());
        (self.rtt_count > 0).then(|| micros.as_secs_f64() / f64::from(self.rtt_count))
    }
}

impl TargetHistory {
    /// The document that `/api/v1/targets/{name}/history` tells.
    pub fn document(&self) -> Value {
        let changes = self.changes.iter().map(|change| {
            json!({
                "at": change.at(), "before": change.before, "class": change.class,
                "confidence": change.confidence, "summary": change.summary,
            })
        });
        let hours = self.hours.iter().map(|hour| {
            json!({
                "hour": hour.began(), "vantage": hour.vantage,
                "availability": hour.availability(), "loss": hour.loss(),
                "rtt_mean_seconds": hour.rtt_seconds(),
                "sent": hour.sent, "received": hour.received, "lost": hour.lost,
            })
        });
        json!({
            "target": self.target,
            "changes": changes.collect::<Vec<_>>(), "hours": hours.collect::<Vec<_>>(),
        })
    }
}

/// Dates that no calendar knows come from a damaged file; they are shown as 1970.
fn after_1970(since: Duration) -> SystemTime {
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}
