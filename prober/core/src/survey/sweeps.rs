//! The questions beyond echo, SYN and path: flows asked again, large packets, two rates.
//!
//! Each is asked only where it can change the verdict: flows where SYNs are partly lost, large
//! packets where the host echoes or a service falls mute, two rates where loss is partial and there
//! is a minute for them.

use std::collections::BTreeSet;
use std::time::Duration;

use super::course::{FIRST_PATIENCE, JITTER};
use super::signs::{LOSSY, missing};
use super::splits::SMALL_LOST;
use super::{Depth, Part, Scope, Survey, Topic};
use crate::evidence::{AnswerKind, ConnectResult, Observation, ServiceAnswer};
use crate::probe::flows::{FlowFates, Flows};
use crate::probe::large::Large;
use crate::probe::rates::Rates;
use crate::probe::series::{Series, Tally};
use crate::probe::{Ask, Engine, Question};
use crate::statistics::loss_above;
use crate::time::Instant;

/// By now most SYNs of the confirmation have left, so that there are flows to choose from.
const EARLIEST_SWEEP: Duration = Duration::from_millis(2_800);
/// SYNs lost beside clean echoes from which it is asked whether segments are lost as well.
const SYNS_LOST: u64 = 3;
/// What it takes to ask again for all large packets.
const FOLLOW_UP: u64 = 10;
/// A flow sweep that begins later than this would not end within the time of a survey.
const LATEST_SWEEP: Duration = Duration::from_millis(5_000);
/// A further round of it, where nobody waits for more than a look.
const LATEST_ROUND: Duration = Duration::from_millis(7_500);
/// Large packets behind a service that said nothing: three tries of a second each.
const LATEST_SIZES: Duration = Duration::from_millis(8_500);
/// Probes of each kind that are added, a second apart, to a count that settles nothing: as many as
/// fit the time and the packets that a patient look has left (DESIGN section 9).
const COUNTED_ON: u64 = 30;
/// What a patient look may ask in all (DESIGN section 9).
const PATIENT_PACKETS: u64 = 160;
/// A loss of both kinds together that is so probably above the threshold needs no further count.
const SETTLED: f64 = 0.99;

impl Survey {
    /// Flows that never answered an earlier survey are asked first: that tells a heal.
    pub(super) fn suspected_flows(scope: &Scope, now: Instant) -> Option<Flows> {
        let port = scope.port.filter(|_| scope.means.raw && !scope.suspects.flows.is_empty())?;
        Some(Flows::new(port, now, &scope.suspects.flows))
    }

    /// The source port that a SYN left with, where it is ours to choose.
    pub fn note_source_port(&mut self, part: Part, ask: u16, source_port: u16) {
        if part == Part::Syn && self.scope.means.raw {
            self.sources.insert(ask, source_port);
        }
    }

    pub(super) fn poll_sweeps(&mut self, now: Instant) -> Option<(Part, Ask)> {
        if let Some(ask) = self.flows.as_mut().and_then(|flows| flows.poll_ask(now)) {
            return Some((Part::Flow, ask));
        }
        if let Some(ask) = self.large.as_mut().and_then(|large| large.poll_ask(now)) {
            return Some((Part::Large, ask));
        }
        if let Some(ask) = self.asides.poll_ask(now) {
            return Some((Part::Aside, ask));
        }
        let ask = self.rates.as_mut()?.poll_ask(now)?;
        let part = if ask.what == Question::Echo { Part::RateEcho } else { Part::RateSyn };
        Some((part, ask))
    }

    pub(super) fn sweeps(&self) -> impl Iterator<Item = &dyn Engine> {
        let flows = self.flows.as_ref().map(|flows| flows as &dyn Engine);
        let large = self.large.as_ref().map(|large| large as &dyn Engine);
        let rates = self.rates.as_ref().map(|rates| rates as &dyn Engine);
        let asides = &self.asides as &dyn Engine;
        [flows, large, rates, Some(asides)].into_iter().flatten()
    }

    /// Probes of a sweep are probes of their kind as well; large packets are not, as their loss is
    /// another matter.
    pub(super) fn count_twice(&mut self, now: Instant, part: Part, seen: &Observation) {
        let series = match part {
            Part::Flow | Part::RateSyn => self.syn.as_mut(),
            Part::RateEcho => Some(&mut self.echo),
            Part::Echo
            | Part::Syn
            | Part::IcmpTrace
            | Part::TcpTrace
            | Part::Sibling(_)
            | Part::Aside
            | Part::Large => None,
        };
        if let Some(series) = series {
            series.absorb(now, seen);
        }
    }

