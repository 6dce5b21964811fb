//! Incidents: failed verdicts with a duration, from pending over firing to resolved.

use std::sync::Arc;

use crate::judge::Class;
use crate::report::TargetReport;
use crate::target::{Severity, Target, TargetName};
use crate::time::Instant;

/// The life of an incident, in Prometheus' words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IncidentState {
    /// Believed, not yet for long enough.
    Pending,
    /// Told to people.
    Firing,
    /// Over.
    Resolved,
}

impl IncidentState {
    /// The label exported in metrics and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// What kind of alert an incident is; with the target it makes the fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlertKind {
    /// The target cannot be reached.
    Unreachable,
    /// It can, badly.
    Degraded,
    /// One of our own vantages is at fault.
    VantageFault,
    /// A port that should be filtered answers.
    Exposed,
}

impl AlertKind {
    /// The `alertname` label.
    pub const fn alertname(self) -> &'static str {
        match self {
            Self::Unreachable => "ReachdTargetUnreachable",
            Self::Degraded => "ReachdTargetDegraded",
            Self::VantageFault => "ReachdVantageFault",
            Self::Exposed => "ReachdTargetExposed",
        }
    }
}

/// Whom an incident is about.
#[derive(Debug, Clone, PartialEq)]
pub enum Subject {
    /// One target of the plan.
    Target(Box<Target>),
    /// One of our vantages, by name.
    Vantage(String),
    /// Several targets that fail together.
    Group(Box<GroupSubject>),
}

/// Targets that fail together, by what they share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSubject {
    /// What they share, as text: `sg=web`, `198.51.100.0/24`, `via 192.0.2.9`.
    pub key: String,
    /// Those of them that fail now and whose own alarms are open, by name.
    pub members: Vec<TargetName>,
}

/// Why an incident ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// The layer that failed works again.
    Recovered,
    /// The target or vantage left the plan.
    Removed,
}

/// One step in an incident's life, as handed to the alert exporters.
#[derive(Debug, Clone, PartialEq)]
pub struct IncidentUpdate {
    /// Stable identity: a hash of alert name, scope and subject, 16 hex digits.
    pub fingerprint: String,
    /// Grows with every update of one incident.
    pub version: u64,
    /// The kind of alert.
    pub kind: AlertKind,
    /// Whom it is about.
    pub subject: Subject,
    /// Where it stands now.
    pub state: IncidentState,
    /// Severity at opening.
    pub severity: Severity,
    /// Class frozen at opening: a label.
    pub class: Class,
    /// Class now: an annotation.
    pub class_now: Class,
    /// When belief began.
    pub started: Instant,
    /// When it ended, if it did, and why.
    pub ended: Option<(Instant, Resolution)>,
    /// How often it re-opened within ten minutes.
    pub flaps: u32,
    /// The verdict behind it; `None` for vantage incidents.
    pub report: Option<Arc<TargetReport>>,
    /// One sentence in English and one in Chinese.
    pub summary: (String, String),
    /// What to do next, in English and in Chinese.
    pub next_step: (String, String),
    /// Whether people are to be told: opening, resolving, or a change worth a message.
    pub notify: bool,
    /// Whether it is part of a group's incident, which is told in its place.
    pub member: bool,
}
