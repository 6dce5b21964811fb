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
use super::{Depth, Phase, Survey};
use crate::evidence::{Answer, Observation};
use crate::judge::Family;
use crate::probe::Engine;
use crate::probe::series::Series;
use crate::time::Instant;

/// A question must take away so many bits of doubt, or its answer would not be noticed.
const WORTH: f64 = 0.02;
/// What a survey may ask at one address, its traces left out (DESIGN section 9).
const PACKETS: u64 = 60;
/// What flows that failed before are worth beyond what is expected of them: more than all else.
const AGAIN: f64 = 100.0;
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

/// Of questions with what they are worth and cost, those that together are worth most within
/// `room`; of equal ones, the cheaper.
fn worth_most(wanted: &[(Topic, f64, u64)], room: u64) -> Vec<Topic> {
    let sets = 0_u32..1 << wanted.len();
    let members = |set: u32| {
        wanted.iter().enumerate().filter(move |(at, _)| set & 1 << at != 0).map(|(_, topic)| topic)
    };
    let total = |set: u32| {
        members(set).fold((0.0, 0), |(bits, cost), topic| (bits + topic.1, cost + topic.2))
    };
    let fitting = sets.map(|set| (set, total(set))).filter(|(_, (_, cost))| *cost <= room);
    let best = fitting
        .max_by(|(_, one), (_, other)| one.0.total_cmp(&other.0).then_with(|| other.1.cmp(&one.1)));
    best.into_iter().flat_map(|(set, _)| members(set)).map(|(topic, ..)| *topic).collect()
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
        let ports = &self.scope.ports;
        let has_whom = |topic: &Topic| match topic {
            Topic::Control => !ports.control.is_empty(),
            Topic::Alternate => !ports.alternate.is_empty(),
            Topic::Neighbours => !ports.neighbours.is_empty(),
            _ => true,
        };
        Topic::ALL
            .into_iter()
            .filter(move |topic| has_whom(topic) && !self.agenda.allowed.contains(topic))
    }

    /// Takes what each question is expected to be worth, in bits: those are asked that together
    /// are worth most of all that fit. Flows that failed before are asked before anything else.
    pub fn set_agenda(&mut self, now: Instant, worth: &[(Topic, f64)]) {
        let again = |topic| topic == Topic::Flows && !self.scope.suspects.flows.is_empty();
        let wanted = worth.iter().filter(|(_, bits)| *bits >= WORTH).map(|(topic, bits)| {
            let bits = if again(*topic) { bits + AGAIN } else { *bits };
            // A rate sweep has a budget of its own.
            let cost = if *topic == Topic::Rates { 0 } else { topic.packets(self) };
            (*topic, bits, cost)
        });
        let chosen = worth_most(&wanted.collect::<Vec<_>>(), self.room());
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
        let connected = u64::from(self.connection.ended().is_some());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_best_is_asked_and_not_what_is_cheapest() {
        let wanted = [
            (Topic::Path, 0.32, 3),
            (Topic::Siblings, 0.14, 1),
            (Topic::Flows, 0.24, 16),
            (Topic::Witnesses, 0.23, 8),
            (Topic::Control, 0.17, 1),
            (Topic::Alternate, 0.05, 1),
            (Topic::Rates, 0.47, 0),
        ];
        let chosen = |room| worth_most(&wanted, room);
        assert_eq!(chosen(30).len(), wanted.len());
        // One packet short, the least of all is left out, and not the flows.
        let most = chosen(29);
        assert_eq!(most.len(), wanted.len() - 1);
        assert!(!most.contains(&Topic::Alternate));
        assert!(chosen(22).contains(&Topic::Flows) && !chosen(22).contains(&Topic::Witnesses));
        assert!(chosen(14).contains(&Topic::Witnesses) && !chosen(14).contains(&Topic::Flows));
        assert_eq!(chosen(0), [Topic::Rates]);
        assert!(worth_most(&[], 10).is_empty());
    }
}
