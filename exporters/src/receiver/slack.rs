//! Slack's incoming webhooks, which Mattermost and others take too.

use serde_json::json;

use super::story::Story;
use super::text::cut;
use super::{Answer, Judged, by_status, excerpt};
use crate::webhook::delivery::Outcome;

/// Slack shows attachments of up to some 8,000 characters and folds long ones.
const TEXT_MAX: usize = 4_000;

pub(super) fn render(story: &Story, text: &str) -> Vec<u8> {
    let text = cut(text, TEXT_MAX);
    let (heading, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let color = match (story.resolved, story.severity) {
        (true, _) => "good",
        (false, "critical") => "danger",
        (false, _) => "warning",
    };
    let body = json!({
        "text": heading,
        "attachments": [{
            "color": color, "fallback": heading, "text": rest, "mrkdwn_in": ["text"],
        }],
    });
    body.to_string().into_bytes()
}

/// By status, 429 with `Retry-After` among them; the reason stands in the body as one word. What is
/// taken is answered with the one word `ok`, as Mattermost does too: a page of a portal in between
/// comes with 200 as well.
pub(super) fn judge(answer: &Answer) -> Judged {
    let accepted = (200..=299).contains(&answer.status);
    if accepted && !is_ok(&answer.body) {
        let why = format!("answered {} without ok: {}", answer.status, excerpt(&answer.body));
        return Judged { outcome: Outcome::Retry { after: None, why }, code: None };
    }
    let code = (!accepted && !answer.body.is_empty()).then(|| excerpt(&answer.body));
    Judged { outcome: by_status(answer), code }
}

/// Rocket.Chat, which takes the same messages, says it in JSON.
fn is_ok(body: &[u8]) -> bool {
    let told = || serde_json::from_slice::<serde_json::Value>(body).ok();
    body.trim_ascii() == b"ok" || told().is_some_and(|told| told["success"] == true)
}
