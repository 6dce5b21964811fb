//! The course of a survey: what is asked next, and when it is over.

use std::net::IpAddr;
use std::time::Duration;

use super::{Depth, Phase, Survey, Topic};
use crate::evidence::{AnswerKind, ConnectResult, ServiceAnswer};
use crate::path::distance;
use crate::probe::Engine;
use crate::probe::flows::Flows;
use crate::probe::series::Series;
use crate::probe::trace::{Flavour, Trace};
use crate::time::Instant;

/// Offsets of the confirmation, in milliseconds from its start: fast and slow bad spells both end
/// inside it (DESIGN section 2).
const CONFIRM: [u64; 7] = [0, 200, 500, 1_000, 2_000, 4_000, 8_000];
/// More offsets for a partial loss, where the count of probes decides.
const DENSE: [u64; 13] =
    [250, 750, 1_500, 2_500, 3_000, 3_500, 4_500, 5_000, 5_500, 6_000, 6_500, 7_000, 7_500];
/// Offsets of what is asked where a further connection was not accepted.
const BEHIND: [u64; 7] = [0, 250, 600, 1_000, 1_600, 2_300, 3_200];
/// No probe of a confirmation that somebody waits for leaves later than this.
const LATEST: Duration = Duration::from_millis(9_500);
/// How long the quick look waits for a first answer.
pub(super) const FIRST_PATIENCE: Duration = Duration::from_millis(1_000);
/// What an answer may be late beyond twice the round trip: a busy prober or host wakes that late.
pub(super) const JITTER: Duration = Duration::from_millis(250);

impl Survey {
    pub(super) fn advance(&mut self, now: Instant) {
        self.plan_paths();
        self.plan_tcp_trace(now);
        self.plan_large(now);
        self.plan_asides(now);
        self.plan_connection(now);
        self.sweep_flows_after_all(now);
        self.ask_flows_once_more(now);
        match self.phase {
            Phase::Quick if self.everything_answered() => {
                self.trace_refusals();
                let is_large_over = self.large.as_ref().is_none_or(Engine::is_done);
                if self.traces_settled(now) && is_large_over && self.asides.is_done() {
                    self.phase = Phase::Done;
                }
            }
            Phase::Quick if self.patience_is_over(now) => self.confirm(now),
            Phase::Confirm { dense: false }
                if self.is_partial()
                    || self.seems_partial(now)
                    || self.vanished_connection().is_some() =>
            {
                self.densify(now);
            }
            Phase::Confirm { .. } if self.is_settled() => {
                if !self.plan_rates(now) && !self.count_on(now) {
                    self.phase = Phase::Done;
                }
            }
            Phase::Quick | Phase::Confirm { .. } | Phase::Done => {}
        }
    }

    /// The TCP trace waits for the ICMP one, which tells how many hop limits are worth asking: at
    /// most three SYNs of a pass reach the target (DESIGN section 4 rule 4).
    fn plan_tcp_trace(&mut self, now: Instant) {
        let (Some(port), Some(icmp), None) = (self.scope.port, &self.icmp_trace, &self.tcp_trace)
        else {
            return;
        };
        if !icmp.knows_enough(now) {
            return;
        }
        let guess = self.distance_guess().map(|routers| routers + 1);
        // Where the hops before its end are silent, a trace whose probes were lost looks too long.
        let known = match (icmp.reached(), guess) {
            (Some(reached), Some(guess)) if icmp.last_answer() + 1 < reached => {
                Some(reached.min(guess.max(icmp.last_answer() + 1)))
            }
            (reached, guess) => reached.or(guess),
        };
        let limit = known.map_or_else(|| icmp.last_answer() + 3, |length| length + 1);
        self.tcp_trace = Some(Trace::new(Flavour::Tcp(port), Some(limit)));
    }

    fn distance_guess(&self) -> Option<u8> {
        let syn = self.syn.as_ref().and_then(|syn| syn.tally().ttl());
        self.echo.tally().ttl().or(syn).map(distance)
    }

