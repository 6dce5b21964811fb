//! One vantage's view of one address: the standing watch, the surveys, and what is known.

use std::time::Duration;

use super::Baseline;
use super::rdp::RdpWatch;
use super::recurrence::Recurrence;
use super::spells::Spells;
use crate::budget::{Bucket, Lease};
use crate::evidence::{Answer, AnswerKind, Probe};
use crate::judge::Sign;
use crate::path::Path;
use crate::plan::Budget;
use crate::probe::series::is_local_fault;
use crate::survey::findings::{Findings, SUSPECTS_MAX};
use crate::survey::signs::{Seen, local};
use crate::survey::{Depth, Known, Survey, Suspects};
use crate::sweep::{RowId, Sweep};
use crate::target::Target;
use crate::time::Instant;

/// How often a known failure is looked at again: a heal is classed within 20 s.
pub(super) const RECHECK_EVERY: Duration = Duration::from_secs(8);
/// Surveys of one view begin at least this far apart.
const SURVEY_GAP: Duration = Duration::from_secs(4);
/// A loss that lasts this long is asked whether it depends on the rate, and again so much later.
const RATES_AFTER: Duration = Duration::from_secs(120);
const RATES_EVERY: Duration = Duration::from_secs(3_600);
/// How often the canary port of a healthy target is asked.
const CANARY_EVERY: Duration = Duration::from_secs(3_600);
/// A failure's path is traced anew after this long.
const RETRACE: Duration = Duration::from_secs(60);
/// The way to a healthy target is traced this often: routes change.
const TRACE_EVERY: Duration = Duration::from_secs(6 * 3_600);
/// Where routers on the way were not heard they are asked again this often, in the next looks: they
/// limit their errors, and at the start everybody asks at once.
const TRACES_FOR_HOLES: u8 = 3;
/// Changes that several vantages see within this time are one change.
const SAME_CHANGE: Duration = Duration::from_secs(15);

/// The sweep's rows about one view; a one-shot check has none.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rows {
    /// Echoes.
    pub(super) echo: Option<RowId>,
    /// SYNs.
    pub(super) syn: Option<RowId>,
    /// Full connections, which are only counted there.
    pub(super) connect: Option<RowId>,
    /// Their first words.
    pub(super) x224: Option<RowId>,
    /// TLS behind those, in looks.
    pub(super) tls: Option<RowId>,
    /// NTLM within TLS.
    pub(super) ntlm: Option<RowId>,
}

impl Rows {
    /// The row of this kind of probe.
    pub(super) const fn of(self, probe: Probe) -> Option<RowId> {
        match probe {
            Probe::Echo => self.echo,
            Probe::Syn => self.syn,
            Probe::Connect => self.connect,
            Probe::X224 => self.x224,
            Probe::Tls => self.tls,
            Probe::Ntlm => self.ntlm,
        }
    }

    /// All of them.
    pub(super) fn all(self) -> impl Iterator<Item = (Probe, RowId)> {
        use Probe::{Connect, Echo, Ntlm, Syn, Tls, X224};
        let probes = [Echo, Syn, Connect, X224, Tls, Ntlm];
        probes.into_iter().filter_map(move |probe| Some((probe, self.of(probe)?)))
    }
}

/// How a view stands, as far as its vantage's standing depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Stand {
    /// Nothing asked is answered any more, once and twice in a row.
    pub(super) mute: [bool; 2],
    /// SYNs were answered once and are not any more, once and twice in a row, while echoes are.
    pub(super) lost: [bool; 2],
    /// Our own side failed the last survey.
    pub(super) local: bool,
}

impl Stand {
    /// Reads it off the rows.
    pub(super) fn of(view: &View, sweep: &Sweep) -> Self {
        let local = view.local.is_some();
        let [once, twice] = [1, 2].map(|at_least| view.is_mute(sweep, at_least));
        let lost = [1, 2].map(|at_least| view.lost_touch(sweep, Probe::Syn, at_least) && !once);
        Self { mute: [once, twice], lost, local }
    }
}

