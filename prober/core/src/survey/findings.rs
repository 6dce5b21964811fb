//! What a survey found: the facts a verdict rests on.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::signs::is_lossy;
use super::{Depth, Suspects};
use crate::evidence::rdp::RdpSeen;
use crate::evidence::{ConnectReport, IcmpAnswer, LocalError, Overheard, Probe, ServiceAnswer};
use crate::path::{Path, PathEnd, distance};
use crate::probe::asides::AsideFates;
use crate::probe::flows::FlowFates;
use crate::probe::large::SizeFates;
use crate::probe::rates::RateFates;
use crate::probe::series::Tally;
use crate::time::Instant;

/// Flows that never answered and are asked again in the next survey at most.
pub(crate) const SUSPECTS_MAX: usize = 3;

/// Everything one vantage knows of one address after a survey.
#[derive(Debug, Clone, PartialEq)]
pub struct Findings {
    /// The address.
    pub address: IpAddr,
    /// The TCP port asked; `None` for echo only.
    pub port: Option<u16>,
    /// When the survey began.
    pub started: Instant,
    /// When it ended.
    pub ended: Instant,
    /// How thorough it was.
    pub depth: Depth,
    /// Echoes.
    pub echo: Tally,
    /// SYNs.
    pub syn: Option<Tally>,
    /// The full connection, if one was made and has ended.
    pub connect: Option<ConnectReport>,
    /// What an earlier connection of the survey was answered, where this one came to the contrary.
    pub connection_before: Option<ServiceAnswer>,
    /// Whether one was still under way when the survey was cut short.
    pub is_connecting: bool,
    /// What the ring saw of that connection, if it saw it begin.
    pub overheard: Option<Overheard>,
    /// What the last look at the RDP server showed, if there was one.
    pub rdp: Option<Arc<RdpSeen>>,
    /// The ICMP path, if traced.
    pub icmp_path: Option<Path>,
    /// The TCP path, if traced.
    pub tcp_path: Option<Path>,
    /// Paths toward neighbouring addresses.
    pub siblings: Vec<SiblingPath>,
    /// Flows asked again and again, if any were; their SYNs count in `syn` as well.
    pub flows: Option<FlowFates>,
    /// Large packets, if asked.
    pub large: Option<SizeFates>,
    /// Two rates, if there was time; their probes count in `echo` or `syn` as well.
    pub rates: Option<RateFates>,
    /// What configured ports and neighbours answered, if asked.
    pub asides: AsideFates,
    /// When an ICMP error was last among the answers.
    pub refused: Option<Instant>,
    /// What a router on the way said of a neighbour that fails like this address, of which nobody
    /// said anything.
    pub neighbour_error: Option<IcmpAnswer>,
    /// What our own kernel refused.
    pub local: Vec<LocalError>,
    /// Packets asked for, traces included.
    pub packets: u64,
}

/// How long an ICMP error that no later look drew again still counts.
const REFUSALS_KEPT: Duration = Duration::from_secs(120);

/// The path toward a neighbouring address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiblingPath {
    /// The neighbour.
    pub address: IpAddr,
    /// The path.
    pub path: Path,
}

impl Findings {
    /// A look at this address that asked nothing.
    pub fn nothing(address: IpAddr, (started, ended): (Instant, Instant), depth: Depth) -> Self {
        Self {
            address,
            port: None,
            started,
            ended,
            depth,
            echo: Tally::default(),
            syn: None,
            connect: None,
            connection_before: None,
            is_connecting: false,
            overheard: None,
            rdp: None,
            icmp_path: None,
            tcp_path: None,
            siblings: Vec::new(),
            flows: None,
            large: None,
            rates: None,
            asides: AsideFates::default(),
            refused: None,
            neighbour_error: None,
            local: Vec::new(),
            packets: 0,
        }
    }

    /// The largest hop limit at which a router answered on the way to the target, over both flows.
    pub fn last_router(&self) -> u8 {
        let paths = self.icmp_path.iter().chain(&self.tcp_path);
        paths.map(Path::last_router).max().unwrap_or(0)
    }