    /// Whether every layer asked has answered, well or badly, with nothing left open.
    fn everything_answered(&self) -> bool {
        let heard = |series: &Series| {
            let tally = series.tally();
            series.is_done() && tally.count(AnswerKind::Silence) == 0
        };
        let echo_heard = heard(&self.echo) || self.echo_is_filtered() && self.echo.is_done();
        let flows_heard =
            self.flows.as_ref().is_none_or(|flows| flows.is_done() && !flows.lost_any());
        let asked_on = flows_heard && !self.connection.is_open() && self.look_is_over();
        echo_heard && self.syn.as_ref().is_none_or(heard) && asked_on
    }

    /// The service answered and no echo did: filtered, as Windows does by default. Asking on would
    /// tell nothing new.
    fn echo_is_filtered(&self) -> bool {
        let Some(report) = self.connection.ended() else { return false };
        let serves = matches!(
            report.service,
            None | Some(
                ServiceAnswer::Confirmed { .. }
                    | ServiceAnswer::Refused { .. }
                    | ServiceAnswer::NotAsked
            )
        );
        let accepted = self.syn.as_ref().is_some_and(|syn| {
            let tally = syn.tally();
            syn.is_done() && tally.valid() > 0 && tally.count(AnswerKind::SynAck) == tally.valid()
        });
        let connected = report.result == ConnectResult::Connected;
        connected && serves && accepted && self.echo.tally().received() == 0
    }

    fn traces_settled(&self, now: Instant) -> bool {
        let over = |trace: &Trace| trace.is_done() || trace.waits_for_silence_only(now);
        let tcp_planned =
            self.icmp_trace.is_none() || self.scope.port.is_none() || self.tcp_trace.is_some();
        tcp_planned
            && self.icmp_trace.as_ref().is_none_or(over)
            && self.tcp_trace.as_ref().is_none_or(over)
            && self.siblings.iter().all(|(_, trace)| over(trace))
    }

    /// Where only errors came, paths tell a host that is gone from a way that is gone.
    fn trace_refusals(&mut self) {
        if self.scope.depth != Depth::Recheck && self.nothing_came() {
            self.trace_siblings();
        }
    }

    fn trace_siblings(&mut self) {
        self.icmp_trace.get_or_insert_with(|| Trace::new(Flavour::Icmp, None));
        if self.siblings.is_empty() {
            let trace = |address: &IpAddr| (*address, Trace::new(Flavour::Icmp, None));
            self.siblings = self.scope.siblings.iter().map(trace).collect();
        }
    }

    /// Whether an answer is overdue by what is known of the round trip.
    fn patience_is_over(&self, now: Instant) -> bool {
        let all_sent = self.echo.all_sent()
            && self.syn.as_ref().is_none_or(Series::all_sent)
            && self.flows.as_ref().is_none_or(Flows::all_sent);
        if !all_sent {
            return false;
        }
        let overdue = |series: &Series| {
            let slowest = series.tally().slowest().or_else(|| self.echo.tally().slowest());
            let patience = slowest.map_or(FIRST_PATIENCE, |rtt| rtt * 2 + JITTER);
            let waited = series.oldest_outstanding().is_some_and(|at| now.since(at) > patience);
            waited || series.tally().count(AnswerKind::Silence) > 0
        };
        let connecting =
            self.connection.is_first_flying() && now.since(self.started) > FIRST_PATIENCE;
        let echo_overdue = overdue(&self.echo) && !self.echo_is_filtered();
        let flows_overdue = self.flows.as_ref().is_some_and(|flows| {
            flows.lost_any() || flows.overdue(self.missing_since(now)).next().is_some()
        });
        echo_overdue || self.syn.as_ref().is_some_and(overdue) || flows_overdue || connecting
    }

    /// Asks on where all was well and then a further connection was not accepted: it may be so from
    /// now on.
    pub(super) fn ask_behind_a_look(&mut self, now: Instant) {
        if self.phase == Phase::Quick && !std::mem::replace(&mut self.asked_behind, true) {
            let offsets = BEHIND.map(Duration::from_millis);
            self.echo.extend(now, &offsets);
            if let Some(syn) = &mut self.syn {
                syn.extend(now, &offsets);
            }
        }
    }

