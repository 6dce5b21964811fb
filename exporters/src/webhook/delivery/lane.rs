//! The messages of one incident on their way to one receiver.

use std::collections::VecDeque;
use std::time::Duration;

use reachd_core::time::Instant;

use super::message::{Change, DeadReason, Death, Message, MessageId};

/// Messages that wait so long have gathered: their receiver is down, or does not keep up.
const BACKLOG: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) message: Message,
    pub(super) since: Instant,
    /// Its age at that moment.
    pub(super) age: Duration,
    pub(super) sequence: u64,
    pub(super) attempts: u32,
    /// How often the receiver refused these bytes, since the start.
    pub(super) refusals: u32,
    /// How the last attempt failed.
    pub(super) last_error: Option<String>,
}

impl Waiting {
    /// A message that has just come, or has waited for `age` already.
    pub(super) fn new(message: Message, (since, age): (Instant, Duration), sequence: u64) -> Self {
        Self { message, since, age, sequence, attempts: 0, refusals: 0, last_error: None }
    }

    /// Given up.
    pub(super) fn dead(self, reason: DeadReason) -> Change {
        let (last_error, attempts) = (self.last_error, self.attempts);
        Change::Dead(self.message.id, Death { reason, last_error, attempts })
    }

    /// Another message in the place of this one, with its age; gives the one that is gone.
    pub(super) fn replace(&mut self, message: Message) -> Change {
        (self.attempts, self.refusals) = (0, 0);
        Change::Superseded(std::mem::replace(&mut self.message, message).id)
    }

    /// Takes the place and the age of an older one.
    pub(super) fn succeed(&mut self, gone: Self) -> Change {
        (self.since, self.age, self.sequence) = (gone.since, gone.age, gone.sequence);
        self.last_error = self.last_error.take().or(gone.last_error);
        Change::Superseded(gone.message.id)
    }

    pub(super) fn version(&self) -> u64 {
        self.message.id.version
    }

    pub(super) fn age(&self, now: Instant) -> Duration {
        now.since(self.since) + self.age
    }
}

#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) flying: Option<Waiting>,
    pub(super) attempts: u32,
    pub(super) not_before: Instant,
    /// The newest version ever offered; older ones are duplicates.
    pub(super) newest: u64,
    /// That it fires was left out, because more was known, since something was last delivered.
    pub(super) began: bool,
    /// The newest offer was firing: the receiver is owed a resolved.
    pub(super) open: bool,
    /// A digest is to tell what waits up to this version. What is newer waits until that is on the
    /// disk: after a kill the older would else be told behind it.
    pub(super) summed: Option<u64>,
}

impl Lane {
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.flying.is_none()
    }

    pub(super) fn queued(&self) -> usize {
        self.waiting.len() - self.summed() + usize::from(self.flying.is_some())
    }

    /// How many of those that wait a digest is to tell; they are the first.
    pub(super) fn summed(&self) -> usize {
        let told = |waiting: &&Waiting| self.summed.is_some_and(|last| waiting.version() <= last);
        self.waiting.iter().take_while(told).count()
    }

    /// Leaves all that waits to a digest.
    pub(super) fn sum_up(&mut self) -> impl Iterator<Item = MessageId> + '_ {
        self.summed = self.waiting.back().map(Waiting::version);
        self.began = false;
        self.waiting.iter().map(|waiting| waiting.message.id.clone())
    }

    /// Of what has gathered while the receiver took nothing only the newest waits on, with the age
    /// of the oldest.
    pub(super) fn catch_up(&mut self, now: Instant, changes: &mut Vec<Change>) {
        let gathered = |front: &Waiting| front.attempts > 0 || front.age(now) >= BACKLOG;
        if !self.waiting.front().is_some_and(gathered) {
            return;
        }
        while self.waiting.len() > 1 {
            let Some(gone) = self.waiting.pop_front() else { return };
            self.began |= !gone.message.resolved;
            changes.extend(self.waiting.front_mut().map(|newer| newer.succeed(gone)));
        }
    }

    /// Whether its incident opened and was over while nothing was taken.
    pub(super) fn is_closed(&self) -> bool {
        let (front, back) = (self.waiting.front(), self.waiting.back());
        let began = self.began || front.is_some_and(|front| !front.message.resolved);
        let idle = self.flying.is_none() && self.summed.is_none();
        idle && began && back.is_some_and(|back| back.message.resolved)
    }

    /// Of neighbours that say the same only the newer waits on, with the place and age of the
    /// older.
    pub(super) fn coalesce(&mut self, changes: &mut Vec<Change>) {
        let mut index = self.summed() + 1;
        while let (Some(older), Some(newer)) =
            (self.waiting.get(index - 1), self.waiting.get(index))
        {
            if older.message.resolved != newer.message.resolved {
                index += 1;
                continue;
            }
            let Some(gone) = self.waiting.remove(index - 1) else { return };
            changes.push(match self.waiting.get_mut(index - 1) {
                Some(newer) => newer.succeed(gone),
                None => Change::Superseded(gone.message.id),
            });
        }
    }
}
