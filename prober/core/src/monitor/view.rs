//! One vantage's view of one address: the standing watch, the surveys, and what is known.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::accounting::{Counters, Histogram};
use crate::evidence::{Answer, AnswerKind, Observation, Probe};
use crate::judge::Sign;
use crate::monitor::budget::Bucket;
use crate::path::Path;
use crate::plan::Budget;
use crate::probe::series::is_local_fault;
use crate::survey::findings::Findings;
use crate::survey::signs::{Seen, local};
use crate::survey::{Depth, Known, Survey};
use crate::target::Target;
use crate::time::Instant;

/// How often a known failure is looked at again: a heal is classed within 20 s.
pub(super) const RECHECK_EVERY: Duration = Duration::from_secs(8);
/// Surveys of one view begin at least this far apart.
const SURVEY_GAP: Duration = Duration::from_secs(4);
/// Changes that several vantages see within this time are one change.
const SAME_CHANGE: Duration = Duration::from_secs(15);

/// A standing probe.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    /// What is asked.
    pub(super) probe: Probe,
    /// Time between two of them.
    pub(super) interval: Duration,
    /// When the next is due.
    pub(super) due: Instant,
}

/// What one vantage knows of one address.
#[derive(Debug)]
pub(super) struct View {
    /// The standing watch.
    pub(super) rows: Vec<Row>,
    /// The survey in progress, with its number.
    pub(super) survey: Option<(u64, Survey)>,
    /// What the last survey found.
    pub(super) findings: Option<Findings>,
    /// What our own side did wrong in it, if anything.
    pub(super) local: Option<Seen>,
    /// Evidence must be newer than this: something changed around this view since its last survey.
    pub(super) look_again: Option<Instant>,
    /// Packets by fate.
    pub(super) counters: BTreeMap<Probe, (Counters, Histogram)>,
    /// Consecutive probes without an answer from the target.
    pub(super) misses: BTreeMap<Probe, u32>,
    /// Whether this kind of probe was ever answered.
    pub(super) ever: BTreeMap<Probe, bool>,
    /// When the first of the consecutive misses was known.
    missed: BTreeMap<Probe, Instant>,
    /// When what usually answers last changed, by the start of the survey that saw it.
    changed: Option<Instant>,
    /// How often the path changed.
    pub(super) path_changes: u64,
    /// Whether the last judgement from here was good.
    pub(super) reachable: Option<bool>,
    survey_begun: Option<Instant>,
    recheck: Option<Instant>,
    per_minute: Bucket,
    per_hour: Bucket,
}

impl View {
    /// A view that begins to watch now; `phase` spreads first probes over the interval.
    pub(super) fn new(target: &Target, budget: &Budget, now: Instant, phase: f64) -> Self {
        let begin = |interval: Duration| now + interval.mul_f64(phase);
        let row = |probe, interval| Row { probe, interval, due: begin(interval) };
        let mut rows = vec![row(Probe::Echo, target.echo_interval)];
        if target.service.has_port() {
            // Half an interval apart, the two find a fault sooner than side by side.
            let mut syn = row(Probe::Syn, target.syn_interval);
            syn.due = syn.due + target.syn_interval / 2;
            rows.push(syn);
            rows.push(row(Probe::Connect, target.connect_interval));
        }
        let (minute, hour) =
            (f64::from(budget.connects_per_minute), f64::from(budget.connects_per_hour));
        Self {
            rows,
            survey: None,
            findings: None,
            local: None,
            look_again: None,
            missed: BTreeMap::new(),
            changed: None,
            counters: BTreeMap::new(),
            misses: BTreeMap::new(),
            ever: BTreeMap::new(),
            path_changes: 0,
            reachable: None,
            survey_begun: None,
            recheck: None,
            per_minute: Bucket::new(minute / 60.0, minute, now),
            per_hour: Bucket::new(hour / 3_600.0, hour, now),
        }
    }

    /// Whether another full connection is within the caps.
    pub(super) fn may_connect(&mut self, now: Instant) -> bool {
        let granted = self.per_minute.has(now) && self.per_hour.has(now);
        granted && self.per_minute.take(now) && self.per_hour.take(now)
    }

    /// Takes over the intervals of a changed plan.
    pub(super) fn reschedule(&mut self, target: &Target, now: Instant) {
        for row in &mut self.rows {
            row.interval = match row.probe {
                Probe::Echo => target.echo_interval,
                Probe::Syn => target.syn_interval,
                Probe::Connect | Probe::X224 => target.connect_interval,
            };
            row.due = row.due.min(now + row.interval);
        }
    }

    /// Whether a recheck should reach for the service: only where TCP was last seen to accept.
    pub(super) fn service_matters(&self) -> bool {
        self.known().is_none_or(|known| matches!(known.syn, None | Some(AnswerKind::SynAck)))
    }

    /// Whether the last survey speaks of the failure that the sweep sees now.
    pub(super) fn is_current(&self, probe: Probe) -> bool {
        let missed = self.missed.get(&probe);
        let findings = self.findings.as_ref();
        missed.zip(findings).is_some_and(|(missed, findings)| findings.started >= *missed)
    }

    /// Whether its evidence is older than a change seen elsewhere at `moment`, and did not itself
    /// change lately.
    pub(super) fn is_stale(&self, moment: Instant) -> bool {
        let older = self.findings.as_ref().is_some_and(|findings| findings.started < moment);
        older && self.changed.is_none_or(|changed| moment.since(changed) > SAME_CHANGE)
    }

