//! The queue of one receiver as a state machine: order, retries, coalescing, bounds. No IO, no
//! clock: the time is passed in.
//!
//! A *lane* holds the messages of one incident. At most one of a lane is in flight, and none is
//! sent before its elder is delivered or dead, so a receiver sees an incident in order. Lanes do
//! not wait for each other.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use reachd_core::time::Instant;

/// Bounds of a queue.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Messages waiting or in flight.
    pub capacity: usize,
    /// Messages in flight at once.
    pub in_flight: usize,
    /// First delay before a retry; doubles each time.
    pub delay_min: Duration,
    /// Longest delay between retries that we choose ourselves.
    pub delay_max: Duration,
    /// Longest delay that a receiver may ask for.
    pub retry_after_max: Duration,
    /// Age at which a message is given up.
    pub max_age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            capacity: 1024,
            in_flight: 4,
            delay_min: Duration::from_secs(1),
            delay_max: Duration::from_secs(60),
            retry_after_max: Duration::from_secs(3600),
            max_age: Duration::from_secs(72 * 3600),
        }
    }
}

/// After so many failures in a row only one message at a time is tried.
const FAILURES_BEFORE_CAUTION: u32 = 5;

/// A message's identity, the same over all attempts; receivers recognise duplicates by it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MessageId {
    /// The incident.
    pub fingerprint: String,
    /// Its version.
    pub version: u64,
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.fingerprint, self.version)
    }
}

/// A rendered notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Identity.
    pub id: MessageId,
    /// Whether it says that the incident is over.
    pub resolved: bool,
    /// The bytes to post, the same over all attempts.
    pub body: Bytes,
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
    /// The receiver will never take this message.
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
    /// The receiver refused it.
    Refused,
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
            Self::Refused => "refused",
            Self::Gone => "gone",
            Self::Overflow => "overflow",
            Self::Expired => "expired",
        }
    }
}

/// What the queue did: for counting, and for a durable copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A message came in.
    Queued(MessageId),
    /// A newer one of the same state took its place.
    Superseded(MessageId),
    /// Delivered.
    Delivered(MessageId),
    /// An attempt failed.
    Retried(MessageId),
    /// Given up.
    Dead(MessageId, DeadReason),
    /// The receiver is not used any more.
    Disabled,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Send this and report with [`Delivery::settle`].
    Send(Message),
    /// Nothing until then, or until something else happens.
    Wait(Option<Instant>),
}

#[derive(Debug)]
struct Waiting {
    message: Message,
    since: Instant,
    sequence: u64,
}

#[derive(Debug, Default)]
struct Lane {
    waiting: VecDeque<Waiting>,
    flying: Option<Waiting>,
    attempts: u32,
    not_before: Instant,
    /// The newest version ever offered; older ones are duplicates.
    newest: u64,
    /// The newest offer was firing: the receiver is owed a resolved.
    open: bool,
}

impl Lane {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.flying.is_none()
    }

    fn queued(&self) -> usize {
        self.waiting.len() + usize::from(self.flying.is_some())
    }
}

/// The queue of one receiver.
///
/// Lanes of open incidents are remembered after delivery (their number is bounded by the plan's
/// targets and vantages); the messages are bounded by [`Limits::capacity`].
#[derive(Debug)]
pub struct Delivery {
    limits: Limits,
    random: u64,
    lanes: BTreeMap<String, Lane>,
    sequence: u64,
    failures: u32,
    not_before: Instant,
    disabled: bool,
    changes: Vec<Change>,
}

impl Delivery {
    /// An empty queue; the seed spreads the retries.
    pub fn new(limits: Limits, seed: u64) -> Self {
        Self {
            limits,
            random: seed,
            lanes: BTreeMap::new(),
            sequence: 0,
            failures: 0,
            not_before: Instant::ZERO,
            disabled: false,
            changes: Vec::new(),
        }
    }

    /// Takes a message. One with a version that was seen before is ignored. It replaces a waiting
    /// one of the same state, never one of the other: firing and resolved are both told.
    pub fn offer(&mut self, now: Instant, message: Message) {
        let id = message.id.clone();
        let lane = self.lanes.entry(id.fingerprint.clone()).or_default();
        if id.version <= lane.newest {
            return;
        }
        (lane.newest, lane.open) = (id.version, !message.resolved);
        self.changes.push(Change::Queued(id.clone()));
        if self.disabled {
            self.changes.push(Change::Dead(id, DeadReason::Gone));
            self.forget_idle();
            return;
        }
        self.sequence += 1;
        let arriving = Waiting { message, since: now, sequence: self.sequence };
        match lane.waiting.back_mut() {
            Some(last) if last.message.resolved == arriving.message.resolved => {
                // Keeps its place in the order of lanes and its age.
                let old = std::mem::replace(&mut last.message, arriving.message);
                self.changes.push(Change::Superseded(old.id));
            }
            Some(_) | None => lane.waiting.push_back(arriving),
        }
        if self.queued() > self.limits.capacity {
            self.overflow();
        }
    }

    /// Says how an attempt ended.
    pub fn settle(&mut self, now: Instant, id: &MessageId, outcome: &Outcome) {
        let Some(lane) = self.lanes.get_mut(&id.fingerprint) else { return };
        let Some(landed) = lane.flying.take_if(|flying| flying.message.id == *id) else { return };
        match outcome {
            Outcome::Accepted => {
                (self.failures, lane.attempts) = (0, 0);
                self.changes.push(Change::Delivered(id.clone()));
            }
            Outcome::Retry { after, .. } => self.retry(now, landed, *after),
            Outcome::Refused { .. } => {
                lane.attempts = 0;
                self.changes.push(Change::Dead(id.clone(), DeadReason::Refused));
            }
            Outcome::Gone => {
                self.changes.push(Change::Dead(id.clone(), DeadReason::Gone));
                self.disable();
            }
        }
        self.forget_idle();
    }

