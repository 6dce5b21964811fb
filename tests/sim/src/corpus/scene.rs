//! Scenes: a case as a network, a plan, and what is known beforehand.

use std::net::IpAddr;
use std::time::Duration;

use reachd_core::evidence::LocalError;
use reachd_core::monitor::Baseline;
use reachd_core::plan::Plan;
use reachd_core::target::{Service, Target};
use reachd_core::vantage::{Role, Vantage};

use super::case::Case;
use super::manifest::{Choice, Confounder, Manifest, Parameter, SiblingsKnown, Topology};
use super::strike::{From, Spot};
use crate::cloud::{add_router, address, address6};
use crate::host::{Absent, Host, Port};
use crate::random::Random;
use crate::router::{IcmpLimit, Link, Loss};
use crate::world::{LocalFault, Name, Place, Subnet, World, subnet};

/// Whether chance disturbs what is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Air {
    /// As it is.
    Real,
    /// No background loss, no bursts, no limits, no stalls, and a lossy link loses evenly: what
    /// the judge could know at best.
    Still,
}

/// A case ready to be looked at.
#[derive(Debug)]
pub struct Scene {
    /// The network.
    pub world: World,
    /// One target, from every vantage.
    pub plan: Plan,
    /// What each vantage knows of the healthy target.
    pub baselines: Vec<(String, Baseline)>,
    /// When the prober stands still after the start, and for how long.
    pub stalls: Vec<(Duration, Duration)>,
    /// Why no vantage can be opened, if so.
    pub down: Option<LocalError>,
}

/// A scene in the making.
pub(super) struct Draft<'a> {
    case: &'a Case<'a>,
    manifest: &'a Manifest,
    pub(super) air: Air,
    pub(super) random: Random,
    pub(super) world: World,
    pub(super) target: Target,
    pub(super) address: IpAddr,
    pub(super) down: Option<LocalError>,
    /// Which router in transit, and which upstream, something happens at: one place per case.
    places: (u64, u64),
}

/// The time a packet takes from one router to the next; the rest of the way lies in transit.
const HOP: Duration = Duration::from_micros(50);
/// What varies at each router.
const JITTER: Duration = Duration::from_micros(40);
/// A survey's first seconds, in which a stall matters.
const STALLS_WITHIN_MS: u64 = 9_000;
/// The target's neighbours.
const NEIGHBOURS: [u8; 2] = [11, 12];

impl Scene {
    /// Sets the scene of a case.
    pub fn of(case: &Case<'_>, manifest: &Manifest, air: Air) -> Self {
        Self::draw(case, manifest, air, true)
    }

    /// The same before anything went wrong.
    pub fn before(case: &Case<'_>, manifest: &Manifest, air: Air) -> Self {
        Self::draw(case, manifest, air, false)
    }

    fn draw(case: &Case<'_>, manifest: &Manifest, air: Air, struck: bool) -> Self {
        let mut draft = Draft::new(case, manifest, air);
        draft.lay_out();
        draft.populate();
        draft.confound();
        let strikes = case.family.strikes.iter().filter(|_| struck);
        strikes.for_each(|strike| strike.apply(&mut draft));
        let (baselines, stalls) = (draft.baselines(), draft.stalls());
        let vantage = |name: &String| {
            let inside = name == INSIDE;
            let role = if inside { Role::Inside } else { Role::Outside };
            Vantage { role, ..Vantage::unbound(name) }
        };
        let vantages = draft.world.places.keys().map(vantage).collect();
        let plan = Plan { targets: vec![draft.target], vantages, ..Plan::default() };
        Self { world: draft.world, plan, baselines, stalls, down: draft.down }
    }
}

/// The name of the vantage inside the provider.
const INSIDE: &str = "inside";

