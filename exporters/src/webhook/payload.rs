//! The body of a notification: JSON in the shape of Alertmanager's webhook, version 4.

use std::collections::BTreeMap;

use reachd_core::incident::{GroupSubject, IncidentState, IncidentUpdate, Resolution, Subject};
use reachd_core::judge::Sign;
use reachd_core::report::{EvidencePart, TargetReport};
use reachd_core::wording::Wording;
use serde::Serialize;
use serde_json::json;

use super::settings::Language;
use crate::clock::{WallClock, ZERO_TIME};
use crate::receiver::Notice;

/// The names of our own labels; a target's label of the same name gets the prefix `label_`.
const TAKEN: [&str; 5] = ["alertname", "target", "vantage", "severity", "class"];

/// How many causes and pieces of evidence are named; the whole lies behind `evidence_url`.
const TOP_CAUSES: usize = 3;
/// Members of a group named in a message.
const MEMBERS_MAX: usize = 20;
const TOP_EVIDENCE: usize = 8;

/// What a body depends on besides the update.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    /// The receiver's name.
    pub receiver: &'a str,
    /// Its language.
    pub language: Language,
    /// Where people reach the daemon's own pages, without a trailing slash; may be empty.
    pub external_url: &'a str,
    /// The wall clock.
    pub clock: WallClock,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Notification<'a> {
    version: &'static str,
    group_key: String,
    truncated_alerts: u64,
    status: &'static str,
    receiver: &'a str,
    group_labels: BTreeMap<&'a str, &'a str>,
    common_labels: &'a BTreeMap<String, String>,
    common_annotations: &'a BTreeMap<&'static str, String>,
    #[serde(rename = "externalURL")]
    external_url: &'a str,
    alerts: [Alert<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Alert<'a> {
    status: &'static str,
    labels: &'a BTreeMap<String, String>,
    annotations: &'a BTreeMap<&'static str, String>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: String,
    fingerprint: &'a str,
}

/// Writes the body. The same update in the same context gives the same bytes.
pub fn render(update: &IncidentUpdate, context: &Context<'_>) -> Vec<u8> {
    let (labels, annotations) = (labels(update), annotations(update, context));
    let status = match update.state {
        IncidentState::Resolved => "resolved",
        IncidentState::Pending | IncidentState::Firing => "firing",
    };
    let grouping = ["alertname", subject_label(&update.subject)];
    let group_labels: BTreeMap<&str, &str> =
        grouping.into_iter().filter_map(|name| Some((name, labels.get(name)?.as_str()))).collect();
    let keys: Vec<String> =
        group_labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    let ends_at = update.ended.map(|(at, _)| context.clock.rfc3339(at));
    let alert = Alert {
        status,
        labels: &labels,
        annotations: &annotations,
        starts_at: context.clock.rfc3339(update.started),
        ends_at: ends_at.unwrap_or_else(|| ZERO_TIME.to_owned()),
        generator_url: own_url(context, "/"),
        fingerprint: &update.fingerprint,
    };
    let notification = Notification {
        version: "4",
        group_key: format!("{{}}:{{{}}}", keys.join(", ")),
        truncated_alerts: 0,
        status,
        receiver: context.receiver,
        group_labels,
        common_labels: &labels,
        common_annotations: &annotations,
        external_url: context.external_url,
        alerts: [alert],
    };
    // Maps with text keys and plain values cannot fail to serialise.
    serde_json::to_vec(&notification).unwrap_or_default()
}

