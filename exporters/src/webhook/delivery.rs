//! The queue of one receiver as a state machine: order, retries, coalescing, bounds. No IO, no
//! clock: the time is passed in.
//!
//! A *lane* holds the messages of one incident. At most one of a lane is in flight, and none is
//! sent before its elder is delivered or dead, so a receiver sees an incident in order. Lanes do
//! not wait for each other: one whose message is refused holds up nobody else.

mod lane;
mod message;

use std::collections::BTreeMap;
use std::time::Duration;

use reachd_core::time::Instant;

use self::lane::{Lane, Waiting};
pub use self::message::{
    Backlog, Change, DeadReason, Death, Late, Limits, Message, MessageId, Next, Outcome, Owed,
    Trial,
};

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

/// Longest delays after the first refusals (4xx) of a message, in seconds; the last one stays.
/// Whoever refuses must be mended first, by people.
const DELAYS_REFUSED: [u64; 2] = [60, 300];

/// What was owed before a start may wait so long at most, whatever the clock did meanwhile.
const DELAY_RESTORED: Duration = Duration::from_secs(60);

/// What was owed before a start is tried for so long at least before it is given up.
const GRACE: Duration = Duration::from_secs(300);

/// Messages are sent ten a second, ten of them at once: a receiver that comes back after hours is
/// not to die of what has gathered.
const SPACING: Duration = Duration::from_millis(100);
const BURST: Duration = Duration::from_millis(900);

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
    /// Whether messages have gathered that an earlier run tried in vain.
    inherited: bool,
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
            inherited: false,
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
        (lane.newest, lane.open) = (id.version, id.is_incident() && !message.resolved);
        self.changes.push(Change::Queued(id.clone()));
        if self.disabled {
            self.changes.push(Change::Dead(id, GONE));
            self.forget_idle();
            return;
        }
        self.sequence += 1;
        let told = lane.summed.unwrap_or(0);
        match lane.waiting.back_mut() {
            // Keeps its place in the order of lanes and its age.
            Some(last) if last.message.resolved == message.resolved && last.version() > told => {
                self.changes.push(last.replace(message));
            }
            Some(_) | None => {
                let arriving = Waiting::new(message, (now, Duration::ZERO), self.sequence);
                lane.waiting.push_back(arriving);
            }
        }
        self.overflow();
    }

    /// Takes back what an earlier run left, or a person revived: its place is that of its version.
    /// One that is here already is ignored, one that a newer of its lane overtakes is superseded.
    pub fn restore(&mut self, now: Instant, owed: Owed) {
        let id = owed.message.id.clone();
        if self.disabled {
            self.changes.push(Change::Dead(id, GONE));
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
            (lane.newest, lane.open) = (id.version, id.is_incident() && !owed.message.resolved);
        }
        self.sequence += 1;
        let age = owed.age.min(self.limits.max_age.saturating_sub(GRACE));
        let mut waiting = Waiting::new(owed.message, (now, age), self.sequence);
        (waiting.attempts, waiting.last_error) = (owed.attempts, owed.last_error);
        self.inherited |= waiting.attempts > 0;
        let wait = owed.wait.min(DELAY_RESTORED);
        let place = lane.waiting.iter().take_while(|one| one.version() < id.version).count();
        if place == 0 {
            (lane.attempts, lane.not_before) = (waiting.attempts, now + wait);
        }
        lane.waiting.insert(place, waiting);
        lane.coalesce(&mut self.changes);
        self.changes.push(Change::Queued(id));
        self.overflow();
    }

    /// Remembers the last that a receiver was offered of an incident before a start.
    pub fn remember(&mut self, id: &MessageId, resolved: bool) {
        if !resolved && id.is_incident() {
            let lane = self.lanes.entry(id.fingerprint.clone()).or_default();
            if id.version > lane.newest {
                (lane.newest, lane.open) = (id.version, true);
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

    /// The digest that tells this message is on the disk; what is newer may follow.
    pub fn settle_summed(&mut self, id: &MessageId) {
        let Some(lane) = self.lanes.get_mut(&id.fingerprint) else { return };
        while lane.summed() > 0
            && lane.waiting.front().is_some_and(|front| front.version() <= id.version)
        {
            lane.waiting.pop_front();
        }
        if lane.summed() == 0 {
            lane.summed = None;
        }
        self.forget_idle();
    }

    /// Says how an attempt ended.
    pub fn settle(&mut self, now: Instant, id: &MessageId, outcome: &Outcome) {
        let Some(lane) = self.lanes.get_mut(&id.fingerprint) else { return };
        let Some(mut landed) = lane.flying.take_if(|flying| flying.message.id == *id) else {
            return;
        };
        let attempts = lane.attempts;
        match outcome {
            Outcome::Accepted => {
                (lane.attempts, lane.began) = (0, false);
                let was_down = self.failures >= FAILURES_BEFORE_CAUTION;
                if was_down {
                    // It is back: what waits is held by the ramp and the spacing alone.
                    self.lanes.values_mut().for_each(|lane| lane.not_before = now);
                }
                if was_down || std::mem::take(&mut self.inherited) {
                    self.sum_up();
                }
                self.failures = 0;
                self.width = self.width.saturating_mul(2).min(self.limits.in_flight);
                self.changes.push(Change::Delivered(id.clone(), landed.attempts + 1));
            }
            Outcome::Retry { after, why } => {
                self.pause(now, *after);
                let delay = match landed.age(now) >= OLD {
                    true => self.spread(DELAY_OLD),
                    false => self.delay(attempts),
                };
                self.again(now, landed, (delay, why, false));
            }
            Outcome::Refused { why } => {
                // It listens: nothing speaks against the messages of others.
                landed.refusals = landed.refusals.saturating_add(1);
                let delay = self.spread(refused(landed.refusals));
                self.again(now, landed, (delay, why, true));
            }
            Outcome::Gone => {
                let attempts = landed.attempts.saturating_add(1);
                self.changes.push(Change::Dead(id.clone(), Death { attempts, ..GONE }));
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
            let idle = lane.flying.is_none() && lane.summed.is_none();
            idle.then_some((lane.not_before.max(pause), sequence, lane))
        });
        let first = ready.min_by_key(|(at, sequence, _)| ((*at).max(now), *sequence));
        match first {
            None => Next::Wait(None),
            Some((at, _, _)) if at > now => Next::Wait(Some(at)),
            Some((_, _, lane)) => {
                match self.limits.backlog {
                    Backlog::All => {}
                    Backlog::Coalesce | Backlog::Digest => lane.catch_up(now, &mut self.changes),
                }
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

    /// The receiver failed: leaves it alone for a while.
    fn pause(&mut self, now: Instant, after: Option<Duration>) {
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
    }

    /// Puts a message back to the front of its lane, unless a newer one of its state waits there.
    fn again(
        &mut self,
        now: Instant,
        mut landed: Waiting,
        (delay, why, refused): (Duration, &str, bool),
    ) {
        let id = landed.message.id.clone();
        let Some(lane) = self.lanes.get_mut(&id.fingerprint) else { return };
        lane.attempts = lane.attempts.saturating_add(1);
        lane.not_before = now + delay;
        landed.attempts = landed.attempts.saturating_add(1);
        landed.last_error = Some(why.to_owned());
        let again = lane.not_before.max(self.not_before);
        let trial = Trial { attempts: landed.attempts, again, why: why.to_owned(), refused };
        self.changes.push(Change::Retried(id, trial));
        lane.waiting.push_front(landed);
        lane.coalesce(&mut self.changes);
    }

    /// The delay before the next attempt, when the receiver failed.
    fn delay(&mut self, attempts: u32) -> Duration {
        self.spread(step(&DELAYS, attempts))
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

    /// Hands out what a digest is to tell. A single incident is told by itself.
    fn sum_up(&mut self) {
        let closed = self.lanes.values().filter(|lane| lane.is_closed()).count();
        if self.limits.backlog != Backlog::Digest || closed < 2 {
            return;
        }
        for lane in self.lanes.values_mut().filter(|lane| lane.is_closed()) {
            self.changes.extend(lane.sum_up().map(Change::Digested));
        }
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
            for (index, waiting) in lane.waiting.iter().enumerate().skip(lane.summed()) {
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
        self.changes.extend(dropped.map(|dropped| dropped.dead(DeadReason::Overflow)));
        self.forget_idle();
        true
    }

    fn expire(&mut self, now: Instant) {
        let (max_age, changes) = (self.limits.max_age, &mut self.changes);
        for lane in self.lanes.values_mut() {
            let summed = lane.summed.unwrap_or(0);
            let is_old = |one: &Waiting| one.version() > summed && one.age(now) >= max_age;
            if !lane.waiting.iter().any(is_old) {
                continue;
            }
            let (old, young): (Vec<_>, Vec<_>) = lane.waiting.drain(..).partition(is_old);
            lane.waiting.extend(young);
            changes.extend(old.into_iter().map(|one| one.dead(DeadReason::Expired)));
        }
        self.forget_idle();
    }

    fn disable(&mut self) {
        self.disabled = true;
        self.changes.push(Change::Disabled);
        for lane in self.lanes.values_mut() {
            let dropped = lane.waiting.drain(lane.summed()..);
            self.changes.extend(dropped.map(|waiting| waiting.dead(DeadReason::Gone)));
        }
    }

    /// Forgets incidents that are over and told.
    fn forget_idle(&mut self) {
        self.lanes.retain(|_, lane| lane.open || !lane.is_idle());
    }
}

/// The end of what is offered to a receiver that is gone.
const GONE: Death = Death { reason: DeadReason::Gone, last_error: None, attempts: 0 };

/// The delay at a step of a schedule whose last one stays.
fn step(delays: &[u64], at: u32) -> Duration {
    let index = usize::try_from(at).unwrap_or(usize::MAX).min(delays.len().saturating_sub(1));
    Duration::from_secs(delays.get(index).copied().unwrap_or_default())
}

/// The longest delay after so many refusals of a message.
fn refused(times: u32) -> Duration {
    step(&DELAYS_REFUSED, times.saturating_sub(1))
}

#[cfg(test)]
mod tests;
