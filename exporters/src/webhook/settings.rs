//! What a receiver wants to hear, and in which language.

use std::collections::BTreeMap;
use std::fmt;

use reachd_core::incident::{IncidentState, IncidentUpdate, Subject};
use reachd_core::target::Severity;

use super::delivery::Backlog;
use super::payload;
use super::signature::Secret;
use crate::carry::Route;
use crate::carry::guard::Origin;
use crate::receiver::Kind;

/// A language of the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// English.
    #[default]
    En,
    /// Simplified Chinese.
    Zh,
}

/// Which steps of an incident's life are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SendMode {
    /// Opening, resolving, and changes worth a message.
    #[default]
    Transitions,
    /// Every update.
    Updates,
}

/// A condition on one label of an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matcher {
    /// The label; one that is missing counts as empty.
    pub label: String,
    /// The value to compare with.
    pub value: String,
    /// Whether the value must be equal; otherwise it must differ.
    pub equal: bool,
}

/// One receiver.
#[derive(Clone)]
pub struct Settings {
    /// Unique name and metric label.
    pub name: String,
    /// Where to post; it may hold a token and is never logged.
    pub url: String,
    /// The key that signs; unsigned without one.
    pub secret: Option<Secret>,
    /// Language of summary, evidence and next step.
    pub language: Language,
    /// Less severe incidents are not sent.
    pub min_severity: Severity,
    /// All of them must hold; none means everything.
    pub matchers: Vec<Matcher>,
    /// Which steps are sent.
    pub send: SendMode,
    /// What it understands.
    pub kind: Kind,
    /// The proxy before it; it may hold a password.
    pub proxy: Option<String>,
    /// Certificate authorities besides the system's, PEM.
    pub authorities: Option<Vec<u8>>,
    /// The owner's template in place of the default texts.
    pub template: Option<String>,
    /// The program of a command receiver, with its arguments.
    pub command: Vec<String>,
    /// Who is told of what this one was not told.
    pub dead_letter_to: Option<String>,
    /// What is sent of messages that have gathered during an outage.
    pub backlog: Backlog,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Settings");
        shown.field("name", &self.name).field("url", &"(secret)").field("secret", &self.secret);
        shown.field("language", &self.language).field("min_severity", &self.min_severity);
        shown.field("matchers", &self.matchers).field("send", &self.send);
        shown.field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl Settings {
    /// Settings that send every transition of everything to a URL.
    pub fn new(name: &str, url: &str) -> Self {
        Self {
            name: name.to_owned(),
            url: url.to_owned(),
            secret: None,
            language: Language::En,
            min_severity: Severity::Info,
            matchers: Vec::new(),
            send: SendMode::Transitions,
            kind: Kind::Webhook { secret: None },
            proxy: None,
            authorities: None,
            template: None,
            command: Vec::new(),
            dead_letter_to: None,
            backlog: Backlog::All,
        }
    }

    /// How it is reached. Settings come from the owner's plan only.
    pub(crate) fn route(&self) -> Route {
        Route {
            url: self.url.clone(),
            origin: Origin::Plan,
            proxy: self.proxy.clone(),
            authorities: self.authorities.clone(),
            command: self.command.clone(),
        }
    }

    /// Whether this receiver is to hear of an update. What nobody was told of is not taken back
    /// either: members of a group speak through it.
    pub fn wants(&self, update: &IncidentUpdate) -> bool {
        let told = match (self.send, update.state) {
            (_, IncidentState::Pending) => false,
            (SendMode::Updates, IncidentState::Firing | IncidentState::Resolved) => {
                update.notify || !update.member
            }
            (SendMode::Transitions, IncidentState::Firing | IncidentState::Resolved) => {
                update.notify
            }
        };
        if !told || update.severity < self.min_severity {
            return false;
        }
        let hold = |labels: &BTreeMap<String, String>| {
            self.matchers.iter().all(|matcher| {
                let value = labels.get(&matcher.label).map_or("", String::as_str);
                (value == matcher.value) == matcher.equal
            })
        };
        // Whoever would hear of a member alone hears of the group that speaks for it.
        hold(&payload::labels(update)) || payload::member_labels(update).iter().any(hold)
    }

    /// Whether this receiver, which was not told that the incident fires, is to hear of it by a
    /// change that is worth no message to the others: a group's new member may be the first that
    /// concerns it.
    pub fn wants_late(&self, update: &IncidentUpdate) -> bool {
        matches!(update.subject, Subject::Group(_))
            && update.state == IncidentState::Firing
            && self.wants(&IncidentUpdate { notify: true, ..update.clone() })
    }
}

#[cfg(test)]
mod tests {
    use reachd_core::incident::GroupSubject;