/// Writes the body of a message about messages: an alert of its own.
pub(crate) fn render_notice(notice: &Notice, context: &Context<'_>) -> Vec<u8> {
    let say = |text: &Wording| match context.language {
        Language::En => text.en.clone(),
        Language::Zh => text.zh.clone(),
    };
    let annotations = json!({
        "class_now": "", "summary": say(&notice.summary), "cause": "", "confidence": "",
        "evidence": "", "next_step": say(&notice.next_step), "evidence_url": "",
        "version": notice.version.to_string(),
    });
    let ended = Some(notice.ended.as_str()).filter(|ended| !ended.is_empty());
    let alert = json!({
        "status": notice.status(), "labels": notice.labels, "annotations": annotations,
        "startsAt": notice.started, "endsAt": ended.unwrap_or(ZERO_TIME),
        "generatorURL": own_url(context, "/"), "fingerprint": notice.fingerprint,
    });
    let body = json!({
        "version": "4", "groupKey": format!("{{}}:{{alertname={:?}}}", notice.alertname),
        "truncatedAlerts": 0, "status": notice.status(), "receiver": context.receiver,
        "groupLabels": { "alertname": notice.alertname }, "commonLabels": notice.labels, "commonAnnotations": annotations,
        "externalURL": context.external_url, "alerts": [alert],
    });
    body.to_string().into_bytes()
}

/// The alert's labels: its identity. They stay the same while the incident lives.
pub fn labels(update: &IncidentUpdate) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let mut add = |name: &str, value: &str| labels.insert(name.to_owned(), value.to_owned());
    match &update.subject {
        Subject::Target(target) => {
            plan_labels(&target.labels, &mut add);
            add("target", target.name.as_str());
        }
        Subject::Vantage(vantage) => {
            add("vantage", vantage);
        }
        Subject::Group(group) => {
            plan_labels(&group.labels, &mut add);
            add("group", &group.key);
        }
    }
    add("alertname", update.kind.alertname());
    add("severity", update.severity.as_str());
    add("class", update.class.as_str());
    labels
}

/// The labels that each member of a group would be told with, had it failed alone; none for
/// anything but a group.
pub(crate) fn member_labels(update: &IncidentUpdate) -> Vec<BTreeMap<String, String>> {
    let Subject::Group(group) = &update.subject else { return Vec::new() };
    let own = labels(update);
    let of_member = |member: &BTreeMap<String, String>| {
        let mut labels = own.clone();
        plan_labels(member, &mut |name: &str, value: &str| {
            labels.insert(name.to_owned(), value.to_owned())
        });
        labels
    };
    group.member_labels.iter().map(of_member).collect()
}

fn plan_labels(
    labels: &BTreeMap<String, String>,
    add: &mut impl FnMut(&str, &str) -> Option<String>,
) {
    for (name, value) in labels {
        if TAKEN.contains(&name.as_str()) {
            add(&format!("label_{name}"), value);
        } else {
            add(name, value);
        }
    }
}

const fn subject_label(subject: &Subject) -> &'static str {
    match subject {
        Subject::Target(_) => "target",
        Subject::Vantage(_) => "vantage",
        Subject::Group(_) => "group",
    }
}

/// What may change while the incident lives. Every key is always there; unknown is empty.
pub(crate) fn annotations(
    update: &IncidentUpdate,
    context: &Context<'_>,
) -> BTreeMap<&'static str, String> {
    let choose = |texts: &(String, String)| match context.language {
        Language::En => texts.0.clone(),
        Language::Zh => texts.1.clone(),
    };
    let report = update.report.as_deref();
    let confidence = report.map(|report| format!("{:.2}", report.verdict.confidence));
    let path = format!("/api/v1/incidents/{}/evidence.pcapng", update.fingerprint);
    let evidence_url = report.map(|_| own_url(context, &path));
    let mut annotations = BTreeMap::from([
        ("class_now", update.class_now.as_str().to_owned()),
        ("summary", summary(update, context.language)),
        ("cause", report.map(causes).unwrap_or_default()),
        ("confidence", confidence.unwrap_or_default()),
        ("evidence", report.map(|report| evidence(report, context.language)).unwrap_or_default()),
        ("next_step", choose(&update.next_step)),
        ("evidence_url", evidence_url.unwrap_or_default()),
        ("version", update.version.to_string()),
    ]);
    if let Subject::Group(group) = &update.subject {
        annotations.insert("members", members(group, context.language));
    }
    annotations
}

/// The members of a group, as many as a message bears.
fn members(group: &GroupSubject, language: Language) -> String {
    let named: Vec<_> = group.members.iter().take(MEMBERS_MAX).map(ToString::to_string).collect();
    let all = group.members.len();
    match (all.saturating_sub(MEMBERS_MAX), language) {
        (0, _) => named.join(", "),
        (more, Language::En) => format!("{} and {more} more", named.join(", ")),
        (_, Language::Zh) => format!("{} 等 {all} 个", named.join(", ")),
    }
}

