//! What each kind of receiver is told, and what its answers mean. Nothing here reads a clock, a
//! file or a socket.
//!
//! A message has three moments, and each kind is one file with a function for each: the body is
//! *rendered* when the message is queued, so that what is sent after a restart is what was meant
//! before; the request is *made* at each attempt, for signatures carry its time and secrets do not
//! belong in the queue; the answer is *judged*, by its status and, where services answer 200 to
//! everything, by the code inside.

mod dingtalk;
mod email;
mod feishu;
mod notice;
mod pagerduty;
mod robot;
mod slack;
mod story;
mod text;
mod wecom;

use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reachd_core::incident::IncidentUpdate;

pub use self::email::{MailTls, Mailbox};
pub use self::notice::{Letter, Notice};
pub(crate) use self::story::Story;
pub use self::text::TemplateError;
use self::text::{Markup, Texts};
use crate::clock::unix_seconds;
use crate::webhook::delivery::{Late, Message, Outcome};
use crate::webhook::payload::{self, Context};
use crate::webhook::signature::Secret;

/// A text that is neither shown nor logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    /// Hides a text.
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// What a receiver understands, and the secrets that go with it.
#[derive(Debug, Clone)]
pub enum Kind {
    /// Alertmanager's webhook JSON, version 4, signed by Standard Webhooks if there is a secret.
    Webhook {
        /// The key that signs.
        secret: Option<Secret>,
    },
    /// An incoming webhook of Slack, and of what imitates it.
    Slack,
    /// Events API version 2 of PagerDuty.
    PagerDuty {
        /// The integration key of the service.
        routing_key: Hidden,
    },
    /// A robot of a DingTalk group.
    DingTalk {
        /// The key that signs (`SEC...`).
        secret: Option<Hidden>,
        /// A word without which the robot takes no message.
        keyword: Option<String>,
    },
    /// A robot of a Feishu or Lark group.
    Feishu {
        /// The key that signs.
        secret: Option<Hidden>,
        /// A word without which the robot takes no message.
        keyword: Option<String>,
    },
    /// A robot of a WeCom group.
    WeCom,
    /// Mail.
    Email(Mailbox),
    /// A program of the owner's, which reads the webhook's JSON.
    Command,
}

impl Kind {
    const fn markup(&self) -> Markup {
        match self {
            Self::Slack => Markup::Slack,
            Self::DingTalk { .. } => Markup::DingTalk,
            Self::Feishu { .. } => Markup::Feishu,
            Self::WeCom => Markup::WeCom,
            Self::Webhook { .. } | Self::PagerDuty { .. } | Self::Email(_) | Self::Command => {
                Markup::Plain
            }
        }
    }

    /// What must never appear in a log.
    pub(crate) fn secrets(&self) -> Vec<&str> {
        match self {
            Self::PagerDuty { routing_key } => vec![routing_key.reveal()],
            Self::DingTalk { secret, .. } | Self::Feishu { secret, .. } => {
                secret.iter().map(Hidden::reveal).collect()
            }
            Self::Email(mailbox) => mailbox.password.iter().map(Hidden::reveal).collect(),
            Self::Webhook { .. } | Self::Slack | Self::WeCom | Self::Command => Vec::new(),
        }
    }
}

/// An HTTP request to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// The URL, with what is signed in its query.
    pub url: String,
    /// Headers besides the content type.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Bytes,
}

/// An HTTP answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// What `Retry-After` asks for.
    pub retry_after: Option<Duration>,
    /// The first bytes of the body.
    pub body: Vec<u8>,
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// What becomes of the message.
    pub outcome: Outcome,
    /// The code inside the answer, where the service has one.
    pub code: Option<String>,
}

impl Judged {
    /// Judged by the status alone.
    fn by_status(answer: &Answer) -> Self {
        Self { outcome: by_status(answer), code: None }
    }
}

/// One receiver's language: pure.
pub struct Dialect {
    kind: Kind,
    texts: Texts,
}

impl Dialect {
    /// The language of a kind, with the owner's template in place of the default if there is one.
    pub fn new(kind: Kind, template: Option<&str>) -> Result<Self, TemplateError> {
        let texts = Texts::new(kind.markup(), template)?;
        Ok(Self { kind, texts })
    }

    /// What it is the language of.
    pub const fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The body, without secrets. The same update in the same context gives the same bytes.
    pub fn render(&self, update: &IncidentUpdate, context: &Context<'_>) -> Vec<u8> {
        match self.kind {
            Kind::Webhook { .. } | Kind::Command => payload::render(update, context),
            Kind::Slack
            | Kind::PagerDuty { .. }
            | Kind::DingTalk { .. }
            | Kind::Feishu { .. }
            | Kind::WeCom
            | Kind::Email(_) => self.tell(&Story::new(update, context), context),
        }
    }

