//! The verdict document: what `check --json`, the HTTP interface and the alert outbox tell.
//!
//! Field names and shapes are the contract of schema 1 (`deploy/schema/verdict.schema.json`).
//! Unknown is `null`, never absent. Texts are English in the document; those for people have both
//! languages.

pub mod rdp;

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;

use self::rdp::RdpPart;
use crate::survey::turn::Since;
use crate::time::Instant;
use crate::wording::Wording;

/// The schema number of [`TargetReport`].
pub const SCHEMA: u32 = 1;

/// Everything known of one target, as told to people and programs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TargetReport {
    /// Always [`SCHEMA`].
    pub schema: u32,
    /// Who is judged.
    pub target: TargetPart,
    /// The judgement.
    pub verdict: VerdictPart,
    /// Each address by itself.
    pub addresses: Vec<AddressPart>,
    /// What each vantage saw.
    pub vantages: Vec<VantagePart>,
    /// When the survey began, RFC 3339 UTC; filled in at the edge, which knows the wall clock.
    pub started: Option<String>,
    /// How long it took.
    pub seconds: f64,
    /// Packets spent, traces included.
    pub packets_sent: u64,
    /// The sentences in both languages, for texts; not part of the document.
    #[serde(skip)]
    pub spoken: Spoken,
}

impl TargetReport {
    /// Fills in when looks ended, by the wall clock.
    pub fn date_looks(&mut self, date: impl Fn(Instant) -> String) {
        let parts = self.vantages.iter_mut().filter_map(|vantage| vantage.rdp.as_mut());
        parts.for_each(|part| part.at = Some(date(part.moment)));
    }
}

/// What texts for people say beyond the document.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Spoken {
    /// What is seen: English and Chinese.
    pub summary: (String, String),
    /// What to do next: English and Chinese.
    pub next_step: (String, String),
    /// What to do about the most probable cause: English and Chinese.
    pub remedy: Option<(String, String)>,
    /// What the address, or its port, did from some moment of the look on, so that what it answered
    /// before proves nothing.
    pub since: Option<Since>,
    /// Whether the settings of the RDP server are what to look at.
    pub settings: bool,
    /// The provider's instance id, if configured.
    pub instance_id: Option<String>,
    /// Whether the plan says that something stands before the host and answers in its name.
    pub fronted: bool,
}

/// Who is judged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TargetPart {
    /// The unique name.
    pub name: String,
    /// Host name or address as configured.
    pub host: String,
    /// TCP port; `null` for ping.
    pub port: Option<u16>,
    /// `rdp`, `ssh`, `tcp` or `ping`.
    pub service: String,
    /// Labels of the plan.
    pub labels: BTreeMap<String, String>,
}

/// The judgement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VerdictPart {
    /// A class of the closed list.
    pub class: String,
    /// The summed probability of the class's causes, 0 to 1.
    pub confidence: f64,
    /// One English sentence.
    pub summary: String,
    /// Why, most probable first; empty while reachable.
    pub causes: Vec<CausePart>,
    /// Findings that are no failure.
    pub notes: Vec<NotePart>,
    /// What the judgement rests on.
    pub evidence: Vec<EvidencePart>,
    /// What would settle the rest.
    pub next_evidence: Vec<NextEvidencePart>,
    /// Who sees the failure: `one`, `some`, `all` or `ourselves`.
    pub scope: String,
    /// Vantages that reach the target.
    pub reachable_from: Vec<String>,
    /// Vantages that do not.
    pub unreachable_from: Vec<String>,
}

/// One possible cause.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CausePart {
    /// A cause of the closed list.
    pub cause: String,
    /// Its probability, 0 to 1.
    pub probability: f64,
    /// What it means (English).
    pub meaning: String,
    /// What to do (English).
    pub remedy: String,
}

/// One finding that is no failure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NotePart {
    /// A note of the closed list.
    pub note: String,
    /// The particulars.
    pub detail: Option<Wording>,
}

/// One piece of evidence.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EvidencePart {
    /// The signal's family.
    pub signal: String,
    /// Its value.
    pub value: String,
    /// Who saw it; `null` when it is about several vantages.
    pub vantage: Option<String>,
    /// The numbers behind it.
    pub detail: Option<Wording>,
}

/// One thing that would settle the rest.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NextEvidencePart {
    /// What to find out.
    pub ask: String,
    /// Where or how.
    pub how: String,
    /// The causes it tells apart.
    pub splits: Vec<String>,
}

/// One address's own judgement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AddressPart {
    /// The address.
    pub address: String,
    /// Its class.
    pub class: String,
}

/// What one vantage saw.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VantagePart {
    /// The vantage's name.
    pub name: String,
    /// `raw` or `sockets`; `null` when it could not be opened.
    pub mode: Option<String>,
    /// The probing source address, if known.
    pub address: Option<String>,
    /// Echo counts; `null` when not asked.
    pub echo: Option<SeriesPart>,
    /// SYN counts; `null` when not asked.
    pub connect: Option<SeriesPart>,
    /// The full connection and the service's answer; `null` when not asked.
    pub service: Option<ServicePart>,
    /// What the newest look past the handshake of an RDP server showed; `null` until the first.
    pub rdp: Option<RdpPart>,
    /// The traced paths.
    pub path: PathPart,
    /// The capture ring's counts; `null` without one.
    pub capture: Option<CapturePart>,
}

/// Counts of one kind of probe.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeriesPart {
    /// Packets whose fate is known.
    pub sent: u64,
    /// Answered by the target itself.
    pub received: u64,
    /// Lost, by reason.
    pub lost: BTreeMap<String, u64>,
    /// Our own fault, by reason.
    pub invalid: BTreeMap<String, u64>,
    /// Answers by kind: `echo_reply`, `syn_ack`, `reset`, `host_unreachable` and so on.
    pub answers: BTreeMap<String, u64>,
    /// Smallest round-trip time.
    pub rtt_min_seconds: Option<f64>,
    /// Mean round-trip time.
    pub rtt_mean_seconds: Option<f64>,
    /// Largest round-trip time.
    pub rtt_max_seconds: Option<f64>,
    /// Received hop limit of the target's answers.
    pub ttl: Option<u8>,
    /// Routers passed, guessed from it.
    pub distance: Option<u8>,
}

/// The full connection and what the service said.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ServicePart {
    /// `connected`, `refused`, `icmp`, `timed_out` or `local_error`.
    pub connection: String,
    /// The particulars of a failed connection.
    pub connection_detail: Option<Wording>,
    /// The handshake's round-trip time.
    pub handshake_seconds: Option<f64>,
    /// `confirmed`, `refused`, `foreign`, `silent`, `closed` or `null` when not asked.
    pub answer: Option<String>,
    /// The particulars of the answer.
    pub detail: Option<Wording>,
    /// Time to the service's answer.
    pub seconds: Option<f64>,
}

/// The traced paths.
#[derive(Debug, Clone, PartialEq, Serialize, Default)]
pub struct PathPart {
    /// Hops of the TCP flow toward the probed port; `null` when not traced.
    pub tcp: Option<Vec<HopPart>>,
    /// Hops of the ICMP flow; `null` when not traced.
    pub icmp: Option<Vec<HopPart>>,
}

/// One hop.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HopPart {
    /// The hop limit.
    pub ttl: u8,
    /// Who answered; `null` when nobody did.
    pub address: Option<IpAddr>,
    /// Time to the answer.
    pub rtt_seconds: Option<f64>,
}

/// The capture ring's counts over the survey.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CapturePart {
    /// Packets delivered.
    pub packets: u64,
    /// Packets dropped for want of room.
    pub drops: u64,
}
