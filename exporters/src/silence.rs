//! Silences: what somebody asked not to be told of for a time, by label.
//!
//! The JSON is Alertmanager's (API v2, `silence`), so that tools which write those can write these.
//! Nothing here knows the time: it is passed in.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Silences that are kept at most, those that are over among them.
pub const SILENCES_MAX: usize = 1_000;
/// Matchers of one silence at most.
const MATCHERS_MAX: usize = 32;
/// Bytes of a name, value, author or comment at most.
const TEXT_MAX: usize = 1_024;
/// The longest a silence lasts: a year. What is to be silent for ever is no target.
const LONGEST: i64 = 366 * 86_400;
/// How long one that is over is shown.
const SHOWN_AFTER: i64 = 5 * 86_400;

/// One condition on a label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SilenceMatcher {
    /// The label.
    pub name: String,
    /// Its value; an absent label has the empty one.
    pub value: String,
    /// Regular expressions are not served; false.
    #[serde(default)]
    pub is_regex: bool,
    /// Whether the label must have the value, or must not.
    #[serde(default = "yes")]
    pub is_equal: bool,
}

const fn yes() -> bool {
    true
}

/// A silence as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SilenceRequest {
    /// All must hold.
    pub matchers: Vec<SilenceMatcher>,
    /// When it begins; now unless given.
    pub starts_at: Option<Timestamp>,
    /// When it ends.
    pub ends_at: Timestamp,
    /// Who asks.
    #[serde(default)]
    pub created_by: String,
    /// Why.
    #[serde(default)]
    pub comment: String,
}

/// A silence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Silence {
    /// Its name, 16 hexadecimal digits.
    pub id: String,
    /// All must hold.
    pub matchers: Vec<SilenceMatcher>,
    /// When it begins.
    pub starts_at: Timestamp,
    /// When it ends.
    pub ends_at: Timestamp,
    /// Who asked.
    pub created_by: String,
    /// Why.
    pub comment: String,
}

/// Why there is no silence, or none for long.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SilenceError {
    /// The request is wrong.
    #[error("{0}")]
    Refused(String),
    /// It holds until the next start only.
    #[error("it holds until the next start only: {0}")]
    Unsaved(String),
}

impl SilenceRequest {
    /// The silence, under this name; the error tells what is wrong with it.
    pub fn accept(self, id: String, now: Timestamp) -> Result<Silence, String> {
        let starts_at = self.starts_at.unwrap_or(now);
        if self.matchers.is_empty() || self.matchers.len() > MATCHERS_MAX {
            return Err(format!("matchers: give 1 to {MATCHERS_MAX}"));
        }
        for matcher in &self.matchers {
            if matcher.is_regex {
                let name = &matcher.name;
                return Err(format!("matchers: {name}: regular expressions are not served"));
            }
            if matcher.name.is_empty() {
                return Err("matchers: a label has no name".to_owned());
            }
        }
        // Whoever lacks a label has it empty: `a!=b` alone would silence everything that has no `a`.
        let takes_none = |matcher: &SilenceMatcher| matcher.value.is_empty() == matcher.is_equal;
        if self.matchers.iter().all(takes_none) {
            return Err("matchers: at least one must ask for a value (label=value)".to_owned());
        }
        if self.ends_at <= starts_at || self.ends_at <= now {
            return Err("endsAt: it must be later than startsAt, and than now".to_owned());
        }
        if self.ends_at.duration_since(starts_at).as_secs() > LONGEST {
            return Err("endsAt: a silence lasts a year at most".to_owned());
        }
        let labels = self.matchers.iter().flat_map(|matcher| [&matcher.name, &matcher.value]);
        if labels.chain([&self.created_by, &self.comment]).any(|text| text.len() > TEXT_MAX) {
            return Err(format!("a text is longer than {TEXT_MAX} bytes"));
        }
        let Self { matchers, ends_at, created_by, comment, .. } = self;
        Ok(Silence { id, matchers, starts_at, ends_at, created_by, comment })
    }
}

impl Silence {
    /// Whether it holds at this moment.
    pub fn covers(&self, now: Timestamp) -> bool {
        (self.starts_at..self.ends_at).contains(&now)
    }

    /// Whether it concerns whoever has these labels.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> &'a str) -> bool {
        let holds = |it: &SilenceMatcher| (label(&it.name) == it.value) == it.is_equal;
        self.matchers.iter().all(holds)
    }

    /// Ends it now, if it has not ended.
    pub fn expire(&mut self, now: Timestamp) {
        self.ends_at = self.ends_at.min(now);
        self.starts_at = self.starts_at.min(self.ends_at);
    }
}

