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
    /// Bytes of their bodies.
    pub bytes: usize,
    /// Messages in flight at once.
    pub in_flight: usize,
    /// Longest delay that a receiver may ask for.
    pub retry_after_max: Duration,
    /// Age at which a message is given up.
    pub max_age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            capacity: 8192,
            bytes: 64 << 20,
            in_flight: 4,
            retry_after_max: Duration::from_secs(3600),
            max_age: Duration::from_secs(72 * 3600),
        }
    }
}

/// After so many failures in a row only one message at a time is tried; each success then doubles
/// their number.
const FAILURES_BEFORE_CAUTION: u32 = 5;

/// The longest pause between such tries, which are of one message after another.
const CAUTION: Duration = Duration::from_secs(5);

/// Longest delays before each retry, in seconds; the last one stays.
const DELAYS: [u64; 6] = [1, 2, 5, 10, 30, 60];

/// A message as old as this is tried only once in [`DELAY_OLD`].
const OLD: Duration = Duration::from_secs(6 * 3600);
const DELAY_OLD: Duration = Duration::from_secs(300);

/// What was owed before a start may wait so long at most, whatever the clock did meanwhile.
const DELAY_RESTORED: Duration = Duration::from_secs(60);

/// What was owed before a start is tried for so long at least before it is given up.
const GRACE: Duration = Duration::from_secs(300);

/// Messages are sent ten a second, ten of them at once: a receiver that comes back after hours is
/// not to die of what has gathered.
const SPACING: Duration = Duration::from_millis(100);
const BURST: Duration = Duration::from_millis(900);

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
    /// Delivered, with this many attempts.
    Delivered(MessageId, u32),
    /// An attempt failed.
    Retried(MessageId, Trial),
    /// Given up.
    Dead(MessageId, DeadReason),
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
    /// Its age at that moment.
    age: Duration,
    sequence: u64,
    attempts: u32,
}

impl Waiting {
    fn version(&self) -> u64 {
        self.message.id.version
    }

    fn age(&self, now: Instant) -> Duration {
        now.since(self.since) + self.age
    }
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

    /// Of neighbours that say the same only the newer waits on, with the place and age of the
    /// older.
    fn coalesce(&mut self, changes: &mut Vec<Change>) {
        let mut index = 1;
        while let (Some(older), Some(newer)) =
            (self.waiting.get(index - 1), self.waiting.get(index))
        {
            if older.message.resolved != newer.message.resolved {
                index += 1;
                continue;
            }
            let Some(gone) = self.waiting.remove(index - 1) else { return };
            if let Some(newer) = self.waiting.get_mut(index - 1) {
                (newer.since, newer.age, newer.sequence) = (gone.since, gone.age, gone.sequence);
            }
            changes.push(Change::Superseded(gone.message.id));
        }
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
    /// Messages in flight at once, now.
    width: usize,
    not_before: Instant,
    /// When the next one would be sent if they were evenly spaced.
    next_turn: Instant,
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
            width: limits.in_flight,
            not_before: Instant::ZERO,
            next_turn: Instant::ZERO,
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
        let sequence = self.sequence;
        let arriving = Waiting { message, since: now, age: Duration::ZERO, sequence, attempts: 0 };
        match lane.waiting.back_mut() {
            Some(last) if last.message.resolved == arriving.message.resolved => {
                // Keeps its place in the order of lanes and its age.
                let old = std::mem::replace(&mut last.message, arriving.message);
                last.attempts = 0;
                self.changes.push(Change::Superseded(old.id));
            }
            Some(_) | None => lane.waiting.push_back(arriving),
        }
        self.overflow();
    }

    /// Takes back what an earlier run left, or a person revived: its place is that of its version.
    /// One that is here already is ignored, one that a newer of its lane overtakes is superseded.
    pub fn restore(&mut self, now: Instant, owed: Owed) {
        let id = owed.message.id.clone();
        if self.disabled {
            self.changes.push(Change::Dead(id, DeadReason::Gone));
            return;
        }
        let lane = self.lanes.entry(id.fingerprint.clone()).or_default();
        let here = |waiting: &Waiting| waiting.version() == id.version;
        if lane.flying.iter().chain(&lane.waiting).any(here) {
            return;
        }
        if lane.flying.as_ref().is_some_and(|flying| flying.version() > id.version) {
            self.changes.push(Change::Superseded(id));
            return;
        }
        if id.version > lane.newest {
            (lane.newest, lane.open) = (id.version, !owed.message.resolved);
        }
        self.sequence += 1;
        let age = owed.age.min(self.limits.max_age.saturating_sub(GRACE));
        let (sequence, attempts) = (self.sequence, owed.attempts);
        let wait = owed.wait.min(DELAY_RESTORED);
        let place = lane.waiting.iter().take_while(|one| one.version() < id.version).count();
        if place == 0 {
            (lane.attempts, lane.not_before) = (attempts, now + wait);
        }
        let message = owed.message;
        lane.waiting.insert(place, Waiting { message, since: now, age, sequence, attempts });
        lane.coalesce(&mut self.changes);
        self.changes.push(Change::Queued(id));
        self.overflow();
    }

    /// Remembers the last that a receiver was offered of an incident before a start.
    pub fn remember(&mut self, fingerprint: &str, version: u64, resolved: bool) {
        if !resolved {
            let lane = self.lanes.entry(fingerprint.to_owned()).or_default();
            if version > lane.newest {
                (lane.newest, lane.open) = (version, true);
            }
        }
    }

