//! The virtual Internet: vantages, routers, subnets and hosts, and a packet's way through them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use reachd_core::evidence::LocalError;
use reachd_core::time::Instant;
use reachd_core::wire::icmp::Icmp;
use reachd_core::wire::packet::{Body, Checksums, Packet};
use reachd_core::wire::reply::{
    Stack, emit_echo_reply, emit_icmp_error, emit_rst_ack, emit_syn_ack,
};

use crate::host::{Absent, Host, Port};
use crate::random::Random;
use crate::router::{Action, Match, Router, Transport};

/// What is wrong on the probing machine itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LocalFault {
    /// Nothing.
    #[default]
    None,
    /// The kernel refuses every packet.
    Refuses(LocalError),
    /// The kernel refuses TCP toward this port.
    RefusesPort(u16, LocalError),
    /// Packets are accepted and never leave.
    Swallows,
    /// The firewall eats what comes back, behind the capture ring.
    EatsAnswers,
}

/// A place probes leave from.
#[derive(Debug, Clone)]
pub struct Place {
    /// Its IPv4 address.
    pub v4: IpAddr,
    /// Its IPv6 address.
    pub v6: IpAddr,
    /// The routers right behind it, by name.
    pub uplink: Vec<String>,
    /// What is wrong with it.
    pub fault: LocalFault,
    /// Whether its resolver answers.
    pub resolver: bool,
}

impl Place {
    /// Its address in the family of `peer`.
    pub const fn address(&self, peer: IpAddr) -> IpAddr {
        if peer.is_ipv4() { self.v4 } else { self.v6 }
    }
}

/// Addresses that share their last routers: a /24 or a /64.
#[derive(Debug, Clone)]
pub struct Subnet {
    /// The routers toward it, by name, from the exchange to its gateway.
    pub routers: Vec<String>,
    /// What the gateway says of dead addresses.
    pub absent: Absent,
}

/// What a name resolves to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// These addresses.
    Addresses(Vec<IpAddr>),
    /// There is no such name.
    Unknown,
    /// The resolver fails.
    Fails,
    /// Nothing comes for this name.
    TimesOut,
}

/// A packet on its way back to a vantage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// How long after the probe left it arrives.
    pub after: Duration,
    /// The packet.
    pub bytes: Vec<u8>,
}

/// The whole of it.
#[derive(Debug)]
pub struct World {
    /// Vantages by name.
    pub places: BTreeMap<String, Place>,
    /// Routers by name.
    pub routers: BTreeMap<String, Router>,
    /// Subnets by their first address.
    pub subnets: BTreeMap<IpAddr, Subnet>,
    /// Hosts by address.
    pub hosts: BTreeMap<IpAddr, Host>,
    /// Names that are no literal addresses.
    pub names: BTreeMap<String, Name>,
    /// How often an answer arrives twice.
    pub duplicates: f64,
    /// Draws all that is left to chance.
    pub random: Random,
}

/// A packet under way.
struct Trip<'a> {
    now: Instant,
    from: &'a str,
    packet: Packet<'a>,
    bytes: &'a [u8],
    delay: Duration,
    back: Vec<Delivery>,
}

enum Step {
    On,
    Back,
    End,
}

/// The subnet an address belongs to: its /24 or /64.
pub fn subnet(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() & 0xffff_ff00).into()),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
    }
}

impl World {
    /// Nothing at all, with this seed.
    pub const fn new(seed: u64) -> Self {
        Self {
            places: BTreeMap::new(),
            routers: BTreeMap::new(),
            subnets: BTreeMap::new(),
            hosts: BTreeMap::new(),
            names: BTreeMap::new(),
            duplicates: 0.0,
            random: Random::new(seed),
        }
    }

    /// The router of this name.
    ///
    /// # Panics
    /// If there is none.
    pub fn router(&mut self, name: &str) -> &mut Router {
        self.routers.get_mut(name).expect("the router exists")
    }

    /// The host at this address.
    ///
    /// # Panics
    /// If there is none.
    pub fn host(&mut self, address: &str) -> &mut Host {
        let address: IpAddr = address.parse().expect("an address");
        self.hosts.get_mut(&address).expect("the host exists")
    }

    /// The vantage of this name.
    ///
    /// # Panics
    /// If there is none.
    pub fn place(&mut self, name: &str) -> &mut Place {
        self.places.get_mut(name).expect("the vantage exists")
    }

