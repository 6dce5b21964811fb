//! Messages about messages: dead letters, and what a digest sums up. Pure.

use std::collections::BTreeMap;

use reachd_core::target::Severity;
use reachd_core::wording::Wording;

use super::Story;
use crate::clock::rfc3339_millis;
use crate::store::{IncidentRow, OutboxRow, SubjectRow};
use crate::webhook::Language;
use crate::webhook::payload::{self, Context};

/// Messages or incidents that one notice names.
const NAMED_MAX: usize = 20;

/// A message that its receiver will not get by itself, and the incident it tells of, as far as that
/// is remembered.
#[derive(Debug, Clone, PartialEq)]
pub struct Letter {
    /// The message.
    pub row: OutboxRow,
    /// Its incident as it stands now.
    pub incident: Option<IncidentRow>,
}

/// A message about messages.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// Its identity, with the version.
    pub fingerprint: String,
    /// Grows when the same happens again.
    pub version: u64,
    /// Whether it tells of what is over.
    pub resolved: bool,
    pub(crate) alertname: &'static str,
    pub(crate) severity: &'static str,
    pub(crate) subject: String,
    pub(crate) labels: BTreeMap<String, String>,
    /// RFC 3339; the end is empty for what has none.
    pub(crate) started: String,
    pub(crate) ended: String,
    pub(crate) heading: Wording,
    pub(crate) summary: Wording,
    pub(crate) next_step: Wording,
}

impl Notice {
    /// That one receiver was not told, for another.
    pub fn dead(letters: &[Letter], (fingerprint, version): (String, u64)) -> Self {
        let first = letters.first();
        let receiver = first.map_or("", |letter| letter.row.receiver.as_str()).to_owned();
        let since = letters.iter().map(|letter| letter.row.enqueued_ms).min().unwrap_or_default();
        let started = rfc3339_millis(since);
        let severity = letters.iter().map(Letter::severity).max().unwrap_or(Severity::Critical);
        let mut labels = match letters {
            [letter] => letter.labels(),
            _ => BTreeMap::new(),
        };
        labels.insert("alertname".to_owned(), DEAD.to_owned());
        labels.insert("severity".to_owned(), severity.as_str().to_owned());
        labels.insert("receiver".to_owned(), receiver.clone());
        let (subject, heading, summary, which) = match letters {
            [letter] => {
                let subject = letter.subject();
                let heading = Wording::new(
                    format!("Not delivered to {receiver}: {subject}"),
                    format!("未送达 {receiver}：{subject}"),
                );
                (subject, heading, letter.obituary(), letter.row.msg_id.clone())
            }
            _ => {
                let count = letters.len();
                let heading = Wording::new(
                    format!("Not delivered to {receiver}: {count} messages"),
                    format!("未送达 {receiver}：{count} 条消息"),
                );
                let summary = obituaries(letters, (&receiver, &started));
                (receiver.clone(), heading, summary, "--all".to_owned())
            }
        };
        Self {
            fingerprint,
            version,
            resolved: false,
            alertname: DEAD,
            severity: severity.as_str(),
            subject,
            labels,
            started,
            ended: String::new(),
            heading,
            summary,
            next_step: Wording::new(
                format!(
                    "Tell whoever should know. `reachd outbox list --state dead` shows it, \
                     `reachd outbox retry {which}` sends it again."
                ),
                format!(
                    "请告知相关人员。`reachd outbox list --state dead` 可查看，\
                     `reachd outbox retry {which}` 可重发。"
                ),
            ),
        }
    }

