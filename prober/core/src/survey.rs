//! A survey: the budgeted series of questions that one vantage asks about one address.
//!
//! It starts with a quick look at every layer. When all of them answer it is over in well under a
//! second; when something is missing, confirmation spreads over wall time (0 to 8 s), since more
//! packets inside one second buy nothing against bursts, and traces say where.

pub mod findings;
pub mod ports;
pub mod signs;
mod splits;
mod sweeps;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::evidence::{
    AnswerKind, ConnectReport, ConnectResult, InvalidReason, LocalError, Observation, ServiceAnswer,
};
use crate::path::{PathEnd, distance};
use crate::probe::asides::{About, Asides};
use crate::probe::flows::Flows;
use crate::probe::large::Large;
use crate::probe::rates::Rates;
use crate::probe::series::Series;
use crate::probe::trace::{Flavour, Trace};
use crate::probe::{Ask, Engine, Question};
use crate::time::Instant;
use findings::{Findings, SiblingPath};
use ports::Ports;

/// Offsets of the confirmation, in milliseconds from its start: fast and slow bad spells both end
/// inside it (DESIGN section 2).
const CONFIRM: [u64; 7] = [0, 200, 500, 1_000, 2_000, 4_000, 8_000];
/// More offsets for a partial loss, where the count of probes decides.
const DENSE: [u64; 13] =
    [250, 750, 1_500, 2_500, 3_000, 3_500, 4_500, 5_000, 5_500, 6_000, 6_500, 7_000, 7_500];
/// How long the quick look waits for a first answer.
const FIRST_PATIENCE: Duration = Duration::from_millis(1_000);
/// What an answer may be late beyond twice the round trip: a busy prober or host wakes that late.
const JITTER: Duration = Duration::from_millis(250);

/// How thoroughly to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Everything, paths included, whatever the answers: the first look and `check`.
    Full,
    /// Paths only when something is missing: a suspicion.
    Suspicion,
    /// A few packets, to see whether a known failure still stands.
    Recheck,
}

/// What is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The address.
    pub address: IpAddr,
    /// The TCP port; `None` for echo only.
    pub port: Option<u16>,
    /// How thoroughly.
    pub depth: Depth,
    /// Addresses of the same subnet that may be traced.
    pub siblings: Vec<IpAddr>,
    /// Whether a full connection may be made now.
    pub connect: bool,
    /// What usually answers; a recheck that sees only this ends at once.
    pub known: Option<Known>,
    /// Ports and neighbours that may be asked.
    pub ports: Ports,
    /// What may be asked beyond the usual.
    pub means: Means,
    /// What an earlier survey found amiss and this one should look for again.
    pub suspects: Suspects,
}

/// What may be asked beyond the usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Means {
    /// The vantage writes its own packets: flows can be asked again, and segments sent.
    pub raw: bool,
    /// There is a minute for a rate sweep.
    pub patient: bool,
}

/// What an earlier survey found amiss, to be looked for again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Suspects {
    /// Source ports of flows that never answered.
    pub flows: Vec<u16>,
    /// Whether large packets vanished.
    pub sizes: bool,
}

/// What a failing address was last seen to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Known {
    /// To echoes.
    pub echo: Option<AnswerKind>,
    /// To SYNs.
    pub syn: Option<AnswerKind>,
}

/// The parts of a survey; an ask belongs to one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Echoes to the address.
    Echo,
    /// SYNs to the port.
    Syn,
    /// The ICMP trace.
    IcmpTrace,
    /// The TCP trace.
    TcpTrace,
    /// The trace toward this sibling.
    Sibling(u8),
    /// SYNs on flows that were asked before.
    Flow,
    /// Large packets.
    Large,
    /// Configured ports and neighbours.
    Aside,
    /// Echoes of the rate sweep.
    RateEcho,
    /// SYNs of the rate sweep.
    RateSyn,
}

/// What a survey wants done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Send this to this address.
    Ask(Part, IpAddr, Ask),
    /// Make a full connection to the address.
    Connect,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Quick,
    Confirm { dense: bool },
    Done,
}