/// Adds a silence; those that have long been over make room. `None` when there is none.
pub fn add(silences: &mut Vec<Silence>, silence: Silence, now: Timestamp) -> Option<()> {
    silences.retain(|known| now.duration_since(known.ends_at).as_secs() < SHOWN_AFTER);
    if silences.len() >= SILENCES_MAX {
        silences.retain(|known| known.ends_at > now);
    }
    if silences.len() >= SILENCES_MAX {
        return None;
    }
    silences.push(silence);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Result<SilenceRequest, serde_json::Error> {
        serde_json::from_str(text)
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    const NOW: &str = "2026-11-26T12:00:00Z";

    fn accepted(text: &str) -> Result<Silence, String> {
        request(text).map_err(|e| e.to_string())?.accept("0123456789abcdef".to_owned(), at(NOW))
    }

    #[test]
    fn a_silence_of_alertmanagers_tools_is_taken() {
        let text = r#"{"matchers":[{"name":"site","value":"fra","isRegex":false,"isEqual":true}],
            "startsAt":"2026-11-26T12:00:00.000Z","endsAt":"2026-11-26T14:00:00.000Z",
            "createdBy":"ops","comment":"patching"}"#;
        let silence = accepted(text).unwrap();
        assert!(
            silence.covers(at("2026-11-26T13:59:59Z"))
                && !silence.covers(at("2026-11-26T14:00:00Z"))
        );
        let label = |site: &'static str| move |name: &str| if name == "site" { site } else { "" };
        assert!(silence.matches(label("fra")) && !silence.matches(label("sha")));
        let back: Silence =
            serde_json::from_str(&serde_json::to_string(&silence).unwrap()).unwrap();
        assert_eq!(back, silence);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_reason() {
        let matcher = r#"{"name":"site","value":"fra"}"#;
        let end = r#""endsAt":"2026-11-26T14:00:00Z""#;
        for (text, reason) in [
            (format!(r#"{{"matchers":[],{end}}}"#), "give 1 to 32"),
            (format!(r#"{{"matchers":[{{"name":"a","value":""}}],{end}}}"#), "ask for a value"),
            (
                format!(r#"{{"matchers":[{{"name":"a","value":"b","isEqual":false}}],{end}}}"#),
                "ask for a value",
            ),
            (format!(r#"{{"matchers":[{{"name":"","value":"x"}}],{end}}}"#), "has no name"),
            (
                format!(r#"{{"matchers":[{{"name":"a","value":"x","isRegex":true}}],{end}}}"#),
                "regular expressions",
            ),
            (format!(r#"{{"matchers":[{matcher}],"endsAt":"{NOW}"}}"#), "later than"),
            (format!(r#"{{"matchers":[{matcher}],"endsAt":"2028-11-26T14:00:00Z"}}"#), "a year"),
            (format!(r#"{{"matchers":[{matcher}]}}"#), "endsAt"),
            (format!(r#"{{"matchers":[{matcher}],{end},"ends":1}}"#), "unknown field"),
            (
                format!(r#"{{"matchers":[{matcher}],{end},"comment":"{}"}}"#, "x".repeat(1_025)),
                "longer than 1024",
            ),
        ] {
            let error = accepted(&text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn there_is_room_for_so_many_and_old_ones_make_room() {
        let one = |ends: &str| Silence {
            id: "0".repeat(16),
            matchers: vec![],
            starts_at: at("2026-11-01T00:00:00Z"),
            ends_at: at(ends),
            created_by: String::new(),
            comment: String::new(),
        };
        let mut silences = vec![one("2026-11-26T11:00:00Z"); SILENCES_MAX];
        assert!(add(&mut silences, one("2026-11-27T00:00:00Z"), at(NOW)).is_some());
        assert_eq!(silences.len(), 1);
        let mut silences = vec![one("2026-11-27T00:00:00Z"); SILENCES_MAX];
        assert!(add(&mut silences, one("2026-11-27T00:00:00Z"), at(NOW)).is_none());
        silences[0].expire(at(NOW));
        assert!(!silences[0].covers(at(NOW)));
        assert!(add(&mut silences, one("2026-11-27T00:00:00Z"), at(NOW)).is_some());
    }
}
