//! A series of equal probes at planned moments: echoes or SYNs to the target itself.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::{Ask, Engine, FULL_TTL, Question};
use crate::accounting::{Counters, fate};
use crate::evidence::{
    Answer, AnswerKind, IcmpAnswer, IcmpKind, InvalidReason, Observation, TcpAnswer,
};
use crate::statistics::real;
use crate::time::Instant;

/// ICMP errors and fingerprints of acceptances and resets kept per series; more say nothing new.
const KEPT: usize = 32;

/// What a series has learnt so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// Fates of the probes.
    pub counters: Counters,
    /// Answers by kind.
    pub kinds: BTreeMap<AnswerKind, u64>,
    /// Round-trip times of the target's own answers.
    pub rtts: Vec<Duration>,
    /// Received hop limits of the target's own answers, by how often.
    pub ttls: BTreeMap<u8, u64>,
    /// ICMP errors and how long after the probe they came, late ones included.
    pub errors: Vec<(IcmpAnswer, Option<Duration>)>,
    /// Acceptances as received.
    pub accepted: Vec<TcpAnswer>,
    /// Resets as received.
    pub resets: Vec<TcpAnswer>,
    /// Whether one SYN drew both an acceptance and a reset.
    pub two_answers: bool,
    /// Whether our own kernel gave up on a probe after it took it: its next hop does not answer.
    pub gave_up: bool,
    /// The first and last probe, by number, that the target answered.
    pub answered: Option<(u16, u16)>,
    /// The first and last probe, by number, that it did not.
    pub missed: Option<(u16, u16)>,
    /// The first and last probe, by number, that was accepted.
    pub accepted_at: Option<(u16, u16)>,
    /// The first and last probe, by number, that was reset.
    pub reset_at: Option<(u16, u16)>,
    /// How many of the numbered probes it answered and how many not.
    pub numbered: [u64; 2],
    /// When the first and the last probe that it did not answer were given up.
    pub missed_between: Option<(Instant, Instant)>,
}

/// Probes in an order that comes up so rarely by chance are ordered by what happened.
const ORDERED: f64 = 0.01;
/// So many misses behind all answers may be the start of a silence.
const SEVERAL: u64 = 3;

impl Tally {
    /// How many probes the target itself answered.
    pub const fn received(&self) -> u64 {
        self.counters.received
    }

    /// How many probes say something about the target.
    pub fn valid(&self) -> u64 {
        self.counters.sent - self.counters.invalid_total()
    }

    /// The time from the first probe that the target did not answer to the last.
    pub fn missed_for(&self) -> Option<Duration> {
        self.missed_between.map(|(first, last)| last.since(first))
    }

    /// Whether all answers came before all misses, or behind them: a fault came or went meanwhile,
    /// which is no partial loss.
    pub fn saw_a_turn(&self) -> bool {
        let [answered, missed] = self.numbered;
        let sorted = match (self.answered, self.missed) {
            (Some(answered), Some(missed)) => answered.1 < missed.0 || missed.1 < answered.0,
            (_, _) => false,
        };
        // Of all the orders of so many answers and misses, two are sorted.
        let orders = (1..=missed).map(|n| real(answered + n) / real(n));
        sorted && 2.0 / orders.product::<f64>() < ORDERED
    }

    /// Whether it answered up to a moment and nothing from then on, several times.
    pub fn fell_silent(&self) -> bool {
        let [_, missed] = self.numbered;
        let turn = self.answered.zip(self.missed);
        missed >= SEVERAL && turn.is_some_and(|(answered, missed)| answered.1 < missed.0)
    }

    /// Where acceptances and resets came in two blocks, the kind of the later one: the port opened
    /// or closed meanwhile.
    pub fn turned_to(&self) -> Option<AnswerKind> {
        let (accepted, reset) = (self.accepted_at?, self.reset_at?);
        if accepted.1 < reset.0 {
            Some(AnswerKind::Reset)
        } else if reset.1 < accepted.0 {
            Some(AnswerKind::SynAck)
        } else {
            None
        }
    }

    /// Probes that our own side spoilt on the way: of those only that went unanswered, for an
    /// answer that was seen is an answer.
    pub fn spoilt(&self) -> u64 {
        let by = [InvalidReason::Lag, InvalidReason::CaptureDrop];
        by.iter().filter_map(|reason| self.counters.invalid.get(reason)).sum()
    }

    /// How many answers of this kind came.
    pub fn count(&self, kind: AnswerKind) -> u64 {
        self.kinds.get(&kind).copied().unwrap_or(0)
    }

    /// The hop limit most answers arrived with.
    pub fn ttl(&self) -> Option<u8> {
        self.ttls.iter().max_by_key(|(_, count)| **count).map(|(ttl, _)| *ttl)
    }

