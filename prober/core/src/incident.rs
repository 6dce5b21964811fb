//! Incidents: failed verdicts with a duration, from pending over firing to resolved.

use std::collections::{BTreeMap, BTreeSet};
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
    /// The labels that all who failed had in common when it opened; they stay.
    pub labels: BTreeMap<String, String>,
    /// The labels of the members, each set once: for those who listen for some labels only.
    pub member_labels: BTreeSet<BTreeMap<String, String>>,
}

/// When an incident began or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// In this run.
    At(Instant),
    /// In an earlier run, which told this date: milliseconds since 1970. Core only carries it.
    Dated(i64),
}

impl Default for Moment {
    fn default() -> Self {
        Self::At(Instant::ZERO)
    }
}

impl From<Instant> for Moment {
    fn from(at: Instant) -> Self {
        Self::At(at)
    }
}

impl Moment {
    /// Whether it is not later than a moment of this run.
    pub fn is_by(self, at: Instant) -> bool {
        match self {
            Self::At(own) => own <= at,
            Self::Dated(_) => true,
        }
    }
}

/// What stays as it was when an incident opened: the identity that receivers know it by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Opening {
    /// When belief began.
    pub started: Moment,
    /// The severity that was told.
    pub severity: Severity,
    /// The labels of the target, or those that a group's members have in common.
    pub labels: BTreeMap<String, String>,
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
    /// Severity at opening; that of a group is the highest of its members' since then.
    pub severity: Severity,
    /// Class frozen at opening: a label.
    pub class: Class,
    /// Class now: an annotation.
    pub class_now: Class,
    /// When belief began.
    pub started: Moment,
    /// When it ended, if it did, and why.
    pub ended: Option<(Moment, Resolution)>,
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