    /// What opened and was over while a receiver took nothing; each incident's last letter.
    pub fn digest(letters: &[Letter], fingerprint: String) -> Self {
        let receiver = letters.first().map_or("", |letter| letter.row.receiver.as_str());
        let times = || letters.iter().map(Letter::times);
        let started = times().map(|(from, _)| from).min().unwrap_or_default();
        let ended = times().map(|(_, to)| to).max().unwrap_or_default();
        let severity = letters.iter().map(Letter::severity).max().unwrap_or(Severity::Info);
        let count = letters.len();
        let lines = listed(letters, |letter| {
            let (from, to) = letter.times();
            let subject = letter.subject();
            Wording::new(
                format!("{subject} ({from} – {to})"),
                format!("{subject}（{from} – {to}）"),
            )
        });
        Self {
            fingerprint,
            version: 1,
            resolved: true,
            alertname: DIGEST,
            severity: severity.as_str(),
            subject: receiver.to_owned(),
            labels: BTreeMap::from([
                ("alertname".to_owned(), DIGEST.to_owned()),
                ("severity".to_owned(), severity.as_str().to_owned()),
            ]),
            started,
            ended,
            heading: Wording::new(
                format!("{count} incidents opened and were over meanwhile"),
                format!("其间 {count} 个事件发生并已恢复"),
            ),
            summary: Wording::new(
                format!("While {receiver} took nothing: {}.", lines.en),
                format!("{receiver} 未接收消息期间：{}。", lines.zh),
            ),
            next_step: Wording::new("Nothing is to be done.", "无需处理。"),
        }
    }

    /// For templates.
    pub(crate) fn story(&self, context: &Context<'_>) -> Story {
        let say = |text: &Wording| match context.language {
            Language::En => text.en.clone(),
            Language::Zh => text.zh.clone(),
        };
        Story {
            status: self.status(),
            resolved: self.resolved,
            receiver: context.receiver.to_owned(),
            alertname: self.alertname,
            severity: self.severity,
            subject: self.subject.clone(),
            class: "",
            class_now: "",
            class_title: "",
            heading: say(&self.heading),
            summary: say(&self.summary),
            started: self.started.clone(),
            ended: self.ended.clone(),
            seconds: seconds_between(&self.started, &self.ended),
            seen_from: Vec::new(),
            reachable_from: Vec::new(),
            causes: Vec::new(),
            confidence: String::new(),
            evidence: String::new(),
            next_step: say(&self.next_step),
            risk: String::new(),
            members: String::new(),
            url: payload::own_url(context, "/"),
            evidence_url: String::new(),
            labels: self.labels.clone(),
            fingerprint: self.fingerprint.clone(),
            version: self.version,
        }
    }

    pub(crate) const fn status(&self) -> &'static str {
        if self.resolved { "resolved" } else { "firing" }
    }
}

/// What alerts about messages are called.
const DEAD: &str = "ReachdNotificationDead";
const DIGEST: &str = "ReachdDigest";

impl Letter {
    fn subject(&self) -> String {
        match self.incident.as_ref().map(|incident| &incident.subject) {
            Some(SubjectRow::Target { name, .. } | SubjectRow::Vantage { name }) => name.clone(),
            Some(SubjectRow::Group { key, .. }) => key.clone(),
            None => self.row.fingerprint.clone(),
        }
    }

    fn labels(&self) -> BTreeMap<String, String> {
        let name = match self.incident.as_ref().map(|incident| &incident.subject) {
            Some(SubjectRow::Target { .. }) => "target",
            Some(SubjectRow::Vantage { .. }) => "vantage",
            Some(SubjectRow::Group { .. }) => "group",
            None => return BTreeMap::new(),
        };
        BTreeMap::from([(name.to_owned(), self.subject())])
    }

    /// Unknown counts as the worst.
    fn severity(&self) -> Severity {
        let all = [Severity::Info, Severity::Warning, Severity::Critical];
        let known = self.incident.as_ref().map(|incident| incident.severity.as_str());
        let found = all.into_iter().find(|one| Some(one.as_str()) == known);
        found.unwrap_or(Severity::Critical)
    }