    /// A message is on its way here, by way of the disk: its end, should it come first, is owed.
    pub fn announce(&mut self, fingerprint: &str, resolved: bool) {
        if resolved && !self.lanes.contains_key(fingerprint) {
            return;
        }
        self.lanes.entry(fingerprint.to_owned()).or_default().open = !resolved;
    }

    /// Says how an attempt ended.
    pub fn settle(&mut self, now: Instant, id: &MessageId, outcome: &Outcome) {
        let Some(lane) = self.lanes.get_mut(&id.fingerprint) else { return };
        let Some(landed) = lane.flying.take_if(|flying| flying.message.id == *id) else { return };
        match outcome {
            Outcome::Accepted => {
                lane.attempts = 0;
                if self.failures >= FAILURES_BEFORE_CAUTION {
                    // It is back: what waits is held by the ramp and the spacing alone.
                    self.lanes.values_mut().for_each(|lane| lane.not_before = now);
                }
                self.failures = 0;
                self.width = self.width.saturating_mul(2).min(self.limits.in_flight);
                self.changes.push(Change::Delivered(id.clone(), landed.attempts + 1));
            }
            Outcome::Retry { after, why } => self.retry(now, landed, (*after, why)),
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
        if flying >= self.width {
            return Next::Wait(None);
        }
        let turn = now + self.next_turn.since(now).saturating_sub(BURST);
        let pause = self.not_before.max(turn);
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
                    Some(flying) => {
                        self.next_turn = self.next_turn.max(now) + SPACING;
                        let late = Late { queued: flying.age(now), attempts: flying.attempts };
                        Next::Send(Message { late, ..flying.message.clone() })
                    }
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

    /// The age of the oldest of them.
    pub fn oldest(&self, now: Instant) -> Option<Duration> {
        let lanes = self.lanes.values();
        let all = lanes.flat_map(|lane| lane.flying.iter().chain(&lane.waiting));
        all.map(|waiting| waiting.age(now)).max()
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
    fn retry(&mut self, now: Instant, mut landed: Waiting, (after, why): (Option<Duration>, &str)) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES_BEFORE_CAUTION {
            self.width = 1;
            let pause = self.spread(CAUTION);
            self.not_before = self.not_before.max(now + pause);
        }
        let after = after.map(|after| after.min(self.limits.retry_after_max));
        if let Some(after) = after {
            self.not_before = self.not_before.max(now + after);
        }
        let id = landed.message.id.clone();
        let attempts = self.lanes.get(&id.fingerprint).map_or(0, |lane| lane.attempts);
        let delay = match landed.age(now) >= OLD {
            true => self.spread(DELAY_OLD),
            false => self.delay(attempts),
        };
        let Some(lane) = self.lanes.get_mut(&id.fingerprint) else { return };
        lane.attempts = lane.attempts.saturating_add(1);
        lane.not_before = now + delay;
        landed.attempts = landed.attempts.saturating_add(1);
        let again = lane.not_before.max(self.not_before);
        let trial = Trial { attempts: landed.attempts, again, why: why.to_owned() };
        self.changes.push(Change::Retried(id.clone(), trial));
        lane.waiting.push_front(landed);
        lane.coalesce(&mut self.changes);
    }

    /// The delay before the next attempt.
    fn delay(&mut self, attempts: u32) -> Duration {
        let index = usize::try_from(attempts).unwrap_or(usize::MAX).min(DELAYS.len() - 1);
        self.spread(Duration::from_secs(DELAYS.get(index).copied().unwrap_or(60)))
    }

    /// Less up to a half by chance.
    fn spread(&mut self, longest: Duration) -> Duration {
        // SplitMix64 (Steele, Lea, Flood 2014).
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let thousandths = u32::try_from(mixed % 501).unwrap_or(0);
        longest - longest * thousandths / 1000
    }

    /// Gives up messages until there is room.
    fn overflow(&mut self) {
        while self.queued() > self.limits.capacity || self.bytes() > self.limits.bytes {
            if !self.give_up_one() {
                return;
            }
        }
    }

    fn bytes(&self) -> usize {
        let lanes = self.lanes.values();
        let all = lanes.flat_map(|lane| lane.flying.iter().chain(&lane.waiting));
        all.map(|waiting| waiting.message.body.len()).sum()
    }

    /// Gives up one message: the oldest that a later one of its lane overtakes, else the oldest
    /// firing, else the oldest. What is in flight cannot be called back.
    fn give_up_one(&mut self) -> bool {
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
        let Some((_, fingerprint, index)) = victim else { return false };
        let fingerprint = fingerprint.to_owned();
        let dropped = self.lanes.get_mut(&fingerprint).and_then(|lane| lane.waiting.remove(index));
        if let Some(dropped) = dropped {
            self.changes.push(Change::Dead(dropped.message.id, DeadReason::Overflow));
        }
        self.forget_idle();
        true
    }

    fn expire(&mut self, now: Instant) {
        let (max_age, changes) = (self.limits.max_age, &mut self.changes);
        for lane in self.lanes.values_mut() {
            lane.waiting.retain(|waiting| {
                let young = waiting.age(now) < max_age;
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
