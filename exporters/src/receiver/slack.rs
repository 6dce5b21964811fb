//! Slack's incoming webhooks, which Mattermost and others take too.

use serde_json::json;

use super::story::Story;
use super::text::cut;
use super::{Answer, Judged, by_status, excerpt};

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

/// By status, 429 with `Retry-After` among them; the reason stands in the body as one word.
pub(super) fn judge(answer: &Answer) -> Judged {
    let accepted = (200..=299).contains(&answer.status);
    let code = (!accepted && !answer.body.is_empty()).then(|| excerpt(&answer.body));
    Judged { outcome: by_status(answer), code }
}