/// What one vantage knows of one address.
#[derive(Debug)]
pub(super) struct View {
    /// The standing watch.
    pub(super) rows: Rows,
    /// Their owner's number.
    pub(super) owner: u32,
    /// What may be sent to the address.
    pub(super) lease: Option<Lease>,
    /// How it was last counted for its vantage's standing.
    pub(super) stand: Option<Stand>,
    /// When the next full connection is due; `None` where there are none.
    connect_due: Option<Instant>,
    /// The survey in progress, with its number.
    pub(super) survey: Option<(u64, Survey)>,
    /// What the last survey found.
    pub(super) findings: Option<Findings>,
    /// What our own side did wrong in it, if anything.
    pub(super) local: Option<Seen>,
    /// Evidence must be newer than this: something changed around this view since its last survey.
    pub(super) look_again: Option<Instant>,
    /// When the first of the consecutive misses was known, of echoes and of SYNs.
    missed: [Option<Instant>; 2],
    /// When what usually answers last changed, by the start of the survey that saw it.
    changed: Option<Instant>,
    /// Echoes and SYNs answered in a row since one was missed, while a loss is watched.
    pub(super) clean: [u64; 2],
    /// How often the path changed.
    pub(super) path_changes: u64,
    /// When its path was last traced.
    traced: Option<Instant>,
    /// How often it is traced once more for routers that were not heard.
    traces_left: u8,
    /// When its baseline was last told.
    pub(super) baseline_told: Option<Instant>,
    /// Healthy looks in a row that were slower than the usual round trip.
    pub(super) slower: u8,
    /// Whether the last judgement from here was good.
    pub(super) reachable: Option<bool>,
    /// Source ports of the sweep's SYNs that went unanswered since the last survey.
    lost_flows: Vec<u16>,
    /// Whether the last look at a loss saw flows that fail for good.
    pub(super) split_seen: bool,
    /// Whether the last look saw packets vanish for their size.
    pub(super) sizes_seen: bool,
    survey_begun: Option<Instant>,
    /// When a rate sweep may be made, if the loss that was seen lasts.
    rates_due: Option<Instant>,
    recheck: Option<Instant>,
    /// When the canary port is asked in health; at once until it is known.
    canary_due: Option<Instant>,
    /// When the sweep last drew an error from behind the first router.
    pub(super) refused_beyond: Option<Instant>,
    /// How often it failed lately.
    pub(super) spells: Spells,
    /// What is known of its RDP server.
    pub(super) rdp: RdpWatch,
    /// How earlier failures ended and came back.
    pub(super) recurrence: Recurrence,
    per_minute: Bucket,
    per_hour: Bucket,
}

impl View {
    /// A view that begins to watch now; `phase` spreads first probes over the interval.
    pub(super) fn new(target: &Target, budget: &Budget, now: Instant, phase: f64) -> Self {
        let connects = target.service.has_port();
        let minute = f64::from(budget.connects_per_minute);
        let (at_once, evenly) = budget.hourly_connects();
        Self {
            rows: Rows::default(),
            owner: u32::MAX,
            lease: None,
            stand: None,
            connect_due: connects.then(|| now + target.connect_interval.mul_f64(phase)),
            survey: None,
            findings: None,
            local: None,
            look_again: None,
            missed: [None; 2],
            changed: None,
            clean: [0; 2],
            path_changes: 0,
            traced: None,
            traces_left: TRACES_FOR_HOLES,
            baseline_told: None,
            slower: 0,
            reachable: None,
            lost_flows: Vec::new(),
            split_seen: false,
            sizes_seen: false,
            survey_begun: None,
            rates_due: None,
            recheck: None,
            canary_due: None,
            refused_beyond: None,
            spells: Spells::default(),
            rdp: RdpWatch::default(),
            recurrence: Recurrence::default(),
            per_minute: Bucket::new(minute / 60.0, minute, now),
            per_hour: Bucket::new(evenly / 3_600.0, at_once, now),
        }
    }

    /// How it was last counted.
    pub(super) fn stand(&self) -> Stand {
        self.stand.unwrap_or_default()
    }

    /// Whether another full connection is within the caps.
    pub(super) fn may_connect(&mut self, now: Instant) -> bool {
        let granted = self.per_minute.has(now) && self.per_hour.has(now);
        granted && self.per_minute.take(now) && self.per_hour.take(now)
    }

    /// Whether the newest connection that was made was left unanswered.
    pub(super) fn misses_service(&self) -> bool {
        self.findings.as_ref().is_some_and(Findings::missed_service)
    }