    /// The largest hop limit from behind which anybody on the way was heard: routers whose turn it
    /// was, and whoever sent an error at a hop limit of its own. 2 stands for "behind the first
    /// router", of an error to a probe of the full hop limit.
    pub fn furthest_word(&self) -> u8 {
        let paths = || self.icmp_path.iter().chain(&self.tcp_path);
        // A router without a neighbour to pass it on to refuses what the hop limit took past it.
        let hop_of = |path: &Path, from: IpAddr| {
            path.hops.iter().find(|hop| hop.address == Some(from)).map(|hop| hop.ttl)
        };
        let refused = paths().filter_map(|path| match path.end {
            PathEnd::Unreachable { ttl, from } => Some(hop_of(path, from).unwrap_or(ttl)),
            PathEnd::Reached(_) | PathEnd::Loop | PathEnd::Silent => None,
        });
        let first = |from: IpAddr| paths().any(|path| path.at(1) == Some(from));
        let errors = [Some(&self.echo), self.syn.as_ref()].into_iter().flatten();
        let errors = errors.flat_map(|tally| &tally.errors);
        // Nobody but the first router has an answer that passed no other.
        let mut beyond = errors.filter(|(error, _)| {
            !first(error.from) && error.ttl.is_some_and(|ttl| distance(ttl) > 0)
        });
        let beyond = beyond.next().map(|_| 2);
        refused.chain(beyond).fold(self.last_router(), u8::max)
    }

    /// The routers that answered on the way.
    pub fn routers(&self) -> impl Iterator<Item = IpAddr> {
        let paths = self.icmp_path.iter().chain(&self.tcp_path);
        let hops = paths.flat_map(|path| &path.hops).filter_map(|hop| hop.address);
        hops.filter(|hop| *hop != self.address)
    }

    /// Whether the fate of no probe to the target is known.
    pub fn is_blank(&self) -> bool {
        [Some(&self.echo), self.syn.as_ref()].into_iter().flatten().all(|tally| tally.valid() == 0)
    }

    /// Whether a fault came or went while it looked.
    pub fn saw_a_turn(&self) -> bool {
        [Some(&self.echo), self.syn.as_ref()].into_iter().flatten().any(Tally::saw_a_turn)
    }

    /// What decides whether a loss lasts: SYNs where there are any, since echoes that are limited
    /// go on missing.
    pub fn deciding(&self) -> &Tally {
        self.syn.as_ref().unwrap_or(&self.echo)
    }

    /// Whether so much was lost, but for a shorter time than this as far as was seen.
    pub fn lost_for_less_than(&self, threshold: f64, time: Duration) -> bool {
        let deciding = self.deciding();
        let spell = deciding.missed_for().unwrap_or_default();
        is_lossy(deciding, threshold) && !self.is_split() && spell < time
    }

    /// Whether one flow, that of the echoes, loses a part of its packets.
    fn has_mixed_echoes(&self) -> bool {
        let (received, valid) = (self.echo.received(), self.echo.valid());
        received > 0 && valid - received >= 2
    }

    /// Whether some flows fail for good.
    pub fn is_split(&self) -> bool {
        self.flows.as_ref().is_some_and(|flows| flows.is_split(self.has_mixed_echoes()))
    }

    /// What a later survey should look for again.
    pub fn suspects(&self) -> Suspects {
        let mut flows = self.flows.as_ref().map(FlowFates::dead).unwrap_or_default();
        flows.truncate(SUSPECTS_MAX);
        let sizes = self.large.as_ref().is_some_and(SizeFates::any_failed);
        let clean = self.echo.received() > 0 && self.echo.received() == self.echo.valid();
        let thinned = clean && self.loses_syns();
        Suspects { flows, sizes, thinned }
    }

    /// How long it took.
    pub fn took(&self) -> Duration {
        self.ended.since(self.started)
    }