    /// From when to when it fired, as far as it is known.
    fn times(&self) -> (String, String) {
        let queued = || rfc3339_millis(self.row.enqueued_ms);
        let incident = self.incident.as_ref();
        let started = incident.map_or_else(queued, |incident| incident.started.clone());
        let ended = incident.and_then(|incident| incident.ended.clone());
        (started, ended.unwrap_or_else(queued))
    }

    fn why(&self) -> &str {
        self.row.last_error.as_deref().unwrap_or("unknown")
    }

    fn obituary(&self) -> Wording {
        let OutboxRow { receiver, fingerprint, version, attempts, enqueued_ms, .. } = &self.row;
        let (subject, since, why) = (self.subject(), rfc3339_millis(*enqueued_ms), self.why());
        let (en, zh) = match self.row.resolved {
            true => ("is over", "已恢复"),
            false => ("fires", "告警"),
        };
        let said = self.incident.as_ref().map(|incident| incident.summary.clone());
        let (said_en, said_zh) =
            said.map_or_else(Default::default, |said| (format!(" {}", said.en), said.zh));
        Wording::new(
            format!(
                "Receiver {receiver} was not told that {subject} {en} (incident {fingerprint}, \
                 step {version}); waiting since {since}, {attempts} attempts, given up: \
                 {why}.{said_en}"
            ),
            format!(
                "接收方 {receiver} 未获知：{subject} {zh}（事件 {fingerprint}，第 {version} 步）；\
                 自 {since} 起等待，尝试 {attempts} 次，已放弃：{why}。{said_zh}"
            ),
        )
    }
}

/// Of many letters: how many, since when, and some of them.
fn obituaries(letters: &[Letter], (receiver, since): (&str, &str)) -> Wording {
    let (count, why) = (letters.len(), letters.last().map_or("", Letter::why));
    let lines = listed(letters, |letter| {
        let OutboxRow { fingerprint, version, resolved, .. } = &letter.row;
        let subject = letter.subject();
        let (en, zh) = if *resolved { ("over", "已恢复") } else { ("firing", "告警") };
        Wording::new(
            format!("{subject} {en} ({fingerprint}, step {version})"),
            format!("{subject} {zh}（{fingerprint}，第 {version} 步）"),
        )
    });
    Wording::new(
        format!(
            "Receiver {receiver} was not told of {count} messages, the oldest waiting since \
             {since}; given up, lately: {why}. {}.",
            lines.en
        ),
        format!(
            "接收方 {receiver} 未获知 {count} 条消息，最早的自 {since} 起等待；已放弃，最近原因：\
             {why}。{}。",
            lines.zh
        ),
    )
}

/// The first of them by name, and how many more.
fn listed(letters: &[Letter], line: impl Fn(&Letter) -> Wording) -> Wording {
    let lines: Vec<_> = letters.iter().take(NAMED_MAX).map(line).collect();
    let join = |pick: fn(&Wording) -> &str, joint: &str| {
        lines.iter().map(pick).collect::<Vec<_>>().join(joint)
    };
    let (en, zh) = (join(|line| &line.en, "; "), join(|line| &line.zh, "；"));
    match letters.len().saturating_sub(NAMED_MAX) {
        0 => Wording::new(en, zh),
        more => Wording::new(format!("{en}; and {more} more"), format!("{zh}；另有 {more} 个")),
    }
}

