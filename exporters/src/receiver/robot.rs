//! What the robots of Chinese chat services have in common: they answer 200 to everything, and say
//! in the body whether they took it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::Value;

use super::{Answer, Judged, by_status, excerpt};
use crate::webhook::delivery::Outcome;

/// What a code means.
pub(super) enum Meaning {
    /// Too fast: leave the robot alone for so long.
    Pause(Duration),
    /// It will pass.
    Later,
    /// Nothing but a change of settings helps.
    Never,
}

/// Judges an answer by its status, then by the first of these fields that the body has. A body
/// without a code is no answer of the service: some portal spoke in its place.
pub(super) fn judge(
    answer: &Answer,
    (codes, texts): (&[&str], &[&str]),
    meaning: fn(i64) -> Meaning,
) -> Judged {
    let outcome = by_status(answer);
    if outcome != Outcome::Accepted {
        return Judged { outcome, code: None };
    }
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let field = |names: &[&str]| names.iter().find_map(|name| body.as_ref()?.get(name).cloned());
    let Some(code) = field(codes).as_ref().and_then(Value::as_i64) else {
        let why = format!("answered {} without a code in the body", answer.status);
        return Judged { outcome: Outcome::Retry { after: None, why }, code: None };
    };
    let said = field(texts).as_ref().and_then(Value::as_str).map(str::to_owned);
    let said = excerpt(said.unwrap_or_default().as_bytes());
    let why = format!("answered {} with code {code}: {said}", answer.status);
    let outcome = match (code, meaning) {
        (0, _) => Outcome::Accepted,
        (code, meaning) => match meaning(code) {
            Meaning::Pause(pause) => Outcome::Retry { after: Some(pause), why },
            Meaning::Later => Outcome::Retry { after: None, why },
            Meaning::Never => Outcome::Refused { why },
        },
    };
    Judged { outcome, code: Some(code.to_string()) }
}

/// base64 of HMAC-SHA256.
pub(super) fn hmac_sha256(key: &str, data: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    STANDARD.encode(hmac::sign(&key, data.as_bytes()).as_ref())
}

/// The text with the keyword that the robot asks for, added where it lacks.
pub(super) fn with_keyword(text: &str, keyword: Option<&str>) -> String {
    match keyword {
        Some(keyword) if !text.contains(keyword) => format!("{keyword} {text}"),
        Some(_) | None => text.to_owned(),
    }
}