impl<'a> Draft<'a> {
    fn new(case: &'a Case<'a>, manifest: &'a Manifest, air: Air) -> Self {
        let mut random = Random::new(case.seed);
        let at = if case.has(Confounder::Ipv6) { address6(0, 10) } else { address(0, 10) };
        let port = match case.family.service {
            Service::Rdp => 3389,
            Service::Ssh => 22,
            Service::Tcp => 443,
            Service::Ping => 0,
        };
        let mut target = Target::new(&at.to_string(), port, case.family.service);
        if case.topology.siblings == SiblingsKnown::Configured {
            target.neighbours = NEIGHBOURS.map(|host| near(at, host)).to_vec();
        }
        Self {
            places: (random.next(), random.next()),
            world: World::new(random.next()),
            random,
            case,
            manifest,
            air,
            target,
            address: at,
            down: None,
        }
    }

    pub(super) fn draw(&mut self, parameter: Parameter) -> f64 {
        self.manifest.draw(parameter, self.case.split, &mut self.random)
    }

    /// A parameter in milliseconds.
    pub(super) fn millis(&mut self, parameter: Parameter) -> Duration {
        Duration::from_secs_f64(self.draw(parameter) / 1_000.0)
    }

    /// A parameter as the nearest whole number.
    pub(super) fn count(&mut self, parameter: Parameter) -> u64 {
        Duration::from_secs_f64(self.draw(parameter).max(0.0).round()).as_secs()
    }

    pub(super) fn host(&mut self) -> &mut Host {
        self.world.hosts.entry(self.address).or_insert_with(Host::windows)
    }

    fn add(&mut self, name: &str) {
        add_router(&mut self.world, name);
        let router = self.world.router(name);
        (router.delay, router.jitter) = (HOP, JITTER);
    }

    fn lay_out(&mut self) {
        let Topology { outside, inside, uplink, transit, gateway, .. } = *self.case.topology;
        let names = |letter: char, count: u8| {
            (1..=count).map(move |number| format!("{letter}{number}")).collect::<Vec<_>>()
        };
        let mut routers = names('x', transit);
        routers.push("e1".to_owned());
        routers.extend(gateway.then(|| "g1".to_owned()));
        routers.iter().for_each(|name| self.add(name));
        let skips = usize::from(transit) + 1;
        for number in 0..outside {
            let letter = char::from(b'a' + number % 20);
            self.place(&letter.to_string(), (number, names(letter, uplink), 0));
        }
        if inside > 0 {
            self.place(INSIDE, (outside, names('i', 1), skips));
        }
        let first = subnet(self.address);
        self.world.subnets.insert(first, Subnet { routers, absent: Absent::Silence });
    }

    fn place(&mut self, name: &str, (number, uplink, skips): (u8, Vec<String>, usize)) {
        uplink.iter().for_each(|router| self.add(router));
        let place = Place {
            v4: IpAddr::from([203, 0, 113, number + 1]),
            v6: IpAddr::from([0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, u16::from(number) + 1]),
            uplink,
            skips,
            fault: LocalFault::None,
            resolver: true,
        };
        self.world.places.insert(name.to_owned(), place);
    }

    fn populate(&mut self) {
        let port = self.target.port;
        let mut host = match self.case.family.service {
            Service::Rdp | Service::Ping => Host::windows(),
            Service::Ssh | Service::Tcp => Host::linux(port),
        };
        // Windows and Linux count down from different numbers, and either may speak RDP.
        host.initial_ttl = *self.random.pick(&[128, 64]);
        let firewalled = self.random.chance(0.5);
        host.other_ports = if firewalled { Port::Stealth } else { Port::Closed };
        for number in NEIGHBOURS {
            let neighbour = Host { initial_ttl: 128, ..host.clone() };
            self.world.hosts.insert(near(self.address, number), neighbour);
        }
        self.world.hosts.insert(self.address, host);
        let usual = self.manifest.choose(Choice::UsualMs, self.case.split, &mut self.random);
        self.set_round_trip(usual);
    }

    fn set_round_trip(&mut self, millis: f64) {
        let one_way = Duration::from_secs_f64(millis / 2_000.0);
        self.world.router("x1").delay = one_way.saturating_sub(HOP * 10).max(HOP);
    }

