//! The agenda of a survey: which questions are worth their packets, by what is known so far.
//!
//! Echo and SYN are asked in any case. Everything else is asked only while its answer can still
//! change the verdict, the question first that is expected to take away most doubt per packet
//! (DESIGN section 6). Whoever owns the survey reckons that, since it takes the judge's table and
//! what other vantages see: [`Survey::open_questions`] says what could be asked and
//! [`Survey::set_agenda`] takes what it is worth.

use std::collections::BTreeSet;
use std::time::Duration;

use super::findings::Findings;
use super::{Connecting, Depth, Phase, Survey};
use crate::evidence::{Answer, Observation};
use crate::judge::Family;
use crate::probe::Engine;
use crate::probe::series::Series;
use crate::time::Instant;

/// A question must take away so many bits of doubt, or its answer would not be noticed.
const WORTH: f64 = 0.02;
/// What a survey may ask at one address, its traces left out (DESIGN section 9).
const PACKETS: u64 = 60;
/// Evidence is weighed anew at most this often: what comes in between changes little.
const REVIEW: Duration = Duration::from_millis(500);

/// A question beyond echo and SYN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// Traces toward the target.
    Path,
    /// Traces toward its neighbours.
    Siblings,
    /// SYNs on flows asked before.
    Flows,
    /// Segments of no connection beside lost SYNs.
    Witnesses,
    /// Echoes of up to 1500 bytes.
    Sizes,
    /// Twenty slow and twenty quick probes.
    Rates,
    /// The port on which nothing listens.
    Canary,
    /// Other ports that usually answer.
    Control,
    /// Ports that the service may have moved to.
    Alternate,
    /// Configured neighbours.
    Neighbours,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Path,
        Self::Siblings,
        Self::Flows,
        Self::Witnesses,
        Self::Sizes,
        Self::Rates,
        Self::Canary,
        Self::Control,
        Self::Alternate,
        Self::Neighbours,
    ];

    /// The signals that an answer tells something of.
    pub const fn families(self) -> &'static [Family] {
        match self {
            Self::Path => &[Family::LastHop, Family::BaselineChange],
            Self::Siblings => &[Family::SiblingPath],
            Self::Flows => &[Family::FlowSplit],
            Self::Witnesses => &[Family::SynLoss],
            Self::Sizes => &[Family::LargePacket],
            Self::Rates => &[Family::RateSplit],
            Self::Canary => &[Family::CanaryPort],
            Self::Control => &[Family::ControlPort],
            Self::Alternate => &[Family::AlternatePort],
            Self::Neighbours => &[Family::Neighbours],
        }
    }

    /// About how many packets the target sees of it; those of traces end on the way.
    const fn packets(self, survey: &Survey) -> u64 {
        let ports = &survey.scope.ports;
        let configured = match self {
            Self::Path => return 3,
            Self::Siblings => return 1,
            Self::Flows => return 16,
            Self::Witnesses => return 8,
            Self::Sizes => return 9,
            Self::Rates => return 40,
            Self::Canary => return 2,
            Self::Control => ports.control.len(),
            Self::Alternate => ports.alternate.len(),
            Self::Neighbours => ports.neighbours.len(),
        };
        if configured == 0 { 1 } else { configured as u64 }
    }
}

/// What is worth asking.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    allowed: BTreeSet<Topic>,
    /// What was known when it was made, and when that was.
    made: Option<(u64, Instant)>,
}

impl Survey {
    /// Whether what is known has changed since its questions were last weighed.
    pub fn wants_agenda(&self, now: Instant) -> bool {
        let asks = match self.phase {
            Phase::Confirm { dense } => !dense || self.scope.depth != Depth::Recheck,
            Phase::Quick | Phase::Done => false,
        };
        let stale =
            |(then, at): (u64, Instant)| now.since(at) >= REVIEW && self.settled(now) != then;
        asks && self.agenda.made.is_none_or(stale)
    }

    /// What will have been found if nothing comes any more of what is overdue.
    pub fn foreseen(&self, now: Instant) -> Findings {
        let mut findings = self.findings(now);
        let before = self.missing_since(now);
        let silence = Observation { answer: Answer::Silence, sent: None, arrived: None };
        let missing = |series: &Series| series.overdue(before).count();
        (0..missing(&self.echo)).for_each(|_| findings.echo.absorb(&silence));
        if let (Some(syn), Some(tally)) = (&self.syn, &mut findings.syn) {
            (0..missing(syn)).for_each(|_| tally.absorb(&silence));
        }
        findings
    }

    /// What could be asked and is not yet.
    pub fn open_questions(&self) -> impl Iterator<Item = Topic> {
        Topic::ALL.into_iter().filter(|topic| !self.agenda.allowed.contains(topic))
    }

    /// Takes what each question is expected to be worth, in bits; the dearest per bit wait.
    pub fn set_agenda(&mut self, now: Instant, worth: &[(Topic, f64)]) {
        let mut left = self.room();
        let mut wanted: Vec<_> = worth.iter().filter(|(_, bits)| *bits >= WORTH).collect();
        let rate =
            |(topic, bits): &(Topic, f64)| bits / crate::statistics::real(topic.packets(self));
        wanted.sort_by(|one, other| rate(other).total_cmp(&rate(one)));
        let mut chosen = Vec::new();
        for (topic, _) in wanted {
            // A rate sweep has a budget of its own.
            let cost = if *topic == Topic::Rates { 0 } else { topic.packets(self) };
            if cost <= left {
                left -= cost;
                chosen.push(*topic);
            }
        }
        self.agenda.allowed.extend(chosen);
        self.agenda.made = Some((self.settled(now), now));
    }

    /// Whether this may be asked. What was once begun goes on.
    pub(super) fn may_ask(&self, topic: Topic) -> bool {
        let confirming = matches!(self.phase, Phase::Confirm { .. });
        !confirming || self.agenda.allowed.contains(&topic)
    }

    /// How many fates are known, or as good as known.
    fn settled(&self, now: Instant) -> u64 {
        let before = self.missing_since(now);
        let count = |open: usize| u64::try_from(open).unwrap_or(u64::MAX);
        let fates =
            |series: &Series| series.tally().valid() + count(series.overdue(before).count());
        let connected = u64::from(matches!(self.connect, Connecting::Done(_)));
        fates(&self.echo) + self.syn.as_ref().map_or(0, fates) + connected
    }

    /// Packets that may still be sent toward the target beyond those that are planned.
    pub(super) fn room(&self) -> u64 {
        let planned: usize = self.sweeps().map(Engine::planned).sum();
        let planned = planned + self.echo.planned() + self.syn.as_ref().map_or(0, Engine::planned);
        let planned = u64::try_from(planned).unwrap_or(u64::MAX);
        PACKETS.saturating_sub(self.arriving).saturating_sub(planned)
    }
}