    /// Adds an error that came late; `true` if nothing was answered and none of its kind from its
    /// sender is known, so that it is a new fact.
    pub fn learn(
        &mut self,
        now: Instant,
        probe: Probe,
        (error, delay): (IcmpAnswer, Option<Duration>),
    ) -> bool {
        self.refused = Some(now);
        let tally = match (probe, &mut self.syn) {
            (Probe::Syn, Some(syn)) => syn,
            (_, _) => &mut self.echo,
        };
        let same = |(known, _): &(IcmpAnswer, Option<Duration>)| {
            known.kind == error.kind && known.from == error.from
        };
        let new = tally.received() == 0 && !tally.errors.iter().any(same);
        if new {
            tally.errors.push((error, delay));
        }
        new
    }

    /// Whether nobody answered, neither the address itself nor a router in its place.
    pub fn is_silent(&self) -> bool {
        let mut tallies = [Some(&self.echo), self.syn.as_ref()].into_iter().flatten();
        self.came_to_nothing() && tallies.all(|tally| tally.errors.is_empty())
    }

    /// Whether the address itself answered nothing that was asked.
    pub fn came_to_nothing(&self) -> bool {
        let mut tallies = [Some(&self.echo), self.syn.as_ref()].into_iter().flatten();
        !self.is_blank() && tallies.all(|tally| tally.received() == 0)
    }

    /// Whether some of the SYNs were answered and some were not.
    pub fn loses_syns(&self) -> bool {
        self.syn.as_ref().is_some_and(|syn| syn.received() > 0 && syn.received() < syn.valid())
    }

    /// Whether the full connection was made and its service said nothing.
    pub fn missed_service(&self) -> bool {
        let said = self.connect.as_ref().and_then(|report| report.service.as_ref());
        said.is_some_and(ServiceAnswer::is_missing)
    }

    /// Takes over what flows told in a look before, if too few of them were asked again this time.
    pub fn remember_flows(&mut self, before: &Self) {
        let told = |flows: &Option<FlowFates>| flows.as_ref().is_some_and(FlowFates::is_mixed);
        let Some(known) = before.flows.as_ref().filter(|_| !self.is_split()) else { return };
        // What is known to fail for good is asked again in every look, and adds up.
        if before.is_split() {
            self.flows.get_or_insert_default().add_repeated(known);
        } else if known.is_mixed() && !told(&self.flows) {
            self.flows = Some(known.clone());
        }
    }

    /// Takes over what a shorter look at the same address did not ask again.
    pub fn complete_from(&mut self, before: &Self) {
        if self.icmp_path.is_none() {
            self.icmp_path.clone_from(&before.icmp_path);
        }
        if self.tcp_path.is_none() {
            self.tcp_path.clone_from(&before.tcp_path);
        }
        if self.siblings.is_empty() {
            self.siblings.clone_from(&before.siblings);
        }
        // What a connection missed among losses proves nothing once they are over.
        if self.connect.is_none() && !(before.loses_syns() && before.missed_service()) {
            self.connect.clone_from(&before.connect);
            self.connection_before.clone_from(&before.connection_before);
            self.overheard = before.overheard;
        }
        match (&mut self.large, &before.large) {
            (None, known) => self.large.clone_from(known),
            // Segments are asked now and then only.
            (Some(fresh), Some(known)) => fresh.complete_from(known),
            (Some(_), None) => {}
        }
        if self.asides.0.is_empty() {
            self.asides.clone_from(&before.asides);
        }
        // Of a loss that was over in between the next one is another.
        let lost = |tally: &Tally| tally.received() < tally.valid();
        if lost(&self.echo) || self.syn.as_ref().is_some_and(lost) {
            self.rates = self.rates.or(before.rates);
            self.remember_flows(before);
        }
        // Who refuses may be limited to one error in a minute; who has not for two does so no more.
        let lately = |at: &Instant| self.started.since(*at) < REFUSALS_KEPT;
        let Some(refused) = before.refused.filter(lately) else { return };
        self.refused = self.refused.or(Some(refused));
        if self.echo.errors.is_empty() {
            self.echo.errors.clone_from(&before.echo.errors);
        }
        if let (Some(syn), Some(before)) = (&mut self.syn, &before.syn)
            && syn.errors.is_empty()
        {
            syn.errors.clone_from(&before.errors);
        }
    }
}