    /// The ICMP error that came most often, and one of its senders.
    pub fn main_error(&self) -> Option<(IcmpKind, IpAddr)> {
        let mut counts: BTreeMap<(IcmpKind, IpAddr), u64> = BTreeMap::new();
        for (error, _) in &self.errors {
            *counts.entry((error.kind, error.from)).or_default() += 1;
        }
        counts.into_iter().max_by_key(|(_, count)| *count).map(|(error, _)| error)
    }

    /// The longest time an error of this kind took.
    pub fn slowest_error(&self, kind: IcmpKind) -> Option<Duration> {
        let of_kind = self.errors.iter().filter(|(error, _)| error.kind == kind);
        of_kind.filter_map(|(_, delay)| *delay).max()
    }

    /// The largest round-trip time.
    pub fn slowest(&self) -> Option<Duration> {
        self.rtts.iter().max().copied()
    }

    /// The most frequent answer, which later sweeps are compared with.
    pub fn usual(&self) -> Option<AnswerKind> {
        let valid = self.kinds.iter().filter(|(kind, _)| **kind != AnswerKind::Invalid);
        valid.max_by_key(|(_, count)| **count).map(|(kind, _)| *kind)
    }

    /// Adds what another series of the same kind learnt.
    pub fn absorb(&mut self, observation: &Observation) {
        self.counters.book(fate(&observation.answer));
        *self.kinds.entry(observation.answer.kind()).or_default() += 1;
        self.note_details(observation);
    }

    /// Adds what another look learnt; the order of its probes is not this one's.
    pub fn add(&mut self, other: &Self) {
        self.counters.merge(&other.counters);
        for (kind, count) in &other.kinds {
            *self.kinds.entry(*kind).or_default() += count;
        }
        for (ttl, count) in &other.ttls {
            *self.ttls.entry(*ttl).or_default() += count;
        }
        self.rtts.extend(&other.rtts);
        let room = KEPT.saturating_sub(self.errors.len());
        self.errors.extend(other.errors.iter().take(room));
        let room = KEPT.saturating_sub(self.accepted.len());
        self.accepted.extend(other.accepted.iter().take(room));
        let room = KEPT.saturating_sub(self.resets.len());
        self.resets.extend(other.resets.iter().take(room));
        self.two_answers |= other.two_answers;
        self.gave_up |= other.gave_up;
        (self.answered, self.missed, self.numbered) = (None, None, [0; 2]);
        (self.accepted_at, self.reset_at) = (None, None);
        let spans = [self.missed_between, other.missed_between].into_iter().flatten();
        self.missed_between = spans.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
    }

    fn note_moment(&mut self, now: Instant, answer: &Answer) {
        if !answer.is_from_target() && !matches!(answer, Answer::Invalid(_)) {
            let (first, last) = self.missed_between.unwrap_or((now, now));
            self.missed_between = Some((first.min(now), last.max(now)));
        }
    }

    /// Forgets half of what was counted, the older round-trip times first.
    pub fn forget_half(&mut self) {
        self.counters.halve();
        self.kinds.values_mut().for_each(|count| *count /= 2);
        self.ttls.values_mut().for_each(|count| *count /= 2);
        self.rtts.truncate(self.rtts.len() / 2);
    }

    fn note_order(&mut self, ask: u16, answer: &Answer) {
        let [answered, missed] = &mut self.numbered;
        let (span, count) = match answer {
            Answer::Invalid(_) => return,
            answer if answer.is_from_target() => (&mut self.answered, answered),
            _ => (&mut self.missed, missed),
        };
        *count += 1;
        let widen = |span: &mut Option<(u16, u16)>| {
            let (first, last) = span.unwrap_or((ask, ask));
            *span = Some((first.min(ask), last.max(ask)));
        };
        widen(span);
        match answer {
            Answer::SynAck(_) => widen(&mut self.accepted_at),
            Answer::Reset(_) => widen(&mut self.reset_at),
            _ => {}
        }
    }

    fn note_details(&mut self, observation: &Observation) {
        let rtt = observation.rtt();
        if observation.answer.is_from_target() {
            self.rtts.extend(rtt);
            if let Some(ttl) = observation.answer.ttl() {
                *self.ttls.entry(ttl).or_default() += 1;
            }
        }
        match observation.answer {
            Answer::Icmp(error) if self.errors.len() < KEPT => self.errors.push((error, rtt)),
            Answer::SynAck(tcp) if self.accepted.len() < KEPT => self.accepted.push(tcp),
            Answer::Reset(tcp) if self.resets.len() < KEPT => self.resets.push(tcp),
            Answer::EchoReply { .. }
            | Answer::SynAck(_)
            | Answer::Reset(_)
            | Answer::BareReset(_)
            | Answer::ChallengeAck(_)
            | Answer::Icmp(_)
            | Answer::Silence
            | Answer::Invalid(_) => {}
        }
    }
}

