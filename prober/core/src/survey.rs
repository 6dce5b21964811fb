//! A survey: the budgeted series of questions that one vantage asks about one address.
//!
//! It starts with a quick look at every layer. When all of them answer it is over in well under a
//! second; when something is missing, confirmation spreads over wall time (0 to 8 s), since more
//! packets inside one second buy nothing against bursts, and traces say where.

mod agenda;
mod connection;
mod course;
mod details;
pub mod findings;
pub mod ports;
pub mod rdp;
pub(crate) mod security;
mod senders;
pub mod service;
pub mod signs;
mod splits;
mod sweeps;
pub mod turn;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::evidence::rdp::RdpDepth;
use crate::evidence::{AnswerKind, InvalidReason, LocalError, Observation};
use crate::path::PathEnd;
use crate::probe::asides::{About, Asides};
use crate::probe::flows::Flows;
use crate::probe::large::Large;
use crate::probe::rates::Rates;
use crate::probe::series::Series;
use crate::probe::trace::{Flavour, Trace};
use crate::probe::{Ask, Engine, Question};
use crate::time::Instant;
use agenda::Agenda;
pub use agenda::Topic;
use connection::Connection;
use findings::{Findings, SiblingPath};
use ports::Ports;
use rdp::{LookScope, Looking};

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
#[derive(Debug, Clone, PartialEq)]
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
    /// Whether one that is left unanswered is made once more: not where that is known.
    pub connect_again: bool,
    /// What usually answers; a recheck that sees only this ends at once.
    pub known: Option<Known>,
    /// Whether and how far the RDP server is looked at.
    pub look: Option<LookScope>,
    /// Ports and neighbours that may be asked.
    pub ports: Ports,
    /// What may be asked beyond the usual.
    pub means: Means,
    /// Whether the way is traced whatever is found, as a full survey does.
    pub trace: bool,
    /// The ratio of loss, 0 to 1, above which it is a failure.
    pub loss_threshold: f64,
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
    /// Whether SYNs were lost and echoes were not.
    pub thinned: bool,
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
    Connect {
        /// Whether it is made once more: the first was left unanswered.
        again: bool,
    },
    /// Look at the RDP server.
    Look(RdpDepth),
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
    connection: Connection,
    looking: Looking,
    look_held: bool,
    /// Whether more was asked because a further connection was not accepted.
    asked_behind: bool,
    /// Source ports of the SYNs by ask, where they are ours to choose.
    sources: BTreeMap<u16, u16>,
    flows: Option<Flows>,
    large: Option<Large>,
    rates: Option<Rates>,
    /// Whether a loss that the rate sweep left open was counted further.
    counted: bool,
    asides: Asides,
    agenda: Agenda,
    local: Vec<LocalError>,
    packets: u64,
    /// Of these, those that are not meant to expire on the way.
    arriving: u64,
}

impl Survey {
    /// A survey that starts now.
    pub fn new(scope: Scope, now: Instant) -> Self {
        // A first look asks more flows: one dead path of four goes unseen by eight of them, and the
        // connection's own, once in thirteen.
        let (echoes, syns, gap) = match scope.depth {
            Depth::Full => (10, 8, 60),
            // Where some SYNs pass, three may all do so by chance.
            Depth::Suspicion if scope.suspects.thinned => (10, 8, 150),
            Depth::Suspicion => (10, 3, 150),
            Depth::Recheck => (5, 3, 150),
        };
        let spaced = |count: u64, gap: u64| -> Vec<Duration> {
            (0..count).map(|index| Duration::from_millis(index * gap)).collect()
        };
        let traced = scope.trace || scope.depth == Depth::Full;
        Self {
            echo: Series::new(Question::Echo, now, &spaced(echoes, 50)),
            syn: scope
                .port
                .map(|port| Series::new(Question::Syn { port }, now, &spaced(syns, gap))),
            icmp_trace: traced.then(|| Trace::new(Flavour::Icmp, None)),
            tcp_trace: None,
            siblings: Vec::new(),
            connection: Connection::new(scope.port.is_some() && scope.connect, now),
            looking: Looking::default(),
            look_held: false,
            asked_behind: false,
            sources: BTreeMap::new(),
            flows: Self::suspected_flows(&scope, now),
            large: None,
            rates: None,
            counted: false,
            asides: Asides::default(),
            agenda: Agenda::default(),
            local: Vec::new(),
            packets: 0,
            arriving: 0,
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
        if let Some(again) = self.poll_connection(now) {
            self.packets += 1;
            return Some(Want::Connect { again });
        }
        if let Some(depth) = self.poll_look(now) {
            self.packets += 1;
            return Some(Want::Look(depth));
        }
        let address = self.scope.address;
        let want = self.poll_parts(now, address);
        self.packets += u64::from(want.is_some());
        let is_trace =
            |part: Part| matches!(part, Part::IcmpTrace | Part::TcpTrace | Part::Sibling(_));
        let arrives = matches!(want, Some(Want::Ask(part, ..)) if !is_trace(part));
        self.arriving += u64::from(arrives);
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
        self.count_twice(now, part, seen);
    }

    /// Takes a fact that came after the fate was settled.
    pub fn handle_afterthought(&mut self, now: Instant, part: Part, ask: u16, seen: &Observation) {
        if let Some(engine) = self.engine(part) {
            engine.handle_afterthought(now, ask, seen);
        }
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
        let tallies = [Some(self.echo.tally()), self.syn.as_ref().map(Series::tally)];
        let refused = tallies.into_iter().flatten().any(|tally| !tally.errors.is_empty());
        Findings {
            address: self.scope.address,
            port: self.scope.port,
            started: self.started,
            ended: now,
            depth: self.scope.depth,
            echo: self.echo.tally().clone(),
            syn: self.syn.as_ref().map(|syn| syn.tally().clone()),
            connect: self.connection.report().cloned(),
            is_connecting: self.connection.is_open(),
            connection_before: self.connection.before().cloned(),
            overheard: self.connection.overheard(),
            rdp: self.seen_look(),
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
            refused: refused.then_some(now),
            neighbour_error: None,
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
}

/// Whether a path reached its destination.
pub const fn reached(end: PathEnd) -> bool {
    matches!(end, PathEnd::Reached(_))
}
