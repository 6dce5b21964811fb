//! DingTalk's group robots.

use std::time::{Duration, SystemTime};

use serde_json::json;

use super::robot::{self, Meaning};
use super::story::Story;
use super::text::{cut, one_line};
use super::{Answer, Judged};

/// The service takes 20,000 bytes in all.
const TEXT_MAX: usize = 14_000;
const TITLE_MAX: usize = 200;
/// Above 20 messages a minute it takes nothing for ten.
const PAUSE: Duration = Duration::from_secs(600);

pub(super) fn render(story: &Story, text: &str, keyword: Option<&str>) -> Vec<u8> {
    // Before it is cut, so that the keyword, which comes first, is never cut off.
    let text = cut(&robot::with_keyword(text, keyword), TEXT_MAX);
    let text = robot::with_keyword(&text, keyword);
    let title = cut(&one_line(&story.heading), TITLE_MAX);
    let body = json!({ "msgtype": "markdown", "markdown": { "title": title, "text": text } });
    body.to_string().into_bytes()
}

/// Signed in the query: key is the secret, data are milliseconds, a line end and the secret.
pub(super) fn signed(url: &str, secret: &str, now: SystemTime) -> String {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let millis = since.as_millis();
    let sign = robot::hmac_sha256(secret, &format!("{millis}\n{secret}"));
    let sign = sign.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let joint = if url.contains('?') { '&' } else { '?' };
    format!("{url}{joint}timestamp={millis}&sign={sign}")
}

/// Codes of the service's own list: -1 busy, 130101 and 410100 too fast; 310000 is a wrong sign, a
/// missing keyword or an address outside its list, 400101 a wrong token.
pub(super) fn judge(answer: &Answer) -> Judged {
    robot::judge(answer, (&["errcode"], &["errmsg"]), |code| match code {
        130_101 | 410_100 => Meaning::Pause(PAUSE),
        -1 => Meaning::Later,
        _ => Meaning::Never,
    })
}