    /// Asks for large packets as soon as it is worth it, and again for those that vanish.
    pub(super) fn plan_large(&mut self, now: Instant) {
        let late = self.scope.depth == Depth::Full && now.since(self.started) > LATEST_SIZES;
        let stalls = self.service_stalls() && !late;
        if self.large.is_none() {
            // A full look and a service asked now and then: who is healthy otherwise may still lose
            // what is large. A recheck only where that was the failure.
            let wanted = match self.scope.depth {
                Depth::Full => true,
                Depth::Suspicion => self.scope.connect && !self.misses_any(),
                Depth::Recheck => false,
            };
            let echoes = self.echo.tally().received() > 0;
            let asked = echoes && (wanted || self.scope.suspects.sizes) || stalls;
            if !asked || !(stalls || self.may_ask(Topic::Sizes)) {
                return;
            }
            let port = self.scope.port.filter(|_| self.scope.means.raw);
            let mut large = Large::new(port, self.echo.tally().slowest().unwrap_or_default());
            if echoes {
                large.ask_echoes(now);
            }
            self.large = Some(large);
        }
        // Segments cost five packets: too much beside a sweep of flows, and no help against chance.
        let segments = !self.is_partial();
        // Where small packets vanish as well, large ones tell nothing.
        let small_pass = self.small_missing(now).is_some_and(|missing| missing <= SMALL_LOST)
            && self.room() >= FOLLOW_UP;
        if let Some(large) = &mut self.large {
            if small_pass {
                large.follow_up(now, segments);
            }
            if stalls && segments {
                large.ask_segments(now);
            }
        }
        let in_time = now.since(self.started) <= LATEST_SWEEP;
        if in_time && self.loses_syns_alone(now) && self.may_ask(Topic::Witnesses) {
            let port = self.scope.port.filter(|_| self.scope.means.raw);
            let rtt = self.echo.tally().slowest().unwrap_or_default();
            self.large.get_or_insert_with(|| Large::new(port, rtt)).ask_witnesses(now);
        }
    }

    /// SYNs are partly lost and echoes are not, so far.
    fn loses_syns_alone(&self, now: Instant) -> bool {
        let Some(syn) = self.syn.as_ref().filter(|syn| syn.tally().received() > 0) else {
            return false;
        };
        let before = self.missing_since(now);
        let missing = |series: &Series| {
            let silent = series.tally().count(AnswerKind::Silence);
            silent + u64::try_from(series.overdue(before).count()).unwrap_or(u64::MAX)
        };
        missing(syn) >= SYNS_LOST && missing(&self.echo) == 0 && self.echo.tally().received() > 0
    }

    /// TCP was accepted, and then nothing useful came.
    fn service_stalls(&self) -> bool {
        let Some(report) = self.connection.report() else { return false };
        let accepted =
            self.syn.as_ref().is_some_and(|syn| syn.tally().count(AnswerKind::SynAck) > 0);
        let stalled = report.service.as_ref().is_some_and(ServiceAnswer::is_missing);
        accepted && stalled
    }

    /// The source port of a connection that vanished while SYNs beside it were answered: it may
    /// have met a dead path, or our own firewall.
    pub(super) fn vanished_connection(&self) -> Option<u16> {
        let report = self.connection.ended()?;
        let accepted =
            self.syn.as_ref().is_some_and(|syn| syn.tally().count(AnswerKind::SynAck) > 0);
        let vanished = accepted && report.result == ConnectResult::TimedOut;
        report.local_port.filter(|_| vanished && self.scope.means.raw)
    }

    /// SYNs are overdue beside answered ones, and enough flows were asked to sweep them. Their
    /// silence is certain only after the verdict timer, too late for the last of them, and none
    /// at all where we ourselves were late meanwhile.
    pub(super) fn seems_partial(&self, now: Instant) -> bool {
        let Some(syn) = self.syn.as_ref().filter(|syn| syn.tally().received() > 0) else {
            return false;
        };
        let overdue = || syn.overdue(self.missing_since(now)).next().is_some();
        now.since(self.started) >= EARLIEST_SWEEP && overdue()
    }

    /// Small packets that vanished, as far as is known; `None` while answers may still come.
    fn small_missing(&self, now: Instant) -> Option<u64> {
        let before = self.missing_since(now);
        let missing = |series: &Series| {
            let overdue = series.overdue(before).count();
            let known = overdue == series.outstanding();
            let overdue = u64::try_from(overdue).unwrap_or(u64::MAX);
            known.then(|| series.tally().count(AnswerKind::Silence) + overdue)
        };
        Some(missing(&self.echo)? + self.syn.as_ref().map_or(Some(0), missing)?)
    }

    pub(super) fn misses_any(&self) -> bool {
        let missed = |series: &Series| series.tally().count(AnswerKind::Silence) > 0;
        missed(&self.echo) || self.syn.as_ref().is_some_and(missed)
    }

    /// What was asked before this moment is missing, if it has no answer now.
    pub(super) fn missing_since(&self, now: Instant) -> Instant {
        let syn = self.syn.as_ref().and_then(|syn| syn.tally().slowest());
        let rtt = self.echo.tally().slowest().max(syn).unwrap_or(FIRST_PATIENCE);
        Instant::from_start(now.since_start().saturating_sub(rtt * 2 + JITTER))
    }