    /// Gives the next thing to do. To be asked until it says wait.
    pub fn poll(&mut self, now: Instant) -> Next {
        self.expire(now);
        let flying = self.lanes.values().filter(|lane| lane.flying.is_some()).count();
        let allowed =
            if self.failures >= FAILURES_BEFORE_CAUTION { 1 } else { self.limits.in_flight };
        if flying >= allowed {
            return Next::Wait(None);
        }
        let pause = self.not_before;
        let ready = self.lanes.values_mut().filter_map(|lane| {
            let sequence = lane.waiting.front()?.sequence;
            lane.flying.is_none().then_some((lane.not_before.max(pause), sequence, lane))
        });
        let first = ready.min_by_key(|(at, sequence, _)| ((*at).max(now), *sequence));
        match first {
            None => Next::Wait(None),
            Some((at, _, _)) if at > now => Next::Wait(Some(at)),
            Some((_, _, lane)) => {
                lane.flying = lane.waiting.pop_front();
                match &lane.flying {
                    Some(flying) => Next::Send(flying.message.clone()),
                    None => Next::Wait(None),
                }
            }
        }
    }

    /// What happened since this was last asked.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Messages that are not delivered yet.
    pub fn queued(&self) -> usize {
        self.lanes.values().map(Lane::queued).sum()
    }

    /// Whether the receiver was told, or is about to be, that this incident fires, and not yet
    /// offered its end.
    pub fn is_open(&self, fingerprint: &str) -> bool {
        self.lanes.get(fingerprint).is_some_and(|lane| lane.open)
    }

    /// Whether the receiver is not used any more.
    pub const fn is_disabled(&self) -> bool {
        self.disabled
    }

    /// Puts a message back to the front of its lane, unless a newer one of its state waits there.
    fn retry(&mut self, now: Instant, landed: Waiting, after: Option<Duration>) {
        self.failures = self.failures.saturating_add(1);
        let after = after.map(|after| after.min(self.limits.retry_after_max));
        if let Some(after) = after {
            self.not_before = self.not_before.max(now + after);
        }
        let id = landed.message.id.clone();
        let attempts = self.lanes.get(&id.fingerprint).map_or(0, |lane| lane.attempts);
        let delay = self.delay(attempts);
        let Some(lane) = self.lanes.get_mut(&id.fingerprint) else { return };
        lane.attempts = lane.attempts.saturating_add(1);
        lane.not_before = now + delay;
        self.changes.push(Change::Retried(id.clone()));
        match lane.waiting.front_mut() {
            Some(next) if next.message.resolved == landed.message.resolved => {
                (next.since, next.sequence) = (landed.since, landed.sequence);
                self.changes.push(Change::Superseded(id));
            }
            Some(_) | None => lane.waiting.push_front(landed),
        }
    }

    /// Doubles with every attempt, up to a limit, less up to a half by chance.
    fn delay(&mut self, attempts: u32) -> Duration {
        let doubled = self.limits.delay_min.saturating_mul(1 << attempts.min(20));
        let longest = doubled.min(self.limits.delay_max);
        // SplitMix64 (Steele, Lea, Flood 2014).
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let thousandths = u32::try_from(mixed % 501).unwrap_or(0);
        longest - longest * thousandths / 1000
    }

    /// Gives up one message: the oldest that a later one of its lane overtakes, else the oldest
    /// firing, else the oldest. What is in flight cannot be called back.
    fn overflow(&mut self) {
        let mut victim: Option<((u8, u64), &str, usize)> = None;
        for (fingerprint, lane) in &self.lanes {
            for (index, waiting) in lane.waiting.iter().enumerate() {
                let last = index + 1 == lane.waiting.len();
                let rank = match (last, waiting.message.resolved) {
                    (false, _) => 0,
                    (true, false) => 1,
                    (true, true) => 2,
                };
                let key = (rank, waiting.sequence);
                if victim.is_none_or(|(least, _, _)| key < least) {
                    victim = Some((key, fingerprint, index));
                }
            }
        }
        let Some((_, fingerprint, index)) = victim else { return };
        let fingerprint = fingerprint.to_owned();
        let dropped = self.lanes.get_mut(&fingerprint).and_then(|lane| lane.waiting.remove(index));
        if let Some(dropped) = dropped {
            self.changes.push(Change::Dead(dropped.message.id, DeadReason::Overflow));
        }
        self.forget_idle();
    }

    fn expire(&mut self, now: Instant) {
        let (max_age, changes) = (self.limits.max_age, &mut self.changes);
        for lane in self.lanes.values_mut() {
            lane.waiting.retain(|waiting| {
                let young = now.since(waiting.since) < max_age;
                if !young {
                    let id = waiting.message.id.clone();
                    changes.push(Change::Dead(id, DeadReason::Expired));
                }
                young
            });
        }
        self.forget_idle();
    }

    fn disable(&mut self) {
        self.disabled = true;
        self.changes.push(Change::Disabled);
        for lane in self.lanes.values_mut() {
            let dropped = lane.waiting.drain(..).map(|waiting| waiting.message.id);
            self.changes.extend(dropped.map(|id| Change::Dead(id, DeadReason::Gone)));
        }
    }

    /// Forgets incidents that are over and told.
    fn forget_idle(&mut self) {
        self.lanes.retain(|_, lane| lane.open || !lane.is_idle());
    }
}

#[cfg(test)]
mod tests;
