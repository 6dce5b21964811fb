//! PagerDuty's Events API, version 2.

use bytes::Bytes;
use serde_json::{Value, json};

use super::story::Story;
use super::text::{cut, one_line};
use super::{Answer, Judged, by_status, excerpt};
use crate::webhook::delivery::Outcome;

/// The service's own limits of `summary` and `dedup_key`.
const SUMMARY_MAX: usize = 1_024;
const DEDUP_KEY_MAX: usize = 255;

/// Without the routing key, which is a secret and put in when the event is sent. One fingerprint is
/// one incident there: opened by `trigger`, closed by `resolve`.
pub(super) fn render(story: &Story, text: &str) -> Vec<u8> {
    let action = if story.resolved { "resolve" } else { "trigger" };
    let summary = format!("{} {}", story.heading, story.summary);
    let links = [("reachd", &story.url), ("pcapng", &story.evidence_url)];
    let links: Vec<Value> = links
        .iter()
        .filter(|(_, href)| !href.is_empty())
        .map(|(text, href)| json!({ "href": href, "text": text }))
        .collect();
    let group = story.labels.get("group").cloned();
    let body = json!({
        "event_action": action,
        "dedup_key": cut(&story.fingerprint, DEDUP_KEY_MAX),
        "payload": {
            "summary": cut(&one_line(&summary), SUMMARY_MAX),
            "source": story.subject,
            "severity": story.severity,
            "timestamp": story.started,
            "component": story.subject,
            "group": group,
            "class": story.class,
            "custom_details": {
                "text": text, "labels": story.labels, "class_now": story.class_now,
                "evidence": story.evidence, "next_step": story.next_step,
                "causes": story.causes, "version": story.version,
            },
        },
        "client": "reachd",
        "client_url": story.url,
        "links": links,
    });
    body.to_string().into_bytes()
}

/// The event with its routing key.
pub(super) fn with_key(body: &Bytes, key: &str) -> Bytes {
    match serde_json::from_slice(body) {
        Ok(Value::Object(mut event)) => {
            event.insert("routing_key".to_owned(), key.into());
            Value::Object(event).to_string().into()
        }
        Ok(_) | Err(_) => body.clone(),
    }
}

/// 202 is taken; 400 is a bad event or key; 429 and 5xx come again, and so does any other 2xx,
/// which is not the service's but that of something in between.
pub(super) fn judge(answer: &Answer) -> Judged {
    let told: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let status = told.as_ref().and_then(|told| told.get("status")?.as_str());
    let code = status.map(|status| excerpt(status.as_bytes()));
    let outcome = match answer.status {
        202 => Outcome::Accepted,
        200..=299 => {
            let why = format!("answered {} instead of 202", answer.status);
            Outcome::Retry { after: answer.retry_after, why }
        }
        _ => by_status(answer),
    };
    Judged { outcome, code }
}