    fn confirm(&mut self, now: Instant) {
        if self.scope.depth == Depth::Recheck && self.nothing_changed() {
            self.phase = Phase::Confirm { dense: true };
            return;
        }
        let gone = now.since(self.started);
        let mut offsets = CONFIRM.map(Duration::from_millis).to_vec();
        offsets.retain(|offset| gone + *offset <= LATEST || self.scope.depth != Depth::Full);
        self.echo.extend(now, &offsets);
        if let Some(syn) = &mut self.syn {
            // A first look has asked more SYNs already.
            if self.scope.depth == Depth::Full && offsets.len() > 1 {
                offsets.remove(1);
            }
            syn.extend(now, &offsets);
        }
        self.phase = Phase::Confirm { dense: false };
    }

    /// Traces that can still change the verdict.
    fn plan_paths(&mut self) {
        let confirming = matches!(self.phase, Phase::Confirm { .. });
        if !confirming || self.scope.depth == Depth::Recheck && self.nothing_changed() {
            return;
        }
        if self.may_ask(Topic::Path) {
            self.icmp_trace.get_or_insert_with(|| Trace::new(Flavour::Icmp, None));
        }
        if self.nothing_came() && self.may_ask(Topic::Siblings) {
            self.trace_siblings();
        }
    }

    /// Whether a recheck sees just what is known of this failure.
    fn nothing_changed(&self) -> bool {
        let Some(known) = self.scope.known else { return false };
        let same = |series: &Series, known: Option<AnswerKind>| {
            let tally = series.tally();
            match known {
                Some(AnswerKind::Silence) | None => tally.received() == 0,
                Some(kind) => {
                    tally.count(kind) > 0
                        && tally.count(AnswerKind::Silence) == 0
                        && series.is_done()
                }
            }
        };
        same(&self.echo, known.echo) && self.syn.as_ref().is_none_or(|syn| same(syn, known.syn))
    }

    pub(super) fn nothing_came(&self) -> bool {
        self.echo.tally().received() == 0
            && self.syn.as_ref().is_none_or(|syn| syn.tally().received() == 0)
    }

    /// Some probes were answered and some were not: counting is what decides.
    pub(super) fn is_partial(&self) -> bool {
        let mixed = |series: &Series| {
            let tally = series.tally();
            tally.received() > 0 && tally.count(AnswerKind::Silence) > 0
        };
        // The SYNs on flows asked before count among all SYNs.
        mixed(&self.echo) || self.syn.as_ref().is_some_and(mixed)
    }

    fn densify(&mut self, now: Instant) {
        self.phase = Phase::Confirm { dense: true };
        let gone = now.since(self.started);
        let left = DENSE.map(Duration::from_millis).into_iter().filter(|offset| *offset > gone);
        let offsets: Vec<_> = left.map(|offset| offset.saturating_sub(gone)).collect();
        let gap = if self.scope.depth == Depth::Full { 8 } else { 4 };
        let few: Vec<_> = offsets.iter().copied().step_by(gap).collect();
        self.echo.extend(now, &few);
        if !self.sweep_flows(now)
            && let Some(syn) = &mut self.syn
        {
            syn.extend(now, &offsets);
        }
    }

    /// When counting began too little was known for the flows to be worth their packets.
    fn sweep_flows_after_all(&mut self, now: Instant) {
        let counts = matches!(self.phase, Phase::Confirm { dense: true });
        if counts && self.flows.is_none() && self.is_partial() {
            self.sweep_flows(now);
        }
    }

    fn is_settled(&self) -> bool {
        let series = self.echo.is_done() && self.syn.as_ref().is_none_or(Engine::is_done);
        let connect = !self.connection.is_open();
        let traces = self.siblings.iter().map(|(_, trace)| trace);
        let mut traces = traces.chain(&self.icmp_trace).chain(&self.tcp_trace);
        let sweeps = self.sweeps().all(Engine::is_done);
        series && connect && sweeps && self.look_is_over() && traces.all(Engine::is_done)
    }
}