/// A survey in progress.
#[derive(Debug)]
pub struct Survey {
    scope: Scope,
    started: Instant,
    phase: Phase,
    echo: Series,
    syn: Option<Series>,
    icmp_trace: Option<Trace>,
    tcp_trace: Option<Trace>,
    siblings: Vec<(IpAddr, Trace)>,
    connect: Connecting,
    /// Source ports of the SYNs by ask, where they are ours to choose.
    sources: BTreeMap<u16, u16>,
    flows: Option<Flows>,
    large: Option<Large>,
    rates: Option<Rates>,
    asides: Asides,
    local: Vec<LocalError>,
    packets: u64,
}

#[derive(Debug)]
enum Connecting {
    NotAsked,
    Wanted,
    Flying,
    Done(Box<ConnectReport>),
}

impl Survey {
    /// A survey that starts now.
    pub fn new(scope: Scope, now: Instant) -> Self {
        // A first look asks more flows: one dead path of four goes unseen by five of them, and the
        // connection's own, once in six.
        let (echoes, syns, gap) = match scope.depth {
            Depth::Full => (10, 5, 100),
            Depth::Suspicion => (10, 3, 150),
            Depth::Recheck => (5, 3, 150),
        };
        let spaced = |count: u64, gap: u64| -> Vec<Duration> {
            (0..count).map(|index| Duration::from_millis(index * gap)).collect()
        };
        let full = scope.depth == Depth::Full;
        Self {
            echo: Series::new(Question::Echo, now, &spaced(echoes, 50)),
            syn: scope
                .port
                .map(|port| Series::new(Question::Syn { port }, now, &spaced(syns, gap))),
            icmp_trace: full.then(|| Trace::new(Flavour::Icmp, None)),
            tcp_trace: None,
            siblings: Vec::new(),
            connect: match (scope.port, scope.connect) {
                (Some(_), true) => Connecting::Wanted,
                (None, _) | (_, false) => Connecting::NotAsked,
            },
            sources: BTreeMap::new(),
            flows: Self::suspected_flows(&scope, now),
            large: None,
            rates: None,
            asides: Asides::default(),
            local: Vec::new(),
            packets: 0,
            started: now,
            phase: Phase::Quick,
            scope,
        }
    }

    /// How thorough it is.
    pub const fn depth(&self) -> Depth {
        self.scope.depth
    }

    /// Gives the next thing to do, if anything is due.
    pub fn poll_want(&mut self, now: Instant) -> Option<Want> {
        self.advance(now);
        if self.phase == Phase::Done {
            return None;
        }
        if matches!(self.connect, Connecting::Wanted) {
            self.connect = Connecting::Flying;
            self.packets += 1;
            return Some(Want::Connect);
        }
        let address = self.scope.address;
        let want = self.poll_parts(now, address);
        self.packets += u64::from(want.is_some());
        want
    }

    fn poll_parts(&mut self, now: Instant, address: IpAddr) -> Option<Want> {
        if let Some(ask) = self.echo.poll_ask(now) {
            return Some(Want::Ask(Part::Echo, address, ask));
        }
        if let Some(ask) = self.syn.as_mut().and_then(|syn| syn.poll_ask(now)) {
            return Some(Want::Ask(Part::Syn, address, ask));
        }
        if let Some((part, ask)) = self.poll_sweeps(now) {
            let about = self.asides.about(ask.id).filter(|_| part == Part::Aside);
            let to = about.and_then(About::elsewhere).unwrap_or(address);
            return Some(Want::Ask(part, to, ask));
        }
        if let Some(ask) = self.icmp_trace.as_mut().and_then(|trace| trace.poll_ask(now)) {
            return Some(Want::Ask(Part::IcmpTrace, address, ask));
        }
        if let Some(ask) = self.tcp_trace.as_mut().and_then(|trace| trace.poll_ask(now)) {
            return Some(Want::Ask(Part::TcpTrace, address, ask));
        }
        for (index, (sibling, trace)) in (0_u8..).zip(&mut self.siblings) {
            if let Some(ask) = trace.poll_ask(now) {
                return Some(Want::Ask(Part::Sibling(index), *sibling, ask));
            }
        }
        None
    }