/// What is wrong; an incident that ends because nobody watches any more says that first.
fn summary(update: &IncidentUpdate, language: Language) -> String {
    let removed = matches!(update.ended, Some((_, Resolution::Removed)));
    match (language, &update.summary) {
        (Language::En, (en, _)) if removed => {
            format!("Removed from the plan, no longer watched. Last known: {en}")
        }
        (Language::Zh, (_, zh)) if removed => {
            format!("已从监测计划移除，不再监测。最后所知：{zh}")
        }
        (Language::En, (en, _)) => en.clone(),
        (Language::Zh, (_, zh)) => zh.clone(),
    }
}

/// The likeliest causes with their odds: one alone would claim more than is known.
fn causes(report: &TargetReport) -> String {
    let causes = report.verdict.causes.iter().take(TOP_CAUSES);
    let told = causes.map(|cause| format!("{} {:.0} %", cause.cause, cause.probability * 100.0));
    told.collect::<Vec<_>>().join(", ")
}

fn evidence(report: &TargetReport, language: Language) -> String {
    let pieces = report.verdict.evidence.iter().take(TOP_EVIDENCE).map(|piece| {
        let vantage = piece.vantage.iter().map(|vantage| format!(" @{vantage}"));
        let told = match language {
            Language::En => english(piece),
            Language::Zh => chinese(piece),
        };
        vantage.fold(told, |told, vantage| told + &vantage)
    });
    pieces.collect::<Vec<_>>().join(match language {
        Language::En => "; ",
        Language::Zh => "；",
    })
}

fn english(piece: &EvidencePart) -> String {
    let detail = piece.detail.as_ref().map(|detail| format!(" ({})", detail.en));
    format!("{}={}{}", piece.signal, piece.value, detail.unwrap_or_default())
}

/// The machine names stand behind, as in the report on the screen.
fn chinese(piece: &EvidencePart) -> String {
    let names = format!("{}={}", piece.signal, piece.value);
    let detail = piece.detail.as_ref().map(|detail| format!("（{}）", detail.zh));
    let detail = detail.unwrap_or_default();
    match Sign::from_names(&piece.signal, &piece.value) {
        Some(sign) => {
            let (signal, value) = (sign.family().title().zh, sign.title().zh);
            format!("{signal}：{value}{detail} [{names}]")
        }
        None => format!("{names}{detail}"),
    }
}