/// A series in progress.
#[derive(Debug)]
pub struct Series {
    question: Question,
    due: VecDeque<Instant>,
    outstanding: BTreeMap<u16, Instant>,
    settled: BTreeMap<u16, AnswerKind>,
    next_id: u16,
    tally: Tally,
}

impl Series {
    /// Plans probes at these offsets from `start`, which must not decrease.
    pub fn new(question: Question, start: Instant, offsets: &[Duration]) -> Self {
        Self {
            question,
            due: offsets.iter().map(|offset| start + *offset).collect(),
            outstanding: BTreeMap::new(),
            settled: BTreeMap::new(),
            next_id: 0,
            tally: Tally::default(),
        }
    }

    /// Plans more probes behind those already planned.
    pub fn extend(&mut self, start: Instant, offsets: &[Duration]) {
        let mut due: Vec<_> = self.due.drain(..).collect();
        due.extend(offsets.iter().map(|offset| start + *offset));
        due.sort_unstable();
        self.due = due.into();
    }

    /// Drops what is planned and not yet sent.
    pub fn cut(&mut self) {
        self.due.clear();
    }

    /// What was learnt so far.
    pub const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Adds the fate of a probe of the same kind that another engine asked.
    pub fn absorb(&mut self, now: Instant, observation: &Observation) {
        self.tally.absorb(observation);
        self.tally.note_moment(now, &observation.answer);
    }

    /// What came first for each ask that is over.
    pub fn fates(&self) -> impl Iterator<Item = (u16, AnswerKind)> {
        self.settled.iter().map(|(ask, kind)| (*ask, *kind))
    }

    /// Asks of before this moment that have no fate yet.
    pub fn overdue(&self, before: Instant) -> impl Iterator<Item = u16> {
        let late = self.outstanding.iter().filter(move |(_, asked)| **asked < before);
        late.map(|(ask, _)| *ask)
    }

    /// How many asks have no fate yet.
    pub fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// Whether every probe planned so far was sent.
    pub fn all_sent(&self) -> bool {
        self.due.is_empty()
    }

    /// When the oldest unanswered probe was asked for.
    pub fn oldest_outstanding(&self) -> Option<Instant> {
        self.outstanding.values().min().copied()
    }
}

impl Engine for Series {
    fn poll_ask(&mut self, now: Instant) -> Option<Ask> {
        if *self.due.front()? > now {
            return None;
        }
        self.due.pop_front();
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        self.outstanding.insert(id, now);
        Some(Ask { id, what: self.question, ttl: FULL_TTL })
    }

    fn handle_observation(&mut self, now: Instant, ask: u16, observation: &Observation) {
        if self.outstanding.remove(&ask).is_some() {
            self.settled.insert(ask, observation.answer.kind());
            self.tally.absorb(observation);
            self.tally.note_order(ask, &observation.answer);
            self.tally.note_moment(now, &observation.answer);
        }
    }

    fn handle_afterthought(&mut self, _now: Instant, ask: u16, observation: &Observation) {
        let first = self.settled.get(&ask).copied();
        let second = observation.answer.kind();
        let contradiction = matches!(
            (first, second),
            (Some(AnswerKind::SynAck), AnswerKind::Reset | AnswerKind::BareReset)
                | (Some(AnswerKind::Reset | AnswerKind::BareReset), AnswerKind::SynAck)
        );
        self.tally.two_answers |= contradiction;
        // Counted already; only the fingerprint is new.
        match observation.answer {
            Answer::Icmp(error) if self.tally.errors.len() < KEPT => {
                self.tally.errors.push((error, observation.rtt()));
            }
            Answer::Reset(tcp) if contradiction && self.tally.resets.len() < KEPT => {
                self.tally.resets.push(tcp);
            }
            Answer::Invalid(InvalidReason::SendError) => self.tally.gave_up = true,
            _ => {}
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.due.front().copied()
    }

    fn is_done(&self) -> bool {
        self.due.is_empty() && self.outstanding.is_empty()
    }

    fn planned(&self) -> usize {
        self.due.len()
    }
}

/// Whether an answer only says that our own side was at fault.
pub const fn is_local_fault(answer: &Answer) -> bool {
    matches!(
        answer,
        Answer::Invalid(
            InvalidReason::SendError | InvalidReason::NotSeenLeaving | InvalidReason::NoPrivilege
        )
    )
}
