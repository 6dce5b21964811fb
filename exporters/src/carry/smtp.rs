//! One mail over SMTP (RFC 5321), with STARTTLS (RFC 3207) and AUTH PLAIN or LOGIN (RFC 4954).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;
use tracing::warn;

use super::connect::{Place, Stream, Ways, encrypt, tls};
use super::{Carried, CarrierError, Route, ways};
use crate::chain;
use crate::receiver::{Hidden, MailTls, Mailbox, excerpt};
use crate::webhook::delivery::Outcome;

/// How long an attempt may take in all; servers look a sender up before they answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// So long a mail is tried for those who may not have it yet, after others have it: greylists admit
/// a sender after some minutes (RFC 6647 2.2), and the incident's next mail waits behind this one.
const LATER: Duration = Duration::from_secs(15 * 60);

/// What became of a mail is remembered no longer than any mail is tried.
const FORGOTTEN: Duration = Duration::from_secs(73 * 3600);

/// The longest answer that is read: a hundred lines of the longest kind (RFC 5321 4.5.3.1.5).
const MAX_ANSWER: usize = 16 * 1024;

const USUAL: [(&str, u16); 2] = [("smtp", 587), ("smtps", 465)];

/// A mail client for one receiver.
pub(super) struct Smtp {
    place: Place,
    ways: Ways,
    /// What begins TLS after STARTTLS.
    upgrade: Option<tokio_rustls::TlsConnector>,
    mailbox: Mailbox,
    receiver: String,
    /// Who has which mail already, by its hash: others wait for it.
    partial: Mutex<BTreeMap<Vec<u8>, Partial>>,
}

/// A mail that some have and others do not.
struct Partial {
    since: Instant,
    taken: BTreeSet<String>,
}

/// Why a mail was not taken.
#[derive(Debug)]
enum Failure {
    /// The server said so.
    Refused { code: u16, said: String },
    /// There was no proper answer, or no safe way.
    Broken(String),
}

struct Reply {
    code: u16,
    text: String,
}

/// A conversation and what was read of it beyond the last reply.
struct Talk {
    stream: Box<dyn Stream>,
    rest: Vec<u8>,
}

impl Smtp {
    pub(super) fn new(
        receiver: &str,
        route: &Route,
        mailbox: Mailbox,
    ) -> Result<Self, CarrierError> {
        let (parts, mut ways) = ways(receiver, route, ("smtp:// or smtps://", &USUAL))?;
        let connector = || {
            let roots = |error| CarrierError::Roots { receiver: receiver.to_owned(), error };
            tls(route.authorities.as_deref()).map(Some).map_err(roots)
        };
        let mut upgrade = None;
        if parts.scheme == "smtps" {
            ways.tls = connector()?;
        } else if mailbox.tls != MailTls::Off {
            upgrade = connector()?;
        }
        let (receiver, partial) = (receiver.to_owned(), Mutex::default());
        Ok(Self { place: parts.place, ways, upgrade, mailbox, receiver, partial })
    }

    /// Sends a message once.
    pub(super) async fn send(&self, message: &[u8]) -> Carried {
        match tokio::time::timeout(TIMEOUT, self.attempt(message)).await {
            Ok(Ok(code)) => Carried { outcome: Outcome::Accepted, status: Some(code), code: None },
            Ok(Err(Failure::Broken(why))) => Carried::retry(why),
            // RFC 5321 4.2.1: 5yz will not change by itself, 4yz may.
            Ok(Err(Failure::Refused { code, said })) => {
                let why = format!("answered {code}: {said}");
                let outcome = match code {
                    500..=599 => Outcome::Refused { why },
                    _ => Outcome::Retry { after: None, why },
                };
                Carried { outcome, status: Some(code), code: None }
            }
            Err(_) => Carried::retry("no answer within 30 s".to_owned()),
        }
    }

