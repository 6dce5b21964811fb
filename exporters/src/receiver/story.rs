//! What templates may speak of: an incident in the words of one language.

use std::collections::BTreeMap;

use reachd_core::incident::{IncidentState, IncidentUpdate, Moment, Subject};
use reachd_core::judge::{Text, cause};
use reachd_core::report::CausePart;
use serde::Serialize;

use crate::webhook::Language;
use crate::webhook::payload::{self, Context};

/// Causes named in a message.
const TOP_CAUSES: usize = 3;

/// One possible cause.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Suspect {
    /// Machine name.
    pub(crate) cause: String,
    /// Probability in percent.
    pub(crate) percent: u32,
    /// What it means.
    pub(crate) meaning: String,
    /// What to do about it.
    pub(crate) remedy: String,
    /// What doing so may break.
    pub(crate) risk: String,
}

/// Every name a template may use. Unknown is empty.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Story {
    /// `firing` or `resolved`.
    pub(crate) status: &'static str,
    pub(crate) resolved: bool,
    pub(crate) receiver: String,
    pub(crate) alertname: &'static str,
    pub(crate) severity: &'static str,
    /// Target, vantage or group.
    pub(crate) subject: String,
    pub(crate) class: &'static str,
    pub(crate) class_now: &'static str,
    pub(crate) class_title: &'static str,
    /// One line that says what it is about.
    pub(crate) heading: String,
    pub(crate) summary: String,
    /// RFC 3339.
    pub(crate) started: String,
    pub(crate) ended: String,
    pub(crate) seconds: u64,
    /// Vantages that cannot reach it, and that can.
    pub(crate) seen_from: Vec<String>,
    pub(crate) reachable_from: Vec<String>,
    pub(crate) causes: Vec<Suspect>,
    pub(crate) confidence: String,
    pub(crate) evidence: String,
    pub(crate) next_step: String,
    /// What the next step may break.
    pub(crate) risk: String,
    pub(crate) members: String,
    pub(crate) url: String,
    pub(crate) evidence_url: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) fingerprint: String,
    pub(crate) version: u64,
}

impl Story {
    /// The story of an update.
    pub(crate) fn new(update: &IncidentUpdate, context: &Context<'_>) -> Self {
        let say = |text: Text| match context.language {
            Language::En => text.en,
            Language::Zh => text.zh,
        };
        let resolved = update.state == IncidentState::Resolved;
        let annotations = payload::annotations(update, context);
        let told = |name: &str| annotations.get(name).cloned().unwrap_or_default();
        let verdict = update.report.as_deref().map(|report| &report.verdict);
        let parts = verdict.map_or(&[][..], |verdict| verdict.causes.as_slice());
        let causes: Vec<_> = parts.iter().take(TOP_CAUSES).map(|part| suspect(part, say)).collect();
        let risk = causes.first().map_or_else(String::new, |first| first.risk.clone());
        let ended = update.ended.map(|(at, _)| at);
        let mut seen_from = verdict.map(|told| told.unreachable_from.clone()).unwrap_or_default();
        if let (Subject::Vantage(vantage), true) = (&update.subject, seen_from.is_empty()) {
            seen_from.push(vantage.clone());
        }
        let class_title = say(if resolved { update.class } else { update.class_now }.title());
        let subject = subject(&update.subject);
        Self {
            heading: heading(context.language, resolved, (&subject, class_title)),
            status: if resolved { "resolved" } else { "firing" },
            resolved,
            receiver: context.receiver.to_owned(),
            alertname: update.kind.alertname(),
            severity: update.severity.as_str(),
            subject,
            class: update.class.as_str(),
            class_now: update.class_now.as_str(),
            class_title,
            summary: told("summary"),
            started: context.clock.rfc3339(update.started),
            ended: ended.map(|at| context.clock.rfc3339(at)).unwrap_or_default(),
            seconds: ended.map_or(0, |at| seconds(context, update.started, at)),
            seen_from,
            reachable_from: verdict.map(|told| told.reachable_from.clone()).unwrap_or_default(),
            causes,
            confidence: told("confidence"),
            evidence: told("evidence"),
            next_step: told("next_step"),
            risk,
            members: told("members"),
            url: payload::own_url(context, "/"),
            evidence_url: told("evidence_url"),
            labels: payload::labels(update),
            fingerprint: update.fingerprint.clone(),
            version: update.version,
        }
    }
}

/// How long it lasted.
fn seconds(context: &Context<'_>, started: Moment, ended: Moment) -> u64 {
    let (started, ended) = (context.clock.moment(started), context.clock.moment(ended));
    ended.duration_since(started).map_or(0, |lasted| lasted.as_secs())
}

fn heading(language: Language, resolved: bool, (subject, title): (&str, &str)) -> String {
    match (language, resolved) {
        (Language::En, false) => format!("{subject}: {title}"),
        (Language::En, true) => format!("Resolved: {subject}: {title}"),
        (Language::Zh, false) => format!("{subject}：{title}"),
        (Language::Zh, true) => format!("已恢复：{subject}：{title}"),
    }
}

fn subject(subject: &Subject) -> String {
    match subject {
        Subject::Target(target) => target.name.to_string(),
        Subject::Vantage(vantage) => vantage.clone(),
        Subject::Group(group) => group.key.clone(),
    }
}

/// Meaning and remedy in the reader's language, where the cause is one of ours.
fn suspect(part: &CausePart, say: impl Fn(Text) -> &'static str) -> Suspect {
    let known = cause::find(&part.cause);
    let meaning = known.map_or(part.meaning.as_str(), |cause| say(cause.meaning));
    let remedy = known.map_or(part.remedy.as_str(), |cause| say(cause.remedy));
    let risk = known.map_or("", |cause| say(cause.risk.text()));
    // Rounded and between 0 and 100, so that nothing is lost.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    let percent = (part.probability * 100.0).round().clamp(0.0, 100.0) as u32;
    Suspect {
        cause: part.cause.clone(),
        percent,
        meaning: meaning.to_owned(),
        remedy: remedy.to_owned(),
        risk: risk.to_owned(),
    }
}
