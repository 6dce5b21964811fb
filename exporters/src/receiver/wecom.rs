//! WeCom's group robots. The key in the URL is all the secret there is.

use std::time::Duration;

use serde_json::json;

use super::robot::{self, Meaning};
use super::text::cut;
use super::{Answer, Judged};

/// The service's own limit of a Markdown message.
const TEXT_MAX: usize = 4_096;
/// It takes 20 messages a minute.
const PAUSE: Duration = Duration::from_secs(60);

pub(super) fn render(text: &str) -> Vec<u8> {
    let body = json!({ "msgtype": "markdown", "markdown": { "content": cut(text, TEXT_MAX) } });
    body.to_string().into_bytes()
}

/// Codes of the service's own list: -1 busy, 45009 too often, 45033 too many at once; 93000 is a
/// wrong key.
pub(super) fn judge(answer: &Answer) -> Judged {
    robot::judge(answer, (&["errcode"], &["errmsg"]), |code| match code {
        45_009 | 45_033 => Meaning::Pause(PAUSE),
        -1 => Meaning::Later,
        _ => Meaning::Never,
    })
}