    /// Whether so many more connections are within the caps.
    pub(super) fn has_connects(&mut self, now: Instant, count: usize) -> bool {
        let count = u32::try_from(count).map_or(f64::INFINITY, f64::from);
        self.per_minute.holds(now, count) && self.per_hour.holds(now, count)
    }

    /// Counts connections that were made.
    pub(super) fn count_connects(&mut self, now: Instant, count: u32) {
        self.per_minute.spend(now, f64::from(count));
        self.per_hour.spend(now, f64::from(count));
    }

    /// Takes over the interval of a changed plan.
    pub(super) fn reschedule(&mut self, target: &Target, now: Instant) {
        let latest = now + target.connect_interval;
        self.connect_due = self.connect_due.map(|due| due.min(latest));
    }

    /// Whether a full connection is due; the next one then is after this interval.
    pub(super) fn take_connect(&mut self, now: Instant, interval: Duration) -> bool {
        let due = self.connect_due.is_some_and(|due| due <= now);
        if due {
            self.connect_due = Some(now + interval);
        }
        due
    }

    /// Notes since when this kind of probe is unanswered.
    pub(super) fn note_missed(&mut self, probe: Probe, since: Option<Instant>) {
        let [echo, syn] = &mut self.missed;
        match probe {
            Probe::Echo => *echo = since,
            Probe::Syn => *syn = since,
            Probe::Connect | Probe::X224 | Probe::Tls | Probe::Ntlm => {}
        }
    }

    /// Since when anything is unanswered.
    pub(super) fn missed_since(&self) -> Option<Instant> {
        self.missed.into_iter().flatten().min()
    }

    /// What the sweep should take for usual; anything else is a surprise.
    pub(super) fn expected(&self, probe: Probe) -> Option<AnswerKind> {
        let known = self.known()?;
        if self.local.is_some() {
            return Some(AnswerKind::Invalid);
        }
        match probe {
            Probe::Echo => known.echo,
            Probe::Syn => known.syn,
            Probe::Connect | Probe::X224 | Probe::Tls | Probe::Ntlm => None,
        }
    }

    /// Whether a recheck should reach for the service: only where TCP was last seen to accept.
    pub(super) fn service_matters(&self) -> bool {
        self.known().is_none_or(|known| matches!(known.syn, None | Some(AnswerKind::SynAck)))
    }

    /// Whether the last survey speaks of the failure that the sweep sees now.
    pub(super) fn is_current(&self, probe: Probe) -> bool {
        let [echo, syn] = self.missed;
        let missed = if probe == Probe::Echo { echo } else { syn };
        let findings = self.findings.as_ref();
        missed.zip(findings).is_some_and(|(missed, findings)| findings.started >= missed)
    }