    /// Whether a survey may begin now.
    pub(super) fn may_survey(&self, now: Instant) -> bool {
        let rested = self.survey_begun.is_none_or(|begun| now.since(begun) >= SURVEY_GAP);
        self.survey.is_none() && rested
    }

    /// Begins a survey.
    pub(super) fn begin(&mut self, now: Instant, number: u64, survey: Survey) {
        self.survey_begun = Some(now);
        self.recheck = None;
        self.survey = Some((number, survey));
    }

    /// Plans the next look at a failure, or at an incident that is about to close.
    pub(super) fn plan_recheck(&mut self, now: Instant, wanted: bool) {
        self.recheck = match (wanted, self.recheck) {
            (false, _) => None,
            (true, Some(at)) => Some(at),
            (true, None) => Some(now + RECHECK_EVERY),
        };
    }

    /// When a recheck is due.
    pub(super) const fn recheck_due(&self) -> Option<Instant> {
        if self.survey.is_some() { None } else { self.recheck }
    }

    /// What a failing address was last seen to answer.
    pub(super) fn known(&self) -> Option<Known> {
        let findings = self.findings.as_ref()?;
        Some(Known {
            echo: findings.echo.usual(),
            syn: findings.syn.as_ref().and_then(super::super::probe::series::Tally::usual),
        })
    }

    /// Whether an answer of the standing watch differs from what is known.
    pub(super) fn is_surprised(&self, probe: Probe, answer: &Answer) -> bool {
        let Some(known) = self.known() else { return false };
        if let Answer::Invalid(_) = answer {
            return is_local_fault(answer) && self.local.is_none();
        }
        let kind = answer.kind();
        let usual = match probe {
            Probe::Echo => known.echo,
            Probe::Syn => known.syn,
            Probe::Connect | Probe::X224 => return false,
        };
        usual.map_or(self.local.is_some(), |usual| usual != kind)
    }

    /// Books a probe whose fate is known.
    pub(super) fn account(&mut self, now: Instant, probe: Probe, seen: &Observation) {
        let (counters, histogram) = self.counters.entry(probe).or_default();
        counters.settle(seen);
        if seen.answer.is_from_target()
            && let Some(rtt) = seen.rtt()
        {
            histogram.observe(rtt);
        }
        if matches!(seen.answer, Answer::Invalid(_)) {
            return;
        }
        let answered = seen.answer.is_from_target();
        let misses = self.misses.entry(probe).or_default();
        *misses = if answered { 0 } else { *misses + 1 };
        match *misses {
            0 => drop(self.missed.remove(&probe)),
            1 => drop(self.missed.insert(probe, now)),
            _ => {}
        }
        *self.ever.entry(probe).or_default() |= answered;
    }

    /// Whether this probe was answered once and is not any more.
    pub(super) fn lost_touch(&self, probe: Probe, at_least: u32) -> bool {
        let ever = self.ever.get(&probe).copied().unwrap_or(false);
        let misses = self.misses.get(&probe).copied().unwrap_or(0);
        ever && misses >= at_least
    }

    /// Whether nothing that was asked is answered any more.
    pub(super) fn is_mute(&self, at_least: u32) -> bool {
        let asked = [Probe::Echo, Probe::Syn];
        let mut asked =
            asked.into_iter().filter(|probe| self.misses.contains_key(probe)).peekable();
        let missed = |probe: Probe| self.misses.get(&probe).copied().unwrap_or(0) >= at_least;
        let never = self.ever.values().all(|ever| !*ever);
        asked.peek().is_some() && asked.all(missed) && (!never || at_least > 1)
    }

    /// Takes the result of a survey; says whether what usually answers has changed.
    pub(super) fn conclude(&mut self, mut findings: Findings) -> bool {
        self.survey = None;
        let mut changes = false;
        let was_local = self.local.is_some();
        let seen = local(&findings);
        self.local = Some(seen).filter(|seen| seen.sign != Sign::LocalFine);
        self.look_again = self.look_again.filter(|moment| findings.started < *moment);
        if let Some(before) = &self.findings {
            if rerouted(before.icmp_path.as_ref(), findings.icmp_path.as_ref()) {
                self.path_changes += 1;
            }
            let same = |a: &Findings, b: &Findings| {
                a.echo.usual() == b.echo.usual()
                    && a.syn.as_ref().and_then(super::super::probe::series::Tally::usual)
                        == b.syn.as_ref().and_then(super::super::probe::series::Tally::usual)
            };
            changes = self.local.is_some() != was_local || !same(before, &findings);
            if findings.depth != Depth::Full && !changes {
                findings.complete_from(before);
            }
        }
        if changes {
            self.changed = Some(findings.started);
        }
        self.findings = Some(findings);
        changes
    }

    /// The next moment something is due here.
    pub(super) fn next_due(&self, now: Instant, sweeping: bool) -> Option<Instant> {
        let rows = self.rows.iter().filter(|_| sweeping).map(|row| row.due);
        let survey = self.survey.as_ref().and_then(|(_, survey)| survey.poll_timeout(now));
        rows.chain(survey).chain(self.recheck_due()).min()
    }
}

/// Whether two paths name different routers where both name one.
fn rerouted(before: Option<&Path>, after: Option<&Path>) -> bool {
    let (Some(before), Some(after)) = (before, after) else { return false };
    after.hops.iter().any(|hop| {
        let known = before.at(hop.ttl);
        known.is_some() && hop.address.is_some() && known != hop.address
    })
}
