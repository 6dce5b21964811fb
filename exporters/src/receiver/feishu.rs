//! Group robots of Feishu, and of Lark abroad.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::robot::{self, Meaning};
use super::story::Story;
use super::text::{cut, one_line};
use super::{Answer, Judged};

/// The service takes 20 KB in all.
const TEXT_MAX: usize = 12_000;
const TITLE_MAX: usize = 300;
/// It counts by the minute.
const PAUSE: Duration = Duration::from_secs(60);

pub(super) fn render(story: &Story, text: &str, keyword: Option<&str>) -> Vec<u8> {
    let text = cut(&robot::with_keyword(text, keyword), TEXT_MAX);
    let text = robot::with_keyword(&text, keyword);
    let color = match (story.resolved, story.severity) {
        (true, _) => "green",
        (false, "critical") => "red",
        (false, _) => "orange",
    };
    let title = cut(&one_line(&story.heading), TITLE_MAX);
    let body = json!({
        "msg_type": "interactive",
        "card": {
            "config": { "wide_screen_mode": true },
            "header": {
                "title": { "tag": "plain_text", "content": title }, "template": color,
            },
            "elements": [
                { "tag": "div", "text": { "tag": "lark_md", "content": text } },
            ],
        },
    });
    body.to_string().into_bytes()
}

/// Signed in the body: key are seconds, a line end and the secret; there are no data.
pub(super) fn signed(body: &Bytes, secret: &str, seconds: u64) -> Bytes {
    match serde_json::from_slice(body) {
        Ok(Value::Object(mut message)) => {
            let sign = robot::hmac_sha256(&format!("{seconds}\n{secret}"), "");
            message.insert("timestamp".to_owned(), seconds.to_string().into());
            message.insert("sign".to_owned(), sign.into());
            Value::Object(message).to_string().into()
        }
        Ok(_) | Err(_) => body.clone(),
    }
}

/// Codes of the service's own list: 9499, 11232 and 99991400 too fast; 19021 is a wrong sign or a
/// clock an hour off, 19022 an address outside its list, 19024 a missing keyword. Old robots say
/// `StatusCode`.
pub(super) fn judge(answer: &Answer) -> Judged {
    let fields = (&["code", "StatusCode"][..], &["msg", "StatusMessage"][..]);
    robot::judge(answer, fields, |code| match code {
        9_499 | 11_232 | 99_991_400 => Meaning::Pause(PAUSE),
        -1 => Meaning::Later,
        _ => Meaning::Never,
    })
}
