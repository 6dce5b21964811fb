//! Single questions beside the main ones: one SYN or echo each to a configured port or neighbour.
//!
//! Nothing here may look like a scan: only what the plan names is asked, one packet each, a tenth
//! of a second apart.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::{Ask, Engine, FULL_TTL, Question};
use crate::evidence::{AnswerKind, Observation};
use crate::time::Instant;

/// Time between two of them.
const GAP: Duration = Duration::from_millis(100);

/// What a single question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// A port of the target on which nothing listens.
    Canary(u16),
    /// A port of the target that usually answers.
    Control(u16),
    /// A port of the target that the service may have moved to.
    Alternate(u16),
    /// An address of the same network, by echo.
    Neighbour(IpAddr),
    /// A port of such an address.
    NeighbourPort(IpAddr, u16),
}

impl About {
    const fn question(self) -> Question {
        match self {
            Self::Canary(port)
            | Self::Control(port)
            | Self::Alternate(port)
            | Self::NeighbourPort(_, port) => Question::Syn { port },
            Self::Neighbour(_) => Question::Echo,
        }
    }

    /// The address asked, where it is not the target's own.
    pub const fn elsewhere(self) -> Option<IpAddr> {
        match self {
            Self::Neighbour(address) | Self::NeighbourPort(address, _) => Some(address),
            Self::Canary(_) | Self::Control(_) | Self::Alternate(_) => None,
        }
    }
}

/// What came back for each question that says something.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AsideFates(pub BTreeMap<About, AnswerKind>);

impl AsideFates {
    /// Notes an answer; one that comes late is better than the silence before it.
    pub fn note(&mut self, about: About, kind: AnswerKind) {
        if is_own_answer(kind) {
            self.0.insert(about, kind);
        } else if kind != AnswerKind::Invalid {
            self.0.entry(about).or_insert(kind);
        }
    }

    /// What came back for all questions of a kind, with the ports or addresses asked.
    pub fn of(&self, kind: impl Fn(About) -> bool) -> Vec<(About, AnswerKind)> {
        let all = self.0.iter().map(|(about, kind)| (*about, *kind));
        all.filter(|(about, _)| kind(*about)).collect()
    }

    /// What came back from the canary port.
    pub fn canary(&self) -> Option<AnswerKind> {
        let canary = self.of(|about| matches!(about, About::Canary(_)));
        canary.first().map(|(_, kind)| *kind)
    }

    /// Whether any port of the target answered.
    pub fn is_host_alive(&self) -> bool {
        let own = self.of(|about| about.elsewhere().is_none());
        own.iter().any(|(_, kind)| is_own_answer(*kind))
    }

    /// Whether any neighbour answered.
    pub fn is_neighbour_alive(&self) -> bool {
        let others = self.of(|about| about.elsewhere().is_some());
        others.iter().any(|(_, kind)| is_own_answer(*kind))
    }
}

/// Whether whoever was asked answered for itself.
pub const fn is_own_answer(kind: AnswerKind) -> bool {
    matches!(kind, AnswerKind::EchoReply | AnswerKind::SynAck | AnswerKind::Reset)
}

/// Single questions in progress.
#[derive(Debug, Default)]
pub struct Asides {
    due: VecDeque<(Instant, About)>,
    asked: Vec<About>,
    outstanding: BTreeMap<u16, (About, Instant)>,
    fates: AsideFates,
}

impl Asides {
    /// Plans one question, unless it was planned before.
    pub fn ask(&mut self, now: Instant, about: About) {
        let planned = self.due.iter().any(|(_, due)| *due == about);
        if !planned && !self.asked.contains(&about) {
            self.plan(now, about);
        }
    }

    /// Asks a second time what has not been answered for so long, and only once.
    pub fn ask_again(&mut self, now: Instant, about: About, patience: Duration) {
        let times = self.asked.iter().filter(|asked| **asked == about).count();
        let waits = self.outstanding.values().find(|(of, _)| *of == about);
        let planned = self.due.iter().any(|(_, due)| *due == about);
        let overdue = waits.is_some_and(|(_, at)| now.since(*at) >= patience);
        if times == 1 && overdue && !planned {
            self.plan(now, about);
        }
    }

    fn plan(&mut self, now: Instant, about: About) {
        let at = self.due.back().map_or(now, |(last, _)| *last + GAP);
        self.due.push_back((at, about));
    }

    /// What an ask was about.
    pub fn about(&self, ask: u16) -> Option<About> {
        self.asked.get(usize::from(ask)).copied()
    }

    /// Addresses other than the target's that are asked or will be.
    pub fn elsewhere(&self) -> impl Iterator<Item = IpAddr> {
        self.due.iter().filter_map(|(_, about)| about.elsewhere())
    }

    /// What came back so far.
    pub const fn fates(&self) -> &AsideFates {
        &self.fates
    }
}

impl Engine for Asides {
    fn poll_ask(&mut self, now: Instant) -> Option<Ask> {
        let (at, about) = *self.due.front()?;
        if at > now {
            return None;
        }
        self.due.pop_front();
        let id = u16::try_from(self.asked.len()).unwrap_or(u16::MAX);
        self.asked.push(about);
        self.outstanding.insert(id, (about, now));
        Some(Ask { id, what: about.question(), ttl: FULL_TTL })
    }

    fn handle_observation(&mut self, _now: Instant, ask: u16, observation: &Observation) {
        if let Some((about, _)) = self.outstanding.remove(&ask) {
            self.fates.note(about, observation.answer.kind());
        }
    }

    fn handle_afterthought(&mut self, _now: Instant, ask: u16, observation: &Observation) {
        let kind = observation.answer.kind();
        if let Some(about) = self.about(ask).filter(|_| is_own_answer(kind)) {
            self.fates.note(about, kind);
        }
    }

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