    /// Asks flows again, unanswered and answered ones; `false` where that cannot be done.
    pub(super) fn sweep_flows(&mut self, now: Instant) -> bool {
        let late = now.since(self.started) > LATEST_SWEEP;
        let (Some(port), Some(syn)) = (self.scope.port, &self.syn) else { return false };
        if late || self.sources.is_empty() || !self.may_ask(Topic::Flows) {
            return false;
        }
        let source = |ask: u16| self.sources.get(&ask).copied();
        let missing = syn.overdue(self.missing_since(now)).filter_map(source);
        let mut unanswered: BTreeSet<u16> = missing.chain(self.vanished_connection()).collect();
        let mut answered = BTreeSet::new();
        for (ask, kind) in syn.fates() {
            match (kind, source(ask)) {
                (AnswerKind::Silence, Some(source)) => unanswered.insert(source),
                (AnswerKind::SynAck | AnswerKind::Reset, Some(source)) => answered.insert(source),
                (_, _) => false,
            };
        }
        if let Some(flows) = &self.flows {
            let fates = flows.fates().0.iter();
            unanswered.extend(fates.filter(|(_, fate)| fate.answered == 0).map(|(port, _)| *port));
            unanswered.extend(flows.overdue(self.missing_since(now)));
        }
        answered.retain(|source| !unanswered.contains(source));
        let flows = self.flows.get_or_insert_with(|| Flows::new(port, now, &[]));
        flows.sweep(now, &unanswered, &answered);
        true
    }

    /// Asks flows a third time where two rounds look like a dead path and do not settle it: seven
    /// of eight flows that fail may be chance.
    pub(super) fn ask_flows_once_more(&mut self, now: Instant) {
        let late = self.scope.depth == Depth::Full && now.since(self.started) > LATEST_ROUND;
        let before = self.missing_since(now);
        let Some(flows) = self.flows.as_ref().filter(|flows| flows.may_ask_once_more()) else {
            return;
        };
        let overdue: Vec<_> = flows.overdue(before).collect();
        let open = overdue.len() < flows.outstanding();
        let (Some(mut fates), false) = (self.flow_fates(), late || open) else { return };
        let syns = self.syn.iter().flat_map(|syn| syn.overdue(before));
        let syns = syns.filter_map(|ask| self.sources.get(&ask).copied());
        for source in overdue.into_iter().chain(syns) {
            fates.0.entry(source).or_default().note(AnswerKind::Silence);
        }
        let chosen = fates.undecided(self.echo.tally().count(AnswerKind::Silence) >= 2);
        let fits = u64::try_from(chosen.len()).is_ok_and(|packets| packets <= self.room());
        if let Some(flows) = self.flows.as_mut().filter(|_| fits && !chosen.is_empty()) {
            flows.ask_once_more(now, &chosen);
        }
    }

    /// The fates of all flows; `None` where none was asked again.
    pub(super) fn flow_fates(&self) -> Option<FlowFates> {
        let flows = self.flows.as_ref()?;
        let mut fates = flows.fates().clone();
        if let Some(fate) = self.vanished_connection().and_then(|port| fates.0.get_mut(&port)) {
            fate.lost += 1;
        }
        let syn = self.syn.as_ref()?;
        for (ask, kind) in syn.fates() {
            let Some(source) = self.sources.get(&ask) else { continue };
            fates.0.entry(*source).or_default().note(kind);
        }
        Some(fates)
    }

    /// Begins the rate sweep if it is wanted; `true` if it began.
    pub(super) fn plan_rates(&mut self, now: Instant) -> bool {
        let patient = self.scope.means.patient && self.rates.is_none();
        if !patient || !self.is_partial() || !self.may_ask(Topic::Rates) {
            return false;
        }
        if self.findings(now).is_split() {
            return false;
        }
        // What TCP loses is what counts; where it loses nothing, the limit may be on echoes.
        let lost = |series: &Series| series.tally().count(AnswerKind::Silence) > 0;
        let question = match (self.scope.port, &self.syn) {
            (Some(port), Some(syn)) if lost(syn) => Question::Syn { port },
            (_, _) => Question::Echo,
        };
        self.rates = Some(Rates::new(question, now));
        true
    }

    /// Counts further where a rate sweep left open whether more is lost than may be; `true` if it
    /// does.
    pub(super) fn count_on(&mut self, now: Instant) -> bool {
        let patient = self.scope.depth == Depth::Full && self.rates.is_some();
        if !patient || std::mem::replace(&mut self.counted, true) {
            return false;
        }
        let all = || [Some(&self.echo), self.syn.as_ref()].into_iter().flatten().map(Series::tally);
        let (lost, sent) = (all().map(missing).sum(), all().map(Tally::valid).sum());
        let lossy = loss_above(self.scope.loss_threshold, lost, sent);
        let open = all().all(|tally| tally.received() > 0) && lossy > 1.0 - LOSSY;
        let open = open && lossy <= SETTLED;
        if open {
            let left = PATIENT_PACKETS.saturating_sub(self.packets) / 2;
            let offsets: Vec<_> = (1..=COUNTED_ON.min(left)).map(Duration::from_secs).collect();
            self.echo.extend(now, &offsets);
            if let Some(syn) = &mut self.syn {
                syn.extend(now, &offsets);
            }
        }
        open
    }
}
