//! What a survey found: the facts a verdict rests on.

use std::net::IpAddr;
use std::time::Duration;

use super::{Depth, Suspects};
use crate::evidence::{ConnectReport, IcmpAnswer, LocalError, Probe};
use crate::path::Path;
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
    /// What our own kernel refused.
    pub local: Vec<LocalError>,
    /// Packets asked for, traces included.
    pub packets: u64,
}

/// The path toward a neighbouring address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiblingPath {
    /// The neighbour.
    pub address: IpAddr,
    /// The path.
    pub path: Path,
}

impl Findings {
    /// The largest hop limit at which a router answered on the way to the target, over both flows.
    pub fn last_router(&self) -> u8 {
        let paths = self.icmp_path.iter().chain(&self.tcp_path);
        paths.map(Path::last_router).max().unwrap_or(0)
    }

    /// Whether a fault came or went while it looked.
    pub fn saw_a_turn(&self) -> bool {
        [Some(&self.echo), self.syn.as_ref()].into_iter().flatten().any(Tally::saw_a_turn)
    }

    /// What a later survey should look for again.
    pub fn suspects(&self) -> Suspects {
        let mut flows = self.flows.as_ref().map(FlowFates::dead).unwrap_or_default();
        flows.truncate(SUSPECTS_MAX);
        let sizes = self.large.as_ref().is_some_and(SizeFates::any_failed);
        Suspects { flows, sizes }
    }

    /// How long it took.
    pub fn took(&self) -> Duration {
        self.ended.since(self.started)
    }

    /// Adds an error that came late; `true` if nothing was answered and none of its kind from its
    /// sender is known, so that it is a new fact.
    pub fn learn(&mut self, probe: Probe, (error, delay): (IcmpAnswer, Option<Duration>)) -> bool {
        let tally = match (probe, &mut self.syn) {
            (Probe::Syn, Some(syn)) => syn,
            (Probe::Echo | Probe::Syn | Probe::Connect | Probe::X224, _) => &mut self.echo,
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
        if self.connect.is_none() {
            self.connect.clone_from(&before.connect);
        }
        if self.large.is_none() {
            self.large.clone_from(&before.large);
        }
        if self.asides.0.is_empty() {
            self.asides.clone_from(&before.asides);
        }
        // Of a loss that was over in between the next one is another.
        let lost = |tally: &Tally| tally.received() < tally.valid();
        if lost(&self.echo) || self.syn.as_ref().is_some_and(lost) {
            self.rates = self.rates.or(before.rates);
        }
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