    /// When what usually answers last changed, by the start of the survey that saw it.
    pub(super) const fn changed(&self) -> Option<Instant> {
        self.changed
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

    /// A loss was seen: it is worth a rate sweep once it has lasted.
    pub(super) fn note_loss(&mut self, now: Instant) {
        self.rates_due.get_or_insert(now + RATES_AFTER);
    }

    /// Whether a rate sweep may be made now; it keeps a heal from being seen for most of a minute.
    pub(super) fn may_ask_rates(&self, now: Instant) -> bool {
        self.rates_due.is_some_and(|due| due <= now)
    }

    /// Whether the canary port is asked now even if all is well.
    pub(super) fn take_canary_turn(&mut self, now: Instant, known: bool) -> bool {
        let due = !known || self.canary_due.is_none_or(|due| due <= now);
        if due {
            self.canary_due = Some(now + CANARY_EVERY);
        }
        due
    }

    /// A rate sweep may be made.
    pub(super) fn note_rates(&mut self, now: Instant) {
        self.rates_due = Some(now + RATES_EVERY);
    }

    /// A SYN of the sweep went unanswered: the next survey asks on its flow as well.
    pub(super) fn suspect(&mut self, flow: u16) {
        if self.lost_flows.len() < SUSPECTS_MAX {
            self.lost_flows.push(flow);
        }
    }

    /// What the next survey should look for again; flows that the sweep lost are asked once.
    pub(super) fn take_suspects(&mut self) -> Suspects {
        let found = self.findings.as_ref().map(Findings::suspects).unwrap_or_default();
        let lost = std::mem::take(&mut self.lost_flows);
        let fresh = lost.into_iter().filter(|flow| !found.flows.contains(flow));
        let flows = found.flows.iter().copied().chain(fresh).take(SUSPECTS_MAX).collect();
        Suspects { flows, sizes: found.sizes || self.sizes_seen, ..found }
    }

    /// Whether the way to it is traced in its next look though it is well.
    pub(super) fn wants_trace(&self, now: Instant) -> bool {
        let path = self.findings.as_ref().and_then(|findings| findings.icmp_path.as_ref());
        let has_holes = path.is_none_or(Path::has_holes);
        self.traced.is_none_or(|at| now.since(at) >= TRACE_EVERY)
            || has_holes && self.traces_left > 0
    }

    /// Whether its path was not traced for a while.
    pub(super) fn was_traced_long_ago(&self, now: Instant) -> bool {
        self.traced.is_none_or(|at| now.since(at) >= RETRACE)
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

    /// Looks again as soon as it may: whether a loss lasts, the next look tells.
    pub(super) fn hasten_recheck(&mut self, now: Instant, target: &Target) {
        let (threshold, time) = (target.loss_threshold, target.open_after);
        let lost = |found: &Findings| found.lost_for_less_than(threshold, time);
        if self.recheck.is_some() && self.findings.as_ref().is_some_and(lost) {
            self.recheck = Some(now);
        }
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
            Probe::Connect | Probe::X224 | Probe::Tls | Probe::Ntlm => return false,
        };
        usual.map_or(self.local.is_some(), |usual| usual != kind)
    }

    /// Whether this probe was answered once and is not any more.
    fn lost_touch(&self, sweep: &Sweep, probe: Probe, at_least: u8) -> bool {
        let standing = self.rows.of(probe).map(|row| sweep.standing(row));
        standing.is_some_and(|standing| standing.ever && standing.misses >= at_least)
    }

    /// Whether nothing that was asked is answered any more.
    fn is_mute(&self, sweep: &Sweep, at_least: u8) -> bool {
        let asked = [self.rows.echo, self.rows.syn].into_iter().flatten();
        let mut standings = asked.map(|row| sweep.standing(row)).peekable();
        let mut ever = false;
        standings.peek().is_some()
            && standings.all(|standing| {
                ever |= standing.ever;
                standing.misses >= at_least
            })
            && (ever || at_least > 1)
    }

    /// Takes the result of a survey; says whether what usually answers has changed.
    pub(super) fn conclude(&mut self, mut findings: Findings, learnt: Option<&Baseline>) -> bool {
        self.survey = None;
        if findings.icmp_path.is_some() {
            self.traces_left = self.traces_left.saturating_sub(u8::from(self.traced.is_some()));
            self.traced = Some(findings.started);
        }
        let mut changes = false;
        let was_local = self.local.is_some();
        let seen = local(&findings);
        self.local = Some(seen).filter(|seen| seen.sign != Sign::LocalFine);
        self.look_again = self.look_again.filter(|moment| findings.started < *moment);
        // A look that our own side spoilt as a whole says nothing: what was known still is.
        if self.local.is_none() && findings.is_blank() && self.findings.is_some() {
            return false;
        }
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
            // What refuses now and was silent before still fails on the same way.
            let still = before.came_to_nothing() && findings.came_to_nothing();
            if findings.depth != Depth::Full && (!changes || still) {
                findings.complete_from(before);
            } else if findings.loses_syns() && before.loses_syns() {
                // Of a half that fails now the one, now the other kind of answer is the usual one.
                findings.remember_flows(before);
            }
        }
        self.rdp.conclude(&mut findings, learnt);
        if changes {
            self.changed = Some(findings.started);
        }
        self.findings = Some(findings);
        changes
    }

    /// The next moment something is due here.
    pub(super) fn next_due(&self, now: Instant, sweeping: bool) -> Option<Instant> {
        let connect = self.connect_due.filter(|_| sweeping);
        let survey = self.survey.as_ref().and_then(|(_, survey)| survey.poll_timeout(now));
        connect.into_iter().chain(survey).chain(self.recheck_due()).min()
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