    /// Every address it sends to now.
    pub fn destinations(&self) -> Vec<IpAddr> {
        let siblings = self.siblings.iter().map(|(address, _)| *address);
        [self.scope.address].into_iter().chain(siblings).chain(self.asides.elsewhere()).collect()
    }

    /// Takes the fate of one ask.
    pub fn handle_observation(&mut self, now: Instant, part: Part, ask: u16, seen: &Observation) {
        if let Some(engine) = self.engine(part) {
            engine.handle_observation(now, ask, seen);
        }
        self.count_twice(part, seen);
    }

    /// Takes a fact that came after the fate was settled.
    pub fn handle_afterthought(&mut self, now: Instant, part: Part, ask: u16, seen: &Observation) {
        if let Some(engine) = self.engine(part) {
            engine.handle_afterthought(now, ask, seen);
        }
    }

    /// Takes the end of the full connection.
    pub fn handle_connect(&mut self, report: Box<ConnectReport>) {
        self.connect = Connecting::Done(report);
    }

    /// The full connection's end was never told: nothing is known of it.
    pub fn handle_connect_lost(&mut self) {
        self.connect = Connecting::NotAsked;
    }

    /// Why its SYNs say nothing, where none of them does and some are our own fault.
    pub fn own_fault(&self) -> Option<InvalidReason> {
        let tally = self.syn.as_ref()?.tally();
        let invalid = tally.counters.invalid.iter().filter(|(_, count)| **count > 0);
        let main = invalid.max_by_key(|(_, count)| **count).map(|(reason, _)| *reason);
        main.filter(|_| tally.valid() == 0)
    }

    /// Our own kernel refused something. What it says of unusual packets is not said of our side: a
    /// link takes no larger ones, and a firewall no segment without a connection.
    pub fn handle_local_error(&mut self, part: Part, error: LocalError) {
        if self.local.len() < 8 && !matches!(part, Part::Large | Part::Aside) {
            self.local.push(error);
        }
    }