    /// Takes a packet from a vantage into the world; gives what comes back.
    pub fn carry(&mut self, now: Instant, from: &str, bytes: &[u8]) -> Vec<Delivery> {
        let Ok(packet) = Packet::parse(bytes, Checksums::Verify) else { return Vec::new() };
        let route = self.route(from, packet.dest);
        let mut left = packet.ttl;
        let mut trip = Trip { now, from, packet, bytes, delay: Duration::ZERO, back: Vec::new() };
        let mut at = 0;
        while let Some(name) = route.get(at) {
            match self.pass(&mut trip, (&route, at), (name, left)) {
                Step::On => at += 1,
                Step::Back => at = at.saturating_sub(1),
                Step::End => return trip.back,
            }
            left -= 1;
        }
        self.arrive(&mut trip, &route);
        trip.back
    }

    fn route(&self, from: &str, dest: IpAddr) -> Vec<String> {
        let uplink = self.places.get(from).map(|place| place.uplink.clone());
        let mut route = uplink.unwrap_or_default();
        if let Some(subnet) = self.subnets.get(&subnet(dest)) {
            route.extend(subnet.routers.iter().cloned());
        }
        route
    }

    fn pass(
        &mut self,
        trip: &mut Trip<'_>,
        (route, at): (&[String], usize),
        (name, left): (&str, u8),
    ) -> Step {
        let Some(router) = self.routers.get_mut(name) else { return Step::End };
        trip.delay += router.delay + router.jitter.mul_f64(self.random.fraction());
        if router.forth.loses(trip.now, &mut self.random) {
            return Step::End;
        }
        let hit = router.rules.iter().find(|rule| rule.when.holds(trip.from, &trip.packet));
        let action = hit.map(|rule| rule.action);
        if action == Some(Action::DropBeforeTtl) {
            return Step::End;
        }
        let v4 = trip.packet.source.is_ipv4();
        if left <= 1 {
            if !router.silent {
                let (ty, code) = if v4 { (11, 0) } else { (3, 0) };
                self.complain(trip, (route, at), (ty, code), Duration::ZERO);
            }
            return Step::End;
        }
        match action {
            None => Step::On,
            Some(Action::Return) => Step::Back,
            Some(Action::Drop | Action::DropBeforeTtl) => Step::End,
            Some(Action::Refuse(ty, code)) => {
                self.complain(trip, (route, at), (ty, code), Duration::ZERO);
                Step::End
            }
            Some(Action::Reset { forward }) => {
                let initial = router.initial_ttl;
                let ttl = initial.saturating_sub(u8::try_from(at).unwrap_or(u8::MAX));
                let stack = Stack { ttl, ..Stack::default() };
                let reset = emit_rst_ack(trip.bytes, &stack);
                self.answer(trip, (route, at), reset, Duration::ZERO);
                if forward || !matches!(trip.packet.body, Body::Tcp(_)) {
                    Step::On
                } else {
                    Step::End
                }
            }
        }
    }

    /// A router sends an ICMP error, if its limit admits it.
    fn complain(
        &mut self,
        trip: &mut Trip<'_>,
        (route, at): (&[String], usize),
        (ty, code): (u8, u8),
        extra: Duration,
    ) {
        let router = route.get(at).and_then(|name| self.routers.get_mut(name));
        let Some(router) = router else { return };
        if router.limit.as_mut().is_some_and(|limit| !limit.admits(trip.now)) {
            return;
        }
        let source = trip.packet.source;
        let ttl = router.initial_ttl.saturating_sub(u8::try_from(at).unwrap_or(u8::MAX));
        let error = emit_icmp_error(router.address(source), source, ty, code, trip.bytes, ttl);
        self.answer(trip, (route, at), error, extra);
    }

    /// Takes an answer of the router or host behind `at` routers home.
    fn answer(
        &mut self,
        trip: &mut Trip<'_>,
        (route, at): (&[String], usize),
        bytes: Option<Vec<u8>>,
        extra: Duration,
    ) {
        let Some(bytes) = bytes else { return };
        let mut back = Duration::ZERO;
        for name in route.iter().take(at) {
            let Some(router) = self.routers.get_mut(name) else { return };
            if router.back.loses(trip.now, &mut self.random) {
                return;
            }
            back += router.jitter.mul_f64(self.random.fraction());
        }
        let after = trip.delay * 2 + back + extra;
        if self.random.chance(self.duplicates) {
            let late = Duration::from_micros(self.random.below(20_000));
            trip.back.push(Delivery { after: after + late, bytes: bytes.clone() });
        }
        trip.back.push(Delivery { after, bytes });
    }