    /// What is wrong with the owner's template, tried on this update: the default text is sent.
    pub fn template_fault(&self, update: &IncidentUpdate, context: &Context<'_>) -> Option<String> {
        self.texts.own(&Story::new(update, context), context.language).err()
    }

    /// The body of a message about messages.
    pub fn render_notice(&self, notice: &Notice, context: &Context<'_>) -> Vec<u8> {
        match self.kind {
            Kind::Webhook { .. } | Kind::Command => payload::render_notice(notice, context),
            Kind::Slack
            | Kind::PagerDuty { .. }
            | Kind::DingTalk { .. }
            | Kind::Feishu { .. }
            | Kind::WeCom
            | Kind::Email(_) => self.tell(&notice.story(context), context),
        }
    }

    /// For people. Programs are told in JSON.
    fn tell(&self, story: &Story, context: &Context<'_>) -> Vec<u8> {
        let text = self.texts.render(story, context.language);
        match &self.kind {
            Kind::Slack => slack::render(story, &text),
            Kind::PagerDuty { .. } => pagerduty::render(story, &text),
            Kind::DingTalk { keyword, .. } => dingtalk::render(story, &text, keyword.as_deref()),
            Kind::Feishu { keyword, .. } => feishu::render(story, &text, keyword.as_deref()),
            Kind::WeCom => wecom::render(&text),
            Kind::Email(mailbox) => email::render(story, &text, mailbox),
            Kind::Webhook { .. } | Kind::Command => Vec::new(),
        }
    }

    /// The request of an attempt made at `now`.
    pub fn post(&self, url: &str, message: &Message, now: SystemTime) -> Post {
        let mut post =
            Post { url: url.to_owned(), headers: Vec::new(), body: message.body.clone() };
        match &self.kind {
            Kind::Webhook { secret } => sign_webhook(&mut post, message, secret.as_ref(), now),
            Kind::DingTalk { secret: Some(secret), .. } => {
                post.url = dingtalk::signed(url, secret.reveal(), now);
            }
            Kind::Feishu { secret: Some(secret), .. } => {
                post.body = feishu::signed(&message.body, secret.reveal(), unix_seconds(now));
            }
            Kind::PagerDuty { routing_key } => {
                post.body = pagerduty::with_key(&message.body, routing_key.reveal());
            }
            Kind::DingTalk { secret: None, .. }
            | Kind::Feishu { secret: None, .. }
            | Kind::Slack
            | Kind::WeCom
            | Kind::Email(_)
            | Kind::Command => {}
        }
        post
    }

    /// What an answer means.
    pub fn judge(&self, answer: &Answer) -> Judged {
        match &self.kind {
            Kind::Slack => slack::judge(answer),
            Kind::PagerDuty { .. } => pagerduty::judge(answer),
            Kind::DingTalk { .. } => dingtalk::judge(answer),
            Kind::Feishu { .. } => feishu::judge(answer),
            Kind::WeCom => wecom::judge(answer),
            Kind::Webhook { .. } | Kind::Email(_) | Kind::Command => Judged::by_status(answer),
        }
    }
}

/// Headers by the Standard Webhooks specification; id and time are there without a secret too.
fn sign_webhook(post: &mut Post, message: &Message, secret: Option<&Secret>, now: SystemTime) {
    let (id, seconds) = (message.name.clone(), unix_seconds(now));
    if let Some(secret) = secret {
        let signature = secret.sign(&id, seconds, &message.body);
        post.headers.push(("webhook-signature", signature));
    }
    post.headers.push(("webhook-id", id));
    post.headers.push(("webhook-timestamp", seconds.to_string()));
    // A receiver may not want to wake anybody for what happened hours ago.
    let Late { queued, attempts } = message.late;
    post.headers.push(("x-reachd-queued-seconds", queued.as_secs().to_string()));
    post.headers.push(("x-reachd-attempt", attempts.saturating_add(1).to_string()));
}

/// What a status means for the message. 3xx is retried too: a portal in between may go away.
pub(crate) fn by_status(answer: &Answer) -> Outcome {
    let why = format!("answered {}", answer.status);
    match answer.status {
        200..=299 => Outcome::Accepted,
        410 => Outcome::Gone,
        408 | 425 | 429 | 300..=399 | 500..=599 => {
            Outcome::Retry { after: answer.retry_after, why }
        }
        _ => Outcome::Refused { why },
    }
}

/// Foreign text fit for a log: one line, no control characters, not too long.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text::cut(&text::one_line(text.trim()), 200)
}

#[cfg(test)]
mod tests;