    /// Applies what makes the case harder to read, in the order of the list.
    fn confound(&mut self) {
        for confounder in Confounder::ALL {
            if self.case.has(confounder) {
                self.confound_with(confounder);
            }
        }
    }

    fn confound_with(&mut self, confounder: Confounder) {
        let real = self.air == Air::Real;
        match confounder {
            Confounder::EchoFiltered => self.host().echo = false,
            Confounder::ExceededLimited => {
                let rate = self.draw(Parameter::ExceededRate);
                let limit = IcmpLimit::new(rate, self.draw(Parameter::ExceededBurst));
                for name in ["x1", "e1"].iter().filter(|_| real) {
                    self.world.router(name).limit = Some(limit.clone());
                }
            }
            Confounder::SilentGateway => {
                for name in self.routers(Spot::Last, From::All) {
                    self.world.router(&name).silent = true;
                }
            }
            Confounder::BackgroundLoss => {
                let share = self.draw(Parameter::Background);
                self.disturb_uplinks(Link::new(Loss::Independent(share)));
            }
            Confounder::BurstyLoss => {
                let (share, bad) =
                    (self.draw(Parameter::BurstShare), self.millis(Parameter::BurstMs));
                let good = bad.mul_f64((1.0 - share) / share);
                self.disturb_uplinks(Link::new(Loss::Bursts { good, bad }));
            }
            Confounder::RoundTrip => {
                let split = self.case.split;
                let millis = self.manifest.choose(Choice::RoundTripMs, split, &mut self.random);
                self.set_round_trip(millis);
            }
            Confounder::EcmpFour => self.fan_out(),
            Confounder::AsymmetricReturn => {
                let detour = self.count(Parameter::Detour);
                self.world.detour = u8::try_from(detour).unwrap_or(u8::MAX);
            }
            Confounder::NeighbourFault => self.kill_neighbours(),
            Confounder::None
            | Confounder::VantageStalls
            | Confounder::BaselineMissing
            | Confounder::BaselineStale
            | Confounder::Ipv6 => {}
        }
    }

    fn disturb_uplinks(&mut self, link: Link) {
        if self.air == Air::Still {
            return;
        }
        let firsts: Vec<_> =
            self.world.places.values().filter_map(|place| place.uplink.first().cloned()).collect();
        for name in firsts {
            let router = self.world.router(&name);
            router.forth = link.clone();
            router.back = link.clone();
        }
    }

    fn fan_out(&mut self) {
        let delay = self.world.router("x1").delay;
        let mut members = vec!["x1".to_owned()];
        for letter in ["b", "c", "d"] {
            let name = format!("x1{letter}");
            self.add(&name);
            self.world.router(&name).delay = delay;
            members.push(name);
        }
        self.world.fans.insert("x1".to_owned(), members);
    }

    pub(super) fn kill_neighbours(&mut self) {
        for number in NEIGHBOURS {
            if let Some(host) = self.world.hosts.get_mut(&near(self.address, number)) {
                host.alive = false;
            }
        }
    }

    /// The target has a name instead of an address, and this becomes of it.
    pub(super) fn break_name(&mut self, says: Name) {
        let host = "server.example";
        let neighbours = std::mem::take(&mut self.target.neighbours);
        self.target = Target::new(host, self.target.port, self.target.service);
        self.target.neighbours = neighbours;
        self.world.names.insert(host.to_owned(), says);
    }

    /// Puts routers into transit that never answer: more in a row than a trace waits for.
    pub(super) fn dig_tunnel(&mut self) {
        let names: Vec<_> = (1..=6).map(|number| format!("t{number}")).collect();
        for name in &names {
            self.add(name);
            self.world.router(name).silent = true;
        }
        let length = names.len();
        for subnet in self.world.subnets.values_mut() {
            subnet.routers.splice(1..1, names.iter().cloned());
        }
        for place in self.world.places.values_mut().filter(|place| place.skips > 0) {
            place.skips += length;
        }
    }

