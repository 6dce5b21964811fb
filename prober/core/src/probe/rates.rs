//! A rate sweep: as many probes slowly as quickly, to tell a rate limit from loss that does not
//! depend on what we send.
//!
//! A bucket of tokens lets slow probes pass and drops what exceeds it; a faulty link drops the same
//! share of both. Half of the quick ones go before the slow ones and half after them, so that a
//! loss that ends or begins in between does not look like a limit.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::flows::log_by_chance;
use super::{Ask, Engine, FULL_TTL, Question};
use crate::evidence::{Answer, Observation};
use crate::time::Instant;

/// Probes of each speed: with 20 a bucket of one a second is told from chance with a one-sided
/// Fisher p of 7e-5, with 10 not at all.
const PROBES: u32 = 20;
/// Two seconds between slow probes, which is as fast as end hosts may be asked without harm.
const SLOWLY: Duration = Duration::from_secs(2);
/// Twenty a second: the usual limits of 1 to 10 a second show at once.
const QUICKLY: Duration = Duration::from_millis(50);
/// Rest before a change of speed, in which a bucket fills up again.
const REST: Duration = Duration::from_secs(2);
/// How often slow probes are lost under a rate limit is thought to be like one in this many.
const SLOW_PRIOR: u32 = 20;

/// What became of the probes of one speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// How many the target answered.
    pub answered: u32,
    /// How many were lost.
    pub lost: u32,
}

impl Counts {
    fn note(&mut self, answer: &Answer) {
        match answer {
            Answer::EchoReply { .. } | Answer::SynAck(_) | Answer::Reset(_) => self.answered += 1,
            Answer::Silence => self.lost += 1,
            Answer::BareReset(_)
            | Answer::ChallengeAck(_)
            | Answer::Icmp(_)
            | Answer::Invalid(_) => {}
        }
    }

    const fn add(self, other: Self) -> Self {
        Self { answered: self.answered + other.answered, lost: self.lost + other.lost }
    }
}

/// What a rate sweep found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RateFates {
    /// One every two seconds.
    pub slow: Counts,
    /// Twenty a second, before the slow ones.
    pub quick_before: Counts,
    /// Twenty a second, after them.
    pub quick_after: Counts,
}

impl RateFates {
    /// All quick probes.
    pub const fn quick(&self) -> Counts {
        self.quick_before.add(self.quick_after)
    }

    /// How much more probable these counts are under a limit of the rate than under one ratio of
    /// loss for all of them: above 1 speaks for a limit. `None` while nothing was lost.
    ///
    /// Under a limit slow probes pass but for one in twenty or so, and any ratio of the quick ones
    /// is as likely as any other, before the slow ones and after them alike.
    pub fn odds_of_limit(&self) -> Option<f64> {
        let quick = self.quick();
        let all = quick.add(self.slow);
        if all.lost == 0 {
            return None;
        }
        let passing = Counts { answered: self.slow.answered + SLOW_PRIOR, ..self.slow };
        let prior = Counts { answered: SLOW_PRIOR, lost: 0 };
        let limited = log_of(quick) + log_of(passing) - log_of(prior);
        let odds = (limited - log_of(all)).exp();
        // A limit that drops nothing of one half is none.
        let halves = [self.quick_before, self.quick_after];
        Some(if halves.iter().all(|half| half.lost > 0) { odds } else { odds.min(1.0) })
    }
}

fn log_of(counts: Counts) -> f64 {
    log_by_chance(counts.lost.into(), counts.answered.into())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    QuickBefore,
    Slow,
    QuickAfter,
}

/// A rate sweep in progress.
#[derive(Debug)]
pub struct Rates {
    question: Question,
    due: VecDeque<(Instant, Stage)>,
    outstanding: BTreeMap<u16, Stage>,
    fates: RateFates,
    next_id: u16,
}

impl Rates {
    /// A sweep with this question that starts now.
    pub fn new(question: Question, now: Instant) -> Self {
        let half = PROBES / 2;
        let slow_from = now + QUICKLY * half + REST;
        let after_from = slow_from + SLOWLY * PROBES;
        let times = |from: Instant, gap: Duration, count: u32, stage: Stage| {
            (0..count).map(move |at| (from + gap * at, stage))
        };
        let due = times(now, QUICKLY, half, Stage::QuickBefore)
            .chain(times(slow_from, SLOWLY, PROBES, Stage::Slow))
            .chain(times(after_from, QUICKLY, PROBES - half, Stage::QuickAfter));
        Self {
            question,
            due: due.collect(),
            outstanding: BTreeMap::new(),
            fates: RateFates::default(),
            next_id: 0,
        }
    }

    /// What was found so far.
    pub const fn fates(&self) -> RateFates {
        self.fates
    }
}

impl Engine for Rates {
    fn poll_ask(&mut self, now: Instant) -> Option<Ask> {
        let (at, stage) = *self.due.front()?;
        if at > now {
            return None;
        }
        self.due.pop_front();
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        self.outstanding.insert(id, stage);
        Some(Ask { id, what: self.question, ttl: FULL_TTL })
    }

    fn handle_observation(&mut self, _now: Instant, ask: u16, observation: &Observation) {
        let counts = match self.outstanding.remove(&ask) {
            Some(Stage::QuickBefore) => &mut self.fates.quick_before,
            Some(Stage::Slow) => &mut self.fates.slow,
            Some(Stage::QuickAfter) => &mut self.fates.quick_after,
            None => return,
        };
        counts.note(&observation.answer);
    }

    fn handle_afterthought(&mut self, _now: Instant, _ask: u16, _observation: &Observation) {}

    fn poll_timeout(&self) -> Option<Instant> {
        self.due.front().map(|(at, _)| *at)
    }

    fn is_done(&self) -> bool {
        self.due.is_empty() && self.outstanding.is_empty()
    }

    fn planned(&self) -> usize {
        self.due.len()
    }
}

#[cfg(test)]
mod tests;