    /// When to look again without an observation.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        if self.phase == Phase::Done {
            return None;
        }
        let series = [Some(&self.echo), self.syn.as_ref()];
        let traces = self.siblings.iter().map(|(_, trace)| trace);
        let traces = traces.chain(&self.icmp_trace).chain(&self.tcp_trace);
        let planned = series.into_iter().flatten().filter_map(Engine::poll_timeout);
        let planned = planned.chain(traces.filter_map(Engine::poll_timeout));
        let planned = planned.chain(self.sweeps().filter_map(Engine::poll_timeout));
        let review = now + Duration::from_millis(20);
        planned.chain([review]).min()
    }

    /// The findings, once nothing more is to be learnt.
    pub fn poll_findings(&mut self, now: Instant) -> Option<Findings> {
        self.advance(now);
        (self.phase == Phase::Done).then(|| self.findings(now))
    }

    /// What is known now, whether or not the survey is over.
    pub fn findings(&self, now: Instant) -> Findings {
        Findings {
            address: self.scope.address,
            port: self.scope.port,
            started: self.started,
            ended: now,
            depth: self.scope.depth,
            echo: self.echo.tally().clone(),
            syn: self.syn.as_ref().map(|syn| syn.tally().clone()),
            connect: match &self.connect {
                Connecting::Done(report) => Some((**report).clone()),
                Connecting::NotAsked | Connecting::Wanted | Connecting::Flying => None,
            },
            icmp_path: self.icmp_trace.as_ref().map(Trace::path),
            tcp_path: self.tcp_trace.as_ref().map(Trace::path),
            siblings: self
                .siblings
                .iter()
                .map(|(address, trace)| SiblingPath { address: *address, path: trace.path() })
                .collect(),
            flows: self.flow_fates(),
            large: self.large.as_ref().map(|large| large.fates().clone()),
            rates: self.rates.as_ref().map(Rates::fates),
            asides: self.asides.fates().clone(),
            local: self.local.clone(),
            packets: self.packets,
        }
    }

    fn engine(&mut self, part: Part) -> Option<&mut dyn Engine> {
        match part {
            Part::Echo => Some(&mut self.echo),
            Part::Syn => self.syn.as_mut().map(|syn| syn as &mut dyn Engine),
            Part::IcmpTrace => self.icmp_trace.as_mut().map(|trace| trace as &mut dyn Engine),
            Part::TcpTrace => self.tcp_trace.as_mut().map(|trace| trace as &mut dyn Engine),
            Part::Sibling(index) => {
                let found = self.siblings.get_mut(usize::from(index));
                found.map(|(_, trace)| trace as &mut dyn Engine)
            }
            Part::Flow => self.flows.as_mut().map(|flows| flows as &mut dyn Engine),
            Part::Aside => Some(&mut self.asides),
            Part::Large => self.large.as_mut().map(|large| large as &mut dyn Engine),
            Part::RateEcho | Part::RateSyn => {
                self.rates.as_mut().map(|rates| rates as &mut dyn Engine)
            }
        }
    }

    fn advance(&mut self, now: Instant) {
        self.plan_tcp_trace(now);
        self.plan_large(now);
        self.plan_asides(now);
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
                if !self.plan_rates(now) {
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
        let known = icmp.reached().or_else(|| self.distance_guess().map(|routers| routers + 1));
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
        let connect_over = match &self.connect {
            Connecting::NotAsked | Connecting::Done(_) => true,
            Connecting::Wanted | Connecting::Flying => false,
        };
        let echo_heard = heard(&self.echo) || self.echo_is_filtered() && self.echo.is_done();
        let flows_heard =
            self.flows.as_ref().is_none_or(|flows| flows.is_done() && !flows.lost_any());
        echo_heard && self.syn.as_ref().is_none_or(heard) && flows_heard && connect_over
    }

    /// The service answered and no echo did: filtered, as Windows does by default. Asking on would
    /// tell nothing new.
    fn echo_is_filtered(&self) -> bool {
        let Connecting::Done(report) = &self.connect else { return false };
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
            matches!(self.connect, Connecting::Flying) && now.since(self.started) > FIRST_PATIENCE;
        let echo_overdue = overdue(&self.echo) && !self.echo_is_filtered();
        let flows_overdue = self.flows.as_ref().is_some_and(|flows| {
            flows.lost_any() || flows.overdue(self.missing_since(now)).next().is_some()
        });
        echo_overdue || self.syn.as_ref().is_some_and(overdue) || flows_overdue || connecting
    }

    fn confirm(&mut self, now: Instant) {
        if self.scope.depth == Depth::Recheck && self.nothing_changed() {
            self.phase = Phase::Confirm { dense: true };
            return;
        }
        let offsets = CONFIRM.map(Duration::from_millis);
        self.echo.extend(now, &offsets);
        if let Some(syn) = &mut self.syn {
            syn.extend(now, &offsets);
        }
        self.phase = Phase::Confirm { dense: false };
        self.icmp_trace.get_or_insert_with(|| Trace::new(Flavour::Icmp, None));
        if self.nothing_came() {
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

    fn nothing_came(&self) -> bool {
        self.echo.tally().received() == 0
            && self.syn.as_ref().is_none_or(|syn| syn.tally().received() == 0)
    }

    /// Some probes were answered and some were not: counting is what decides.
    fn is_partial(&self) -> bool {
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
        let few: Vec<_> = offsets.iter().copied().step_by(4).collect();
        self.echo.extend(now, &few);
        if !self.sweep_flows(now)
            && let Some(syn) = &mut self.syn
        {
            syn.extend(now, &offsets);
        }
    }

    fn is_settled(&self) -> bool {
        let series = self.echo.is_done() && self.syn.as_ref().is_none_or(Engine::is_done);
        let connect = !matches!(self.connect, Connecting::Wanted | Connecting::Flying);
        let traces = self.siblings.iter().map(|(_, trace)| trace);
        let mut traces = traces.chain(&self.icmp_trace).chain(&self.tcp_trace);
        let sweeps = self.sweeps().all(Engine::is_done);
        series && connect && sweeps && traces.all(Engine::is_done)
    }
}

/// Whether a path reached its destination.
pub const fn reached(end: PathEnd) -> bool {
    matches!(end, PathEnd::Reached(_))
}
