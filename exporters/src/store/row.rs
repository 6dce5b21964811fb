//! What is saved of core's types, which know no serialisation of their own.

use std::collections::BTreeMap;
use std::time::Duration;

use reachd_core::incident::{AlertKind, IncidentState, IncidentUpdate, Resolution, Subject};
use reachd_core::monitor::{Baseline, ClosedPort};
use reachd_core::target::TargetName;
use reachd_core::wire::certificate::{from_hexadecimal, hexadecimal};
use serde::{Deserialize, Serialize};

use crate::clock::WallClock;

/// The same text in both languages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextRow {
    /// English.
    pub en: String,
    /// Chinese.
    pub zh: String,
}

/// Whom an incident is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectRow {
    /// A target.
    Target {
        /// Its name.
        name: String,
        /// Host name or address as configured.
        host: String,
        /// TCP port; `None` for ping.
        port: Option<u16>,
        /// Its labels at the time.
        labels: BTreeMap<String, String>,
    },
    /// A vantage.
    Vantage {
        /// Its name.
        name: String,
    },
    /// Targets that fail together.
    Group {
        /// What they share.
        key: String,
        /// Those that fail, by name.
        members: Vec<String>,
        /// What they had in common at the opening; rows of earlier releases do not say.
        #[serde(default)]
        labels: BTreeMap<String, String>,
    },
}

/// One step of an incident's life, as saved and as told by `/api/v1/incidents`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IncidentRow {
    /// Stable identity.
    pub fingerprint: String,
    /// Grows with every update.
    pub version: u64,
    /// `pending`, `firing` or `resolved`.
    pub state: String,
    /// The alert's name.
    pub alertname: String,
    /// Whom it is about.
    pub subject: SubjectRow,
    /// Severity at opening.
    pub severity: String,
    /// Class at opening.
    pub class: String,
    /// Class now.
    pub class_now: String,
    /// When belief began, RFC 3339 UTC.
    pub started: String,
    /// When it ended, RFC 3339 UTC.
    pub ended: Option<String>,
    /// `recovered` or `removed`.
    pub resolution: Option<String>,
    /// How often it re-opened within ten minutes.
    pub flaps: u32,
    /// One sentence.
    pub summary: TextRow,
    /// What to do next.
    pub next_step: TextRow,
    /// Whether a group's incident is told in its place.
    #[serde(default)]
    pub member: bool,
    /// The verdict document (`deploy/schema/verdict.schema.json`); `None` for vantages.
    pub report: Option<serde_json::Value>,
}

impl IncidentRow {
    /// What is saved of an update.
    pub fn new(update: &IncidentUpdate, clock: &WallClock) -> Self {
        let subject = match &update.subject {
            Subject::Vantage(name) => SubjectRow::Vantage { name: name.clone() },
            Subject::Group(group) => SubjectRow::Group {
                key: group.key.clone(),
                members: group.members.iter().map(ToString::to_string).collect(),
                labels: group.labels.clone(),
            },
            Subject::Target(target) => SubjectRow::Target {
                name: target.name.to_string(),
                host: target.host.clone(),
                port: target.service.has_port().then_some(target.port),
                labels: target.labels.clone(),
            },
        };
        let text = |(en, zh): &(String, String)| TextRow { en: en.clone(), zh: zh.clone() };
        let resolution = |resolution| match resolution {
            Resolution::Recovered => "recovered".to_owned(),
            Resolution::Removed => "removed".to_owned(),
        };
        Self {
            fingerprint: update.fingerprint.clone(),
            version: update.version,
            state: update.state.as_str().to_owned(),
            alertname: update.kind.alertname().to_owned(),
            subject,
            severity: update.severity.as_str().to_owned(),
            class: update.class.as_str().to_owned(),
            class_now: update.class_now.as_str().to_owned(),
            started: clock.rfc3339(update.started),
            ended: update.ended.map(|(at, _)| clock.rfc3339(at)),
            resolution: update.ended.map(|(_, why)| resolution(why)),
            flaps: update.flaps,
            summary: text(&update.summary),
            next_step: text(&update.next_step),
            member: update.member,
            report: update.report.as_deref().and_then(|report| serde_json::to_value(report).ok()),
        }
    }

    /// The state, if the row is one of ours.
    pub fn incident_state(&self) -> Option<IncidentState> {
        let all = [IncidentState::Pending, IncidentState::Firing, IncidentState::Resolved];
        all.into_iter().find(|state| state.as_str() == self.state)
    }

    /// The kind of alert, if the row is one of ours.
    pub fn alert_kind(&self) -> Option<AlertKind> {
        let all = [
            AlertKind::Unreachable,
            AlertKind::Degraded,
            AlertKind::VantageFault,
            AlertKind::Exposed,
        ];
        all.into_iter().find(|kind| kind.alertname() == self.alertname)
    }
}

/// What one target looks like from one vantage while it is healthy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaselineRow {
    /// The target's name.
    pub target: String,
    /// The vantage's name.
    pub vantage: String,
    /// Whether it answers echo.
    pub echo_answered: bool,
    /// Routers passed by its answers.
    pub distance: Option<u8>,
    /// Smallest hop limit that reaches it.
    pub path_length: Option<u8>,
    /// The furthest router that answered on the way to it; not known of rows of earlier releases.
    pub last_router: Option<u8>,
    /// Its smallest round trip, in microseconds; not known of rows of earlier releases.
    #[serde(default)]
    pub rtt_micros: Option<u64>,
    /// Whether its canary port answers; rows of before it was asked know nothing of it.
    #[serde(default)]
    pub closed_port_answers: Option<bool>,
    /// The usual time of its service's first answer, in microseconds, once it was asked.
    #[serde(default)]
    pub service_micros: Option<u64>,
    /// SHA-256 of its certificate in hexadecimal, once it was seen.
    #[serde(default)]
    pub certificate_sha256: Option<String>,
}

impl BaselineRow {
    /// What is saved of a baseline.
    pub fn new(target: &TargetName, vantage: &str, baseline: &Baseline) -> Self {
        Self {
            target: target.to_string(),
            vantage: vantage.to_owned(),
            echo_answered: baseline.echo_answered,
            distance: baseline.distance,
            path_length: baseline.path_length,
            last_router: baseline.last_router,
            rtt_micros: baseline.rtt.and_then(|rtt| rtt.as_micros().try_into().ok()),
            closed_port_answers: baseline.closed_port.map(|port| port == ClosedPort::Answers),
            service_micros: baseline.service_time.and_then(|it| it.as_micros().try_into().ok()),
            certificate_sha256: baseline.certificate.map(|bytes| hexadecimal(&bytes)),
        }
    }

    /// The baseline as the monitor takes it.
    pub fn baseline(&self) -> Baseline {
        let Self { echo_answered, distance, path_length, last_router, .. } = *self;
        let closed_port = self
            .closed_port_answers
            .map(|answers| if answers { ClosedPort::Answers } else { ClosedPort::Silent });
        let certificate = self.certificate_sha256.as_deref();
        Baseline {
            echo_answered,
            distance,
            path_length,
            last_router,
            rtt: self.rtt_micros.map(Duration::from_micros),
            closed_port,
            service_time: self.service_micros.map(Duration::from_micros),
            certificate: certificate.and_then(from_hexadecimal),
        }
    }
}