pub(crate) fn own_url(context: &Context<'_>, path: &str) -> String {
    if context.external_url.is_empty() {
        return String::new();
    }
    format!("{}{path}", context.external_url.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::SystemTime;

    use reachd_core::incident::AlertKind;
    use reachd_core::judge::Class;
    use reachd_core::target::TargetName;
    use serde_json::Value;

    use super::*;
    use crate::fixture;

    fn rendered(update: &IncidentUpdate, language: Language) -> Value {
        let clock = WallClock::anchored(fixture::at(0), SystemTime::UNIX_EPOCH);
        let external_url = "https://reachd.example/";
        let context = Context { receiver: "ops", language, external_url, clock };
        serde_json::from_slice(&render(update, &context)).unwrap()
    }

    #[test]
    fn a_group_names_what_its_members_share_and_some_of_them() {
        let mut update = fixture::update(1, IncidentState::Firing);
        let members = (1..=25).map(|number| TargetName::new(&format!("host-{number}")));
        let group = GroupSubject {
            key: "sg=web".to_owned(),
            members: members.collect(),
            labels: BTreeMap::from([("team".to_owned(), "win".to_owned())]),
            member_labels: BTreeSet::new(),
        };
        update.subject = Subject::Group(Box::new(group));
        let body = rendered(&update, Language::En);
        let alert = &body["alerts"][0];
        assert_eq!(alert["labels"]["group"], "sg=web");
        assert!(alert["labels"].get("target").is_none());
        assert_eq!(
            body["groupKey"],
            "{}:{alertname=\"ReachdTargetUnreachable\", group=\"sg=web\"}"
        );
        let named = alert["annotations"]["members"].as_str().unwrap();
        assert!(named.starts_with("host-1, host-2, ") && named.ends_with("host-20 and 5 more"));
        let body = rendered(&update, Language::Zh);
        let named = body["alerts"][0]["annotations"]["members"].as_str().unwrap();
        assert!(named.ends_with("host-20 等 25 个"), "{named}");
    }

    #[test]
    fn a_firing_alert_has_alertmanagers_shape() {
        let labels = json!({
            "alertname": "ReachdTargetUnreachable", "target": "192.0.2.10:3389",
            "severity": "critical", "class": "blackhole",
            "team": "a\"b\\c\nd", "port": "x", "a-b": "1", "a_b": "2",
        });
        let annotations = json!({
            "class_now": "host_silent", "summary": "It is silent.",
            "cause": "ddos_blackhole 50 %, transit_blackhole 20 %, partial_blackhole 12 %",
            "confidence": "0.93", "evidence": "syn=silent (0 of 4) @default",
            "next_step": "Look at the console.",
            "evidence_url":
                "https://reachd.example/api/v1/incidents/0123456789abcdef/evidence.pcapng",
            "version": "3",
        });
        let expected = json!({
            "version": "4",
            "groupKey":
                "{}:{alertname=\"ReachdTargetUnreachable\", target=\"192.0.2.10:3389\"}",
            "truncatedAlerts": 0, "status": "firing", "receiver": "ops",
            "groupLabels":
                { "alertname": "ReachdTargetUnreachable", "target": "192.0.2.10:3389" },
            "commonLabels": labels, "commonAnnotations": annotations,
            "externalURL": "https://reachd.example/",
            "alerts": [{
                "status": "firing", "labels": labels, "annotations": annotations,
                "startsAt": "1970-01-01T00:01:00.000Z", "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "https://reachd.example/", "fingerprint": "0123456789abcdef",
            }],
        });
        let update = fixture::update(3, IncidentState::Firing);
        assert_eq!(rendered(&update, Language::En), expected);
    }

    #[test]
    fn a_resolved_alert_keeps_its_class_and_ends() {
        let told = rendered(&fixture::update(4, IncidentState::Resolved), Language::Zh);
        let alert = &told["alerts"][0];
        assert_eq!(alert["status"], "resolved");
        assert_eq!(alert["endsAt"], "1970-01-01T00:02:00.000Z");
        assert_eq!(alert["labels"]["class"], "blackhole");
        assert_eq!(alert["annotations"]["class_now"], "reachable");
        assert_eq!(alert["annotations"]["summary"], "无响应。");
        let evidence = "SYN 应答：无应答（4 个中 0 个） [syn=silent] @default";
        assert_eq!(alert["annotations"]["evidence"], evidence);
    }

    #[test]
    fn a_target_that_left_the_plan_ends_with_that_reason() {
        let mut update = fixture::update(4, IncidentState::Resolved);
        update.ended = update.ended.map(|(at, _)| (at, Resolution::Removed));
        for (language, reason) in [(Language::En, "Removed from the plan"), (Language::Zh, "移除")]
        {
            let told = rendered(&update, language);
            let summary = told["alerts"][0]["annotations"]["summary"].as_str().unwrap();
            assert!(summary.contains(reason), "{summary}");
        }
    }

    #[test]
    fn a_vantage_alert_names_the_vantage_and_no_target() {
        let mut update = fixture::update(1, IncidentState::Firing);
        update.subject = Subject::Vantage("cn-1".to_owned());
        (update.kind, update.class, update.report) =
            (AlertKind::VantageFault, Class::VantageFault, None);
        let told = rendered(&update, Language::En);
        let expected = json!({
            "alertname": "ReachdVantageFault", "vantage": "cn-1",
            "severity": "critical", "class": "vantage_fault",
        });
        assert_eq!(told["alerts"][0]["labels"], expected);
        assert_eq!(told["alerts"][0]["annotations"]["evidence_url"], "");
    }
}
