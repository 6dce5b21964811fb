//! A trace: who answers at which hop limit, in one flow.
//!
//! Hop limits go out in windows, all at once; a second pass asks the silent ones again, since a
//! missing answer is unknown and never "down". The trace stops where the destination answers, where
//! a router refuses, where addresses repeat, or behind five silent hops.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::{Ask, Engine, Question};
use crate::evidence::{Answer, IcmpKind, Observation};
use crate::path::{Hop, Path, PathEnd};
use crate::time::Instant;

/// Hop limits beyond this are not asked; the longest Internet paths stay below it.
const MAX_TTL: u8 = 30;
/// Hop limits asked at once.
const WINDOW: u8 = 8;
/// Silent hops behind the last answer that end a trace, as in scamper.
const GAP_LIMIT: u8 = 5;
/// How long a window is waited for before the next one, when nothing tells how far hops are.
const PATIENCE: Duration = Duration::from_millis(1_000);
/// Silent hop limits beyond the last answer that the second pass asks again.
const SECOND_LOOK: u8 = 2;

/// What a trace sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// ICMP echoes.
    Icmp,
    /// SYNs to this port, one flow per pass.
    Tcp(u16),
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    ttl: u8,
    at: Instant,
}

/// A trace in progress.
#[derive(Debug)]
pub struct Trace {
    flavour: Flavour,
    pass: u8,
    queue: VecDeque<u8>,
    /// Hop limits up to here were asked in the first pass.
    asked_to: u8,
    /// The trace asks no further than this.
    limit: u8,
    outstanding: BTreeMap<u16, Asked>,
    answered: BTreeMap<u8, (IpAddr, Option<Duration>)>,
    reached: Option<u8>,
    unreachable: Option<(u8, IpAddr)>,
    patience_until: Option<Instant>,
    slowest: Option<Duration>,
    all_asked: BTreeMap<u16, u8>,
    next_id: u16,
    finished: bool,
}

impl Trace {
    /// A trace that asks no hop limit above `limit`, or as far as hops answer.
    pub fn new(flavour: Flavour, limit: Option<u8>) -> Self {
        let limit = limit.unwrap_or(MAX_TTL).clamp(1, MAX_TTL);
        let first = WINDOW.min(limit);
        Self {
            flavour,
            pass: 0,
            queue: (1..=first).collect(),
            asked_to: first,
            limit,
            outstanding: BTreeMap::new(),
            answered: BTreeMap::new(),
            reached: None,
            unreachable: None,
            patience_until: None,
            slowest: None,
            all_asked: BTreeMap::new(),
            next_id: 0,
            finished: false,
        }
    }

    /// The path as known so far.
    pub fn path(&self) -> Path {
        let last = self.last_asked_of_interest();
        let hop = |ttl: u8| {
            let answer = self.answered.get(&ttl);
            Hop {
                ttl,
                address: answer.map(|(from, _)| *from),
                rtt: answer.and_then(|(_, rtt)| *rtt),
            }
        };
        Path { hops: (1..=last).map(hop).collect(), end: self.end() }
    }

    /// The smallest hop limit at which the destination answered.
    pub const fn reached(&self) -> Option<u8> {
        self.reached
    }

    /// The largest hop limit at which any router answered.
    pub fn last_answer(&self) -> u8 {
        self.answered.keys().next_back().copied().unwrap_or(0)
    }

    /// Whether the first window is resolved well enough to plan another flow by it: answers that
    /// overtook each other must not make the path look longer than it is.
    pub fn knows_enough(&self, now: Instant) -> bool {
        let reached = self.reached.is_some()
            && (self.window_is_complete() || self.waits_for_silence_only(now));
        self.finished || reached || self.pass > 0
    }

    /// Whether only silent hops are still waited for.
    pub fn waits_for_silence_only(&self, now: Instant) -> bool {
        let enough =
            self.slowest.map_or(PATIENCE, |slowest| slowest * 2 + Duration::from_millis(100));
        self.queue.is_empty()
            && self.reached.is_some()
            && self.outstanding.values().all(|asked| now.since(asked.at) > enough)
    }

    fn end(&self) -> PathEnd {
        if let Some(ttl) = self.reached {
            return PathEnd::Reached(ttl);
        }
        if self.loops() {
            return PathEnd::Loop;
        }
        match self.unreachable {
            Some((ttl, from)) => PathEnd::Unreachable { ttl, from },
            None => PathEnd::Silent,
        }
    }

    /// Three answers of one address at different hop limits cannot come from a path that ends.
    fn loops(&self) -> bool {
        let mut seen: BTreeMap<IpAddr, u8> = BTreeMap::new();
        for (from, _) in self.answered.values() {
            *seen.entry(*from).or_default() += 1;
        }
        seen.values().any(|count| *count >= 3)
    }