    async fn attempt(&self, message: &[u8]) -> Result<u16, Failure> {
        let stream = self.ways.open(&self.place, true).await;
        let stream = stream.map_err(|error| Failure::Broken(chain(&error)))?;
        let mut talk = Talk { stream, rest: Vec::new() };
        let mut secure = self.ways.tls.is_some();
        talk.expect(2).await?;
        let mut offered = talk.hello().await?;
        if let (false, Some(connector)) = (secure, &self.upgrade) {
            if offers(&offered, "STARTTLS") {
                talk.ask("STARTTLS", 2).await?;
                // Whatever came in plain after the answer was put there by somebody else
                // (CVE-2011-0411): it is dropped.
                talk.rest.clear();
                let encrypted = encrypt(connector, talk.stream, &self.place.host).await;
                let stream = encrypted.map_err(|error| Failure::Broken(chain(&error)))?;
                talk = Talk { stream, rest: Vec::new() };
                secure = true;
                offered = talk.hello().await?;
            } else if self.mailbox.tls == MailTls::Required {
                return Err(Failure::Broken("the server offers no STARTTLS".to_owned()));
            }
        }
        if let (Some(user), Some(password)) = (&self.mailbox.username, &self.mailbox.password) {
            if !secure {
                return Err(Failure::Broken("a password is sent over TLS only".to_owned()));
            }
            talk.sign_in(user, password, &offered).await?;
        }
        self.hand_over(&mut talk, message).await
    }

    /// Whoever may have the mail gets it now (RFC 5321 3.3: one accepted recipient is enough for
    /// DATA). Those who may not yet (4yz: a full mailbox, a greylist) are tried again for some
    /// time, alone; those who may not at all are told of in the log.
    async fn hand_over(&self, talk: &mut Talk, message: &[u8]) -> Result<u16, Failure> {
        let key = digest(&SHA256, message).as_ref().to_vec();
        let (had, waited) = self.had(&key);
        talk.ask(&format!("MAIL FROM:<{}>", self.mailbox.from), 2).await?;
        let (mut taken, mut later, mut never) = (BTreeSet::new(), None, None);
        for to in self.mailbox.to.iter().filter(|to| !had.contains(*to)) {
            match talk.ask(&format!("RCPT TO:<{to}>"), 2).await {
                Ok(_) => drop(taken.insert(to.clone())),
                Err(Failure::Broken(why)) => return Err(Failure::Broken(why)),
                Err(Failure::Refused { code, said }) => {
                    if code >= 500 || waited {
                        let (receiver, to) = (&self.receiver, to.as_str());
                        warn!(receiver, to, code, said, "The mail server refuses a recipient");
                        never = Some(Failure::Refused { code, said });
                    } else {
                        later = Some(Failure::Refused { code, said });
                    }
                }
            }
        }
        let nobody = had.is_empty() && taken.is_empty();
        match (later, never) {
            (Some(later), _) if taken.is_empty() => Err(later),
            (None, Some(never)) if nobody => Err(never),
            (later, _) => {
                let mut code = 250;
                if !taken.is_empty() {
                    talk.ask("DATA", 3).await?;
                    talk.write(&stuffed(message)).await?;
                    code = talk.expect(2).await?.code;
                }
                self.remember(key, taken, later.is_some());
                // The mail is taken; how the conversation ends does not matter.
                let _ = talk.write(b"QUIT\r\n").await;
                later.map_or(Ok(code), Err)
            }
        }
    }

    /// Who has a mail already, and whether the others have had their time.
    fn had(&self, key: &[u8]) -> (BTreeSet<String>, bool) {
        let partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
        let known = partial.get(key);
        known.map_or_else(Default::default, |known| {
            (known.taken.clone(), known.since.elapsed() >= LATER)
        })
    }

    fn remember(&self, key: Vec<u8>, taken: BTreeSet<String>, unfinished: bool) {
        let mut partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
        if !unfinished {
            partial.remove(&key);
            return;
        }
        // Those that were given up meanwhile are of no use any more.
        partial.retain(|_, known| known.since.elapsed() < FORGOTTEN);
        let fresh = || Partial { since: Instant::now(), taken: BTreeSet::new() };
        partial.entry(key).or_insert_with(fresh).taken.extend(taken);
    }
}