    use super::*;
    use crate::fixture;

    fn check(change: impl FnOnce(&mut Settings, &mut IncidentUpdate), expected: bool) {
        let mut settings = Settings::new("ops", "http://192.0.2.1/token");
        let mut update = fixture::update(1, IncidentState::Firing);
        change(&mut settings, &mut update);
        assert_eq!(settings.wants(&update), expected);
    }

    fn matcher(label: &str, value: &str, equal: bool) -> Matcher {
        Matcher { label: label.to_owned(), value: value.to_owned(), equal }
    }

    #[test]
    fn routing_follows_severity_labels_and_mode() {
        check(|_, _| {}, true);
        check(|settings, _| settings.min_severity = Severity::Critical, true);
        check(|_, update| update.state = IncidentState::Pending, false);
        check(
            |settings, update| {
                settings.min_severity = Severity::Critical;
                update.severity = Severity::Warning;
            },
            false,
        );
        check(|_, update| update.notify = false, false);
        check(
            |settings, update| {
                settings.send = SendMode::Updates;
                update.notify = false;
            },
            true,
        );
        // A group of a hundred is not told a hundred times.
        check(
            |settings, update| {
                settings.send = SendMode::Updates;
                (update.notify, update.member) = (false, true);
            },
            false,
        );
        check(
            |_, update| {
                update.notify = false;
                update.state = IncidentState::Resolved;
            },
            false,
        );
        check(|_, update| update.state = IncidentState::Resolved, true);
        check(|settings, _| settings.matchers = vec![matcher("a_b", "2", true)], true);
        check(|settings, _| settings.matchers = vec![matcher("class", "blackhole", false)], false);
        check(|settings, _| settings.matchers = vec![matcher("missing", "", true)], true);
        check(
            |settings, _| {
                settings.matchers = vec![matcher("a_b", "2", true), matcher("missing", "x", true)];
            },
            false,
        );
    }

    #[test]
    fn whoever_would_hear_of_a_member_hears_of_its_group() {
        let of = |team: &str| BTreeMap::from([("team".to_owned(), team.to_owned())]);
        let group = |teams: &[&str], shared: &[&str], settings: &mut Settings| {
            settings.matchers = vec![matcher("team", "win", true)];
            Subject::Group(Box::new(GroupSubject {
                key: "sg=web".to_owned(),
                members: Vec::new(),
                labels: shared.iter().flat_map(|team| of(team)).collect(),
                member_labels: teams.iter().map(|team| of(team)).collect(),
            }))
        };
        for (teams, shared, expected) in [
            (&["win"][..], &["win"][..], true),
            (&["lin", "win"], &[], true),
            (&["lin"], &["lin"], false),
            // The member of that team is well again; the group's own label stays.
            (&[], &["win"], true),
        ] {
            check(|settings, update| update.subject = group(teams, shared, settings), expected);
            let mut settings = Settings::new("ops", "http://192.0.2.1/");
            let mut update = fixture::update(2, IncidentState::Firing);
            update.subject = group(teams, shared, &mut settings);
            update.notify = false;
            assert!(!settings.wants(&update));
            assert_eq!(settings.wants_late(&update), expected, "{teams:?}");
        }
        let settings = Settings::new("ops", "http://192.0.2.1/");
        let mut change = fixture::update(2, IncidentState::Firing);
        change.notify = false;
        assert!(!settings.wants_late(&change), "a change of a lone target is worth no message");
    }

    #[test]
    fn settings_are_shown_without_url_and_secret() {
        let mut settings = Settings::new("ops", "http://192.0.2.1/token");
        let text = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        settings.secret = Some(Secret::parse(text).unwrap());
        let shown = format!("{settings:?}");
        assert!(!shown.contains("token") && !shown.contains("MfKQ"), "{shown}");
    }
}