fn seconds_between(from: &str, to: &str) -> u64 {
    let read = |text: &str| text.parse::<jiff::Timestamp>().ok();
    let span = read(from).zip(read(to)).map(|(from, to)| to.as_second() - from.as_second());
    u64::try_from(span.unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use reachd_core::incident::IncidentState;
    use serde_json::Value;

    use super::*;
    use crate::clock::WallClock;
    use crate::fixture;
    use crate::receiver::{Dialect, Hidden, Kind};
    use crate::store::State;

    fn letter(number: u64) -> Letter {
        let update = fixture::update(2, IncidentState::Resolved);
        let clock = WallClock::anchored(fixture::at(0), SystemTime::UNIX_EPOCH);
        let row = OutboxRow {
            msg_id: format!("{number:032x}"),
            receiver: "ops".to_owned(),
            fingerprint: update.fingerprint.clone(),
            version: 2,
            resolved: true,
            body: "{}".into(),
            enqueued_ms: 60_000,
            not_before_ms: 0,
            attempts: 412,
            last_error: Some("expired: answered 400 <b>".to_owned()),
            state: State::Dead,
            updated_ms: 0,
            revision: 9,
        };
        Letter { row, incident: Some(IncidentRow::new(&update, &clock)) }
    }

    fn said(kind: Kind, notice: &Notice, language: Language) -> String {
        let clock = WallClock::anchored(fixture::at(0), SystemTime::UNIX_EPOCH);
        let context = Context { receiver: "second", language, external_url: "", clock };
        let body = Dialect::new(kind, None).unwrap().render_notice(notice, &context);
        // JSON in whose strings nothing is escaped that matters here.
        String::from_utf8(body).unwrap()
    }

    #[test]
    fn every_kind_says_who_was_not_told_of_what() {
        let notice = Notice::dead(&[letter(7)], ("dead-7".to_owned(), 1));
        let pagerduty = Kind::PagerDuty { routing_key: Hidden::new("key") };
        let dingtalk = Kind::DingTalk { secret: None, keyword: None };
        let feishu = Kind::Feishu { secret: None, keyword: None };
        let kinds = [Kind::Webhook { secret: None }, Kind::Command, Kind::Slack, Kind::WeCom];
        for kind in kinds.into_iter().chain([pagerduty, dingtalk, feishu]) {
            for (language, word) in [(Language::En, "was not told"), (Language::Zh, "未获知")] {
                let text = said(kind.clone(), &notice, language);
                let words = ["ops", "192.0.2.10:3389", "0123456789abcdef", "412", "answered 400"];
                for word in words.into_iter().chain([word, "1970-01-01T00:01:00.000Z"]) {
                    assert!(text.contains(word), "{word} is not in {text}");
                }
            }
        }
        // What others said is escaped where it could be markup.
        assert!(said(Kind::Slack, &notice, Language::En).contains("&lt;b&gt;"));
    }

    #[test]
    fn programs_get_an_alert_that_fires() {
        let notice = Notice::dead(&[letter(7)], ("dead-7".to_owned(), 3));
        let text = said(Kind::Webhook { secret: None }, &notice, Language::En);
        let body: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&body["version"], &body["status"]), (&"4".into(), &"firing".into()));
        let alert = &body["alerts"][0];
        let labels = serde_json::json!({
            "alertname": "ReachdNotificationDead", "receiver": "ops", "severity": "critical",
            "target": "192.0.2.10:3389",
        });
        assert_eq!(alert["labels"], labels);
        assert_eq!(alert["fingerprint"], "dead-7");
        assert_eq!(alert["annotations"]["version"], "3");
        assert_eq!(alert["endsAt"], "0001-01-01T00:00:00Z");
    }

    #[test]
    fn a_digest_says_what_was_over_and_from_when_to_when() {
        let letters: Vec<_> = (0..25).map(letter).collect();
        let notice = Notice::digest(&letters, "digest-1".to_owned());
        let text = said(Kind::Slack, &notice, Language::En);
        assert!(text.contains("25 incidents opened and were over meanwhile"), "{text}");
        let line = "192.0.2.10:3389 (1970-01-01T00:01:00.000Z – 1970-01-01T00:02:00.000Z)";
        assert_eq!(text.matches(line).count(), 20, "{text}");
        assert!(text.contains("and 5 more"), "{text}");
        let text = said(Kind::WeCom, &notice, Language::Zh);
        assert!(text.contains("其间 25 个事件发生并已恢复"), "{text}");
    }
}
