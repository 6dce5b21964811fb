//! Mail: one message per step of an incident, all of one incident in one thread.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Hidden;
use super::story::Story;
use super::text::{cut, one_line};

/// Longest subject before it is encoded.
const SUBJECT_MAX: usize = 200;
/// RFC 2047 2: an encoded word has at most 75 characters; 45 bytes become 60, and 12 go around.
const WORD_BYTES: usize = 45;
/// RFC 2045 6.8: 76 characters a line, 57 bytes.
const LINE_BYTES: usize = 57;

/// What encrypts the way to a mail server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MailTls {
    /// TLS or no mail.
    #[default]
    Required,
    /// TLS where the server offers it; the password is never sent without.
    IfOffered,
    /// None; no password is ever sent.
    Off,
}

/// From whom and to whom mail goes.
#[derive(Debug, Clone)]
pub struct Mailbox {
    /// The sender's address.
    pub from: String,
    /// The recipients' addresses.
    pub to: Vec<String>,
    /// Who signs in, if anybody.
    pub username: Option<String>,
    /// With which password.
    pub password: Option<Hidden>,
    /// What encrypts the way.
    pub tls: MailTls,
}

/// A whole message (RFC 5322), lines ended by CR LF.
pub(super) fn render(story: &Story, text: &str, mailbox: &Mailbox) -> Vec<u8> {
    let domain = mailbox.from.rsplit('@').next().unwrap_or("localhost");
    let id = format!("{}.{}@{domain}", story.fingerprint, story.version);
    let when = if story.ended.is_empty() { &story.started } else { &story.ended };
    let mut message = String::new();
    let mut header = |name: &str, value: &str| {
        // Addresses and names were checked; a line end would still begin a header of its own.
        let _ = write!(message, "{name}: {}\r\n", one_line(value));
    };
    header("From", &mailbox.from);
    header("To", &mailbox.to.join(", "));
    header("Date", &date(when));
    header("Message-ID", &format!("<{id}>"));
    header("In-Reply-To", &format!("<{}@{domain}>", story.fingerprint));
    header("References", &format!("<{}@{domain}>", story.fingerprint));
    header("Auto-Submitted", "auto-generated");
    header("X-Reachd-Status", story.status);
    header("X-Reachd-Fingerprint", &story.fingerprint);
    header("X-Reachd-Version", &story.version.to_string());
    header("MIME-Version", "1.0");
    header("Content-Type", "text/plain; charset=utf-8");
    header("Content-Transfer-Encoding", "base64");
    let subject = cut(&one_line(&story.heading), SUBJECT_MAX);
    let _ = write!(message, "Subject: {}\r\n\r\n", encoded(&subject));
    let crlf = text.replace('\n', "\r\n") + "\r\n";
    for line in crlf.as_bytes().chunks(LINE_BYTES) {
        message.push_str(&STANDARD.encode(line));
        message.push_str("\r\n");
    }
    message.into_bytes()
}

/// RFC 5322's form of an RFC 3339 date.
fn date(rfc3339: &str) -> String {
    let parsed: Option<jiff::Timestamp> = rfc3339.parse().ok();
    let zoned = parsed.map(|at| at.to_zoned(jiff::tz::TimeZone::UTC));
    let written = zoned.and_then(|at| jiff::fmt::rfc2822::to_string(&at).ok());
    written.unwrap_or_else(|| "Thu, 1 Jan 1970 00:00:00 +0000".to_owned())
}

/// As it is where it is ASCII, else in encoded words that end at letters (RFC 2047 5).
fn encoded(text: &str) -> String {
    if text.is_ascii() && !text.contains("=?") {
        return text.to_owned();
    }
    let mut words: Vec<String> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (word, tail) = rest.split_at(rest.floor_char_boundary(WORD_BYTES));
        words.push(format!("=?UTF-8?B?{}?=", STANDARD.encode(word)));
        rest = tail;
    }
    words.join("\r\n ")
}
