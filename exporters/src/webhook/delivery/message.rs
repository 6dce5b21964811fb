//! What goes through a queue, and what the queue says of it.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use reachd_core::time::Instant;

/// Bounds of a queue.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Messages waiting or in flight.
    pub capacity: usize,
    /// Bytes of their bodies.
    pub bytes: usize,
    /// Messages in flight at once.
    pub in_flight: usize,
    /// Longest delay that a receiver may ask for.
    pub retry_after_max: Duration,
    /// Age at which a message is given up.
    pub max_age: Duration,
    /// What is sent of messages that have gathered.
    pub backlog: Backlog,
}

/// What is sent of the messages that have gathered while a receiver took nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backlog {
    /// Every one.
    #[default]
    All,
    /// Of each incident the newest.
    Coalesce,
    /// One digest of the incidents that opened and were over meanwhile; of the others the newest.
    Digest,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            capacity: 8192,
            bytes: 64 << 20,
            in_flight: 4,
            retry_after_max: Duration::from_secs(3600),
            max_age: Duration::from_secs(72 * 3600),
            backlog: Backlog::All,
        }
    }
}

/// Which step a message tells.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MessageId {
    /// The incident.
    pub fingerprint: String,
    /// Its version.
    pub version: u64,
}

impl MessageId {
    /// Whether it is of an incident, which will be over; messages about messages stand alone.
    pub fn is_incident(&self) -> bool {
        !self.fingerprint.starts_with("dead-") && !self.fingerprint.starts_with("digest-")
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.fingerprint, self.version)
    }
}

/// A rendered notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Whose turn it is: the newest of an incident says more than those before it.
    pub id: MessageId,
    /// What the receiver knows it by, the same over all attempts and in the outbox's list.
    pub name: String,
    /// Whether it says that the incident is over.
    pub resolved: bool,
    /// The bytes to post, the same over all attempts.
    pub body: Bytes,
    /// How late this attempt is; a receiver may not want to wake anybody for old news.
    pub late: Late,
}

/// How late an attempt to deliver a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Late {
    /// How long the message has waited.
    pub queued: Duration,
    /// Attempts before this one.
    pub attempts: u32,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver took it.
    Accepted,
    /// Try again later.
    Retry {
        /// How long the receiver asked us to leave it alone.
        after: Option<Duration>,
        /// Why, for the log.
        why: String,
    },
    /// The receiver listened and does not want this message as it is. That may be its own fault, a
    /// bad deploy: it is tried again, but seldom.
    Refused {
        /// Why, for the log.
        why: String,
    },
    /// The receiver is gone for good.
    Gone,
}

/// Why a message was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadReason {
    /// The receiver is gone.
    Gone,
    /// The queue was full.
    Overflow,
    /// It was not taken for too long.
    Expired,
}

impl DeadReason {
    /// A word for the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Overflow => "overflow",
            Self::Expired => "expired",
        }
    }
}

/// The end of a message that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// Why it was given up.
    pub reason: DeadReason,
    /// How the last attempt failed, if there was one.
    pub last_error: Option<String>,
    /// Attempts so far.
    pub attempts: u32,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.last_error {
            None => f.write_str(self.reason.as_str()),
            Some(error) => write!(f, "{}: {error}", self.reason.as_str()),
        }
    }
}

/// What the queue did: for counting, and for a durable copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A message came in.
    Queued(MessageId),
    /// A newer one of its incident says all it said.
    Superseded(MessageId),
    /// A digest is to tell it, together with all that are handed out with it.
    Digested(MessageId),
    /// Delivered, with this many attempts.
    Delivered(MessageId, u32),
    /// An attempt failed.
    Retried(MessageId, Trial),
    /// Given up.
    Dead(MessageId, Death),
    /// The receiver is not used any more.
    Disabled,
}

/// An attempt that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// Attempts so far.
    pub attempts: u32,
    /// When it is tried again at the earliest.
    pub again: Instant,
    /// Why.
    pub why: String,
    /// Whether the receiver listened and refused it.
    pub refused: bool,
}

/// A message that was owed before a start, or that a person made owed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// The message.
    pub message: Message,
    /// Attempts so far.
    pub attempts: u32,
    /// How long it has been waiting.
    pub age: Duration,
    /// How long it was to wait still.
    pub wait: Duration,
    /// How the last attempt failed.
    pub last_error: Option<String>,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Send this and report with [`settle`](super::Delivery::settle).
    Send(Message),
    /// Nothing until then, or until something else happens.
    Wait(Option<Instant>),
}