    fn arrive(&mut self, trip: &mut Trip<'_>, route: &[String]) {
        let hops = u8::try_from(route.len()).unwrap_or(u8::MAX);
        trip.delay += Duration::from_micros(500);
        let host = self.hosts.get(&trip.packet.dest).filter(|host| host.alive).cloned();
        let Some(host) = host else { return self.arrive_nowhere(trip, route) };
        let (ip_id, seq) = (self.random.next().to_le_bytes(), self.random.next().to_le_bytes());
        let stack = Stack {
            ttl: host.initial_ttl.saturating_sub(hops),
            ip_id: u16::from_le_bytes([ip_id[0], ip_id[1]]),
            ..Stack::default()
        };
        let seq = u32::from_le_bytes([seq[0], seq[1], seq[2], seq[3]]);
        let (source, dest) = (trip.packet.source, trip.packet.dest);
        let bytes = match trip.packet.body {
            Body::Icmp(Icmp::EchoRequest { .. }) if host.echo => {
                emit_echo_reply(trip.bytes, &stack)
            }
            Body::Tcp(segment) if segment.flags.syn() => match *host.port(segment.dest_port) {
                Port::Open(_) => emit_syn_ack(trip.bytes, seq, &stack),
                Port::Closed => emit_rst_ack(trip.bytes, &stack),
                Port::Stealth => None,
                Port::Refused(ty, code) => {
                    emit_icmp_error(dest, source, ty, code, trip.bytes, stack.ttl)
                }
            },
            // What belongs to no connection is reset, but for hosts that hide.
            Body::Tcp(segment) if segment.flags.ack() && host.other_ports == Port::Closed => {
                emit_rst_ack(trip.bytes, &stack)
            }
            Body::Tcp(_) | Body::Icmp(_) | Body::Udp(_) | Body::Fragment | Body::Other { .. } => {
                None
            }
        };
        self.answer(trip, (route, route.len()), bytes, host.slow);
    }

    fn arrive_nowhere(&mut self, trip: &mut Trip<'_>, route: &[String]) {
        let absent = self.subnets.get(&subnet(trip.packet.dest)).map(|subnet| subnet.absent);
        let Some(Absent::Unreachable(after)) = absent else { return };
        let (ty, code) = if trip.packet.source.is_ipv4() { (3, 1) } else { (1, 3) };
        self.complain(trip, (route, route.len().saturating_sub(1)), (ty, code), after);
    }
}

impl Match {
    /// Everything toward this address.
    pub fn dest(address: &str) -> Self {
        Self { dest: address.parse().ok(), ..Self::default() }
    }

    /// The same, of this transport only.
    pub fn of(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// The same, from this vantage only.
    pub fn from(mut self, vantage: &str) -> Self {
        self.vantage = Some(vantage.to_owned());
        self
    }

    /// The same, of flows over one of so many paths only.
    pub fn of_flows(mut self, rest: u16, paths: u16) -> Self {
        self.flows = Some((rest, paths));
        self
    }

    /// The same, longer than this only.
    pub fn longer_than(mut self, bytes: usize) -> Self {
        self.longer_than = Some(bytes);
        self
    }

    fn holds(&self, from: &str, packet: &Packet<'_>) -> bool {
        let flow = self.flows.is_none_or(|(rest, paths)| match packet.body {
            Body::Tcp(segment) => segment.source_port % paths == rest,
            _ => false,
        });
        let length = self.longer_than.is_none_or(|bytes| packet.total_len > bytes);
        let transport = match (self.transport, &packet.body) {
            (Transport::Any, _)
            | (Transport::Icmp, Body::Icmp(_))
            | (Transport::Tcp, Body::Tcp(_)) => true,
            (Transport::Port(port), Body::Tcp(segment)) => segment.dest_port == port,
            (Transport::Icmp | Transport::Tcp | Transport::Port(_), _) => false,
        };
        transport
            && flow
            && length
            && self.dest.is_none_or(|dest| dest == packet.dest)
            && self.vantage.as_deref().is_none_or(|vantage| vantage == from)
    }
}