    fn last_asked_of_interest(&self) -> u8 {
        match (self.reached, self.unreachable) {
            (Some(ttl), _) | (None, Some((ttl, _))) => ttl,
            (None, None) => (self.last_answer() + 3).min(self.asked_to),
        }
    }

    fn stops(&self) -> bool {
        let gap = self.asked_to.saturating_sub(self.last_answer());
        self.reached.is_some()
            || self.unreachable.is_some()
            || self.loops()
            || gap >= GAP_LIMIT
            || self.asked_to >= self.limit
    }

    fn advance(&mut self, now: Instant) {
        let waited = self.patience_until.is_none_or(|until| now >= until);
        if self.finished || !self.queue.is_empty() || !(waited || self.window_is_complete()) {
            return;
        }
        if self.pass == 0 && !self.stops() {
            let to = (self.asked_to + WINDOW).min(self.limit);
            self.queue = (self.asked_to + 1..=to).collect();
            self.asked_to = to;
        } else if self.pass == 0 {
            self.pass = 1;
            self.queue = self.silent_worth_asking();
            self.finished = self.queue.is_empty();
        } else {
            self.finished = true;
        }
        self.patience_until = None;
    }

    /// Hop limits the second pass asks again.
    fn silent_worth_asking(&self) -> VecDeque<u8> {
        let beyond = match (self.reached, self.unreachable) {
            (Some(ttl), _) | (None, Some((ttl, _))) => ttl.saturating_sub(1),
            (None, None) => (self.last_answer() + SECOND_LOOK).min(self.limit),
        };
        (1..=beyond).filter(|ttl| !self.answered.contains_key(ttl)).collect()
    }

    /// Whether every hop limit below the end has answered.
    fn window_is_complete(&self) -> bool {
        let needed = match (self.reached, self.unreachable) {
            (Some(ttl), _) | (None, Some((ttl, _))) => ttl.saturating_sub(1),
            (None, None) => self.asked_to,
        };
        (1..=needed).all(|ttl| self.answered.contains_key(&ttl))
    }

    fn note(&mut self, ttl: u8, observation: &Observation) {
        let rtt = observation.rtt();
        self.slowest = self.slowest.max(rtt);
        match observation.answer {
            Answer::EchoReply { .. } | Answer::SynAck(_) | Answer::Reset(_) => {
                self.reached = Some(self.reached.map_or(ttl, |known| known.min(ttl)));
            }
            Answer::Icmp(error) if error.kind == IcmpKind::TimeExceeded => {
                self.answered.entry(ttl).or_insert((error.from, rtt));
                // Resets carry no mark of the hop limit they answer: one that was taken for an
                // answer to this hop limit or a smaller one belongs to a larger one.
                if matches!(self.flavour, Flavour::Tcp(_)) {
                    self.reached = self.reached.map(|reached| reached.max(ttl + 1));
                }
            }
            Answer::Icmp(error) if error.kind != IcmpKind::TooBig => {
                let known = self.unreachable.map_or(u8::MAX, |(known, _)| known);
                if ttl < known {
                    self.unreachable = Some((ttl, error.from));
                }
            }
            Answer::Icmp(_)
            | Answer::BareReset(_)
            | Answer::ChallengeAck(_)
            | Answer::Silence
            | Answer::Invalid(_) => {}
        }
    }
}

impl Engine for Trace {
    fn poll_ask(&mut self, now: Instant) -> Option<Ask> {
        self.advance(now);
        let ttl = self.queue.pop_front()?;
        if self.queue.is_empty() {
            self.patience_until = Some(now + PATIENCE);
        }
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        self.outstanding.insert(id, Asked { ttl, at: now });
        self.all_asked.insert(id, ttl);
        let what = match self.flavour {
            Flavour::Icmp => Question::Echo,
            Flavour::Tcp(port) => Question::FlowSyn { port, pass: self.pass },
        };
        Some(Ask { id, what, ttl })
    }

    fn handle_observation(&mut self, now: Instant, ask: u16, observation: &Observation) {
        if let Some(asked) = self.outstanding.remove(&ask) {
            self.note(asked.ttl, observation);
            self.advance(now);
        }
    }

    fn handle_afterthought(&mut self, _now: Instant, ask: u16, observation: &Observation) {
        if let (Some(ttl), Answer::Icmp(_)) =
            (self.all_asked.get(&ask).copied(), observation.answer)
        {
            self.note(ttl, observation);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if self.finished { None } else { self.patience_until }
    }

    fn is_done(&self) -> bool {
        self.finished && (self.outstanding.is_empty() || self.reached.is_some())
    }
}