impl Talk {
    async fn hello(&mut self) -> Result<Reply, Failure> {
        self.ask("EHLO reachd.invalid", 2).await
    }

    async fn sign_in(
        &mut self,
        user: &str,
        password: &Hidden,
        offered: &Reply,
    ) -> Result<(), Failure> {
        let mechanisms = offered.text.lines().find(|line| line.starts_with("AUTH"));
        let mechanisms = mechanisms.unwrap_or_default();
        let has = |name: &str| mechanisms.split([' ', '=']).any(|word| word == name);
        if has("LOGIN") && !has("PLAIN") {
            self.ask("AUTH LOGIN", 3).await?;
            self.ask(&STANDARD.encode(user), 3).await?;
            self.ask(&STANDARD.encode(password.reveal()), 2).await?;
        } else {
            let token = STANDARD.encode(format!("\0{user}\0{}", password.reveal()));
            self.ask(&format!("AUTH PLAIN {token}"), 2).await?;
        }
        Ok(())
    }

    async fn ask(&mut self, command: &str, wanted: u16) -> Result<Reply, Failure> {
        self.write(format!("{command}\r\n").as_bytes()).await?;
        self.expect(wanted).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let broken = |error: std::io::Error| Failure::Broken(error.to_string());
        self.stream.write_all(bytes).await.map_err(broken)?;
        self.stream.flush().await.map_err(broken)
    }

    /// A reply whose code begins with this digit.
    async fn expect(&mut self, wanted: u16) -> Result<Reply, Failure> {
        let reply = self.reply().await?;
        if reply.code / 100 == wanted {
            return Ok(reply);
        }
        Err(Failure::Refused { code: reply.code, said: excerpt(reply.text.as_bytes()) })
    }

    /// All lines of a reply; the last has no hyphen after its code.
    async fn reply(&mut self) -> Result<Reply, Failure> {
        let mut text = String::new();
        loop {
            let line = self.line().await?;
            let strange = || Failure::Broken("the answer is not SMTP".to_owned());
            let code = line.get(..3).and_then(|code| code.parse().ok());
            let code: u16 = code.filter(|code| (200..600).contains(code)).ok_or_else(strange)?;
            text.push_str(line.get(4..).unwrap_or_default().trim_end());
            text.push('\n');
            if text.len() > MAX_ANSWER {
                return Err(strange());
            }
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(Reply { code, text });
            }
        }
    }

    async fn line(&mut self) -> Result<String, Failure> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            if self.rest.len() > MAX_ANSWER {
                return Err(Failure::Broken("the answer has no end".to_owned()));
            }
            let mut piece = [0; 1024];
            let read = self.stream.read(&mut piece).await;
            let read = read.map_err(|error| Failure::Broken(error.to_string()))?;
            if read == 0 {
                return Err(Failure::Broken("the connection ended".to_owned()));
            }
            self.rest.extend_from_slice(piece.get(..read).unwrap_or_default());
        }
    }
}

fn offers(hello: &Reply, extension: &str) -> bool {
    hello.text.lines().any(|line| line.eq_ignore_ascii_case(extension))
}

/// RFC 5321 4.5.2: a line that begins with a dot gets another; a lone dot ends the message.
fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut stuffed = Vec::with_capacity(message.len() + 8);
    for line in message.split_inclusive(|byte| *byte == b'\n') {
        if line.first() == Some(&b'.') {
            stuffed.push(b'.');
        }
        stuffed.extend_from_slice(line);
    }
    if !stuffed.ends_with(b"\r\n") {
        stuffed.extend_from_slice(b"\r\n");
    }
    stuffed.extend_from_slice(b".\r\n");
    stuffed
}

#[cfg(test)]
mod tests;