    /// The vantages meant.
    pub(super) fn vantages(&self, from: From) -> Vec<String> {
        let all = self.world.places.keys().cloned();
        match from {
            From::All => all.collect(),
            From::Outside => all.filter(|name| name != INSIDE).collect(),
            From::First => all.take(1).collect(),
        }
    }

    /// The routers of a spot on the way from these vantages, all members of a fan among them.
    pub(super) fn routers(&self, at: Spot, from: From) -> Vec<String> {
        let Topology { transit, gateway, .. } = *self.case.topology;
        let last = || if gateway { "g1" } else { "e1" }.to_owned();
        let in_transit = |draw: u64| format!("x{}", 1 + draw % u64::from(transit.max(1)));
        let names = match at {
            Spot::Uplink => {
                let vantages = self.vantages(from).into_iter().filter(|name| name != INSIDE);
                let places = vantages.filter_map(|name| self.world.places.get(&name));
                places.filter_map(|place| place.uplink.last().cloned()).collect()
            }
            Spot::Transit => vec![in_transit(self.places.0)],
            Spot::Edge => vec!["e1".to_owned()],
            Spot::Last => vec![last()],
            Spot::Upstream => {
                let count = u64::from(transit) + u64::from(gateway);
                let draw = self.places.1 % count.max(1);
                vec![if draw < u64::from(transit) { in_transit(draw) } else { "e1".to_owned() }]
            }
        };
        let members = |name: &String| match self.world.fans.get(name) {
            Some(members) => members.clone(),
            None => vec![name.clone()],
        };
        names.iter().flat_map(members).collect()
    }

    fn baselines(&self) -> Vec<(String, Baseline)> {
        if self.case.has(Confounder::BaselineMissing) {
            return Vec::new();
        }
        let stale = self.case.has(Confounder::BaselineStale);
        let echo_answered = !self.case.has(Confounder::EchoFiltered) ^ stale;
        let routers = self.world.subnets.values().next().map_or(0, |subnet| subnet.routers.len());
        let of = |(name, place): (&String, &Place)| {
            let length = (place.uplink.len() + routers).saturating_sub(place.skips);
            let length = u8::try_from(length).unwrap_or(u8::MAX) + if stale { 2 } else { 0 };
            // One is kept for each address family, under a name of its own.
            let v4 = self.address.is_ipv4();
            let key = if v4 { name.clone() } else { format!("{name} (IPv6)") };
            let distance = Some(length.saturating_add(self.world.detour));
            // No gateway that is silent now was ever heard. What is stale here is a longer path,
            // of which the last routers are none of today's.
            let silent = u8::from(self.case.has(Confounder::SilentGateway) && !stale);
            let last_router = Some(length.saturating_sub(silent));
            let path_length = Some(length + 1);
            let rest = Baseline::default();
            (key, Baseline { echo_answered, distance, path_length, last_router, ..rest })
        };
        self.world.places.iter().map(of).collect()
    }

    fn stalls(&mut self) -> Vec<(Duration, Duration)> {
        if !self.case.has(Confounder::VantageStalls) {
            return Vec::new();
        }
        let count = 1 + self.random.below(3);
        let mut stalls = Vec::new();
        for _ in 0..count {
            let at = Duration::from_millis(self.random.below(STALLS_WITHIN_MS));
            stalls.push((at, self.millis(Parameter::StallMs)));
        }
        stalls.sort_unstable();
        if self.air == Air::Real { stalls } else { Vec::new() }
    }
}

/// Another address of the same subnet.
fn near(address: IpAddr, host: u8) -> IpAddr {
    match subnet(address) {
        IpAddr::V4(first) => IpAddr::V4((first.to_bits() | u32::from(host)).into()),
        IpAddr::V6(first) => IpAddr::V6((first.to_bits() | u128::from(host)).into()),
    }
}
