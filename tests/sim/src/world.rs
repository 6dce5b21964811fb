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

use crate::cloud::add_router;
use crate::host::{Absent, Host, Port};
use crate::random::Random;
use crate::router::{Action, Match, Member, Router, Transport};

/// What is wrong on the probing machine itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LocalFault {
    /// Nothing.
    #[default]
    None,
    /// The kernel refuses every packet.
    Refuses(LocalError),
    /// The kernel refuses every packet of IPv6: there is none here.
    RefusesV6(LocalError),
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
    /// How many of a subnet's routers it stands behind already: a vantage inside the provider.
    pub skips: usize,
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
    /// Routers by name that stand for several equal ones, of which a flow takes one.
    pub fans: BTreeMap<String, Vec<String>>,
    /// Routers that answers pass on their way back beyond those that probes pass.
    pub detour: u8,
    /// Whether what is carried belongs to a connection that was accepted.
    pub(crate) talking: bool,
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

/// What tells a packet's flow from others: addresses and ports, or the echo's identifier (FNV-1a).
fn flow(packet: &Packet<'_>) -> u64 {
    let ports = match packet.body {
        Body::Tcp(segment) => [segment.source_port, segment.dest_port],
        Body::Icmp(Icmp::EchoRequest { id, .. }) => [id, 0],
        Body::Icmp(_) | Body::Udp(_) | Body::Fragment | Body::Other { .. } => [0, 0],
    };
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut mix = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    for address in [packet.source, packet.dest] {
        match address {
            IpAddr::V4(v4) => v4.octets().into_iter().for_each(&mut mix),
            IpAddr::V6(v6) => v6.octets().into_iter().for_each(&mut mix),
        }
    }
    ports.iter().flat_map(|port| port.to_be_bytes()).for_each(&mut mix);
    // The low bits of FNV know too little of the last bytes.
    hash ^ (hash >> 29)
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
            fans: BTreeMap::new(),
            detour: 0,
            talking: false,
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

    /// Makes a router several equal ones, of which a flow takes one: `x` becomes `x.0`, `x.1` and so
    /// on, each with an address of its own.
    ///
    /// # Panics
    /// If there is no such router.
    pub fn fan(&mut self, name: &str, of: u8) {
        let members: Vec<_> = (0..of).map(|number| format!("{name}.{number}")).collect();
        let router = self.router(name).clone();
        for member in &members {
            add_router(self, member);
            let Router { v4, v6, .. } = *self.router(member);
            self.routers.insert(member.clone(), Router { v4, v6, ..router.clone() });
        }
        self.fans.insert(name.to_owned(), members);
    }

    /// Takes a packet from a vantage into the world; gives what comes back.
    pub fn carry(&mut self, now: Instant, from: &str, bytes: &[u8]) -> Vec<Delivery> {
        let Ok(packet) = Packet::parse(bytes, Checksums::Verify) else { return Vec::new() };
        // What is meant for nobody takes no part in what chance does to the rest.
        let chance = self.random.clone();
        let strays = !self.subnets.contains_key(&subnet(packet.dest));
        let route = self.route(from, &packet);
        let mut left = packet.ttl;
        let mut trip = Trip { now, from, packet, bytes, delay: Duration::ZERO, back: Vec::new() };
        let mut at = 0;
        while let Some(name) = route.get(at) {
            match self.pass(&mut trip, (&route, at), (name, left)) {
                Step::On => at += 1,
                Step::Back => at = at.saturating_sub(1),
                Step::End => break,
            }
            left -= 1;
        }
        if at == route.len() {
            self.arrive(&mut trip, &route);
        }
        if strays {
            self.random = chance;
        }
        trip.back
    }

    /// The same with a segment of a connection that was accepted.
    pub fn carry_said(&mut self, now: Instant, from: &str, bytes: &[u8]) -> Vec<Delivery> {
        self.talking = true;
        let back = self.carry(now, from, bytes);
        self.talking = false;
        back
    }

    fn route(&self, from: &str, packet: &Packet<'_>) -> Vec<String> {
        let place = self.places.get(from);
        let mut route = place.map(|place| place.uplink.clone()).unwrap_or_default();
        if let Some(subnet) = self.subnets.get(&subnet(packet.dest)) {
            let skips = place.map_or(0, |place| place.skips);
            route.extend(subnet.routers.iter().skip(skips).cloned());
        }
        for name in route.iter_mut().filter(|_| !self.fans.is_empty()) {
            let Some(members) = self.fans.get(name.as_str()) else { continue };
            let of = u64::try_from(members.len()).unwrap_or(1).max(1);
            let number = usize::try_from(flow(packet) % of).unwrap_or_default();
            if let Some(member) = members.get(number) {
                name.clone_from(member);
            }
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
        let counted = router.policers.iter_mut();
        let mut counted = counted.filter(|policer| policer.when.holds(trip.from, &trip.packet));
        if counted.any(|policer| !policer.bucket.admits(trip.now)) {
            return Step::End;
        }
        let hit = router.rules.iter().find(|rule| rule.when.holds(trip.from, &trip.packet));
        let action = hit.map(|rule| rule.action);
        let (silent, router_ttl) = (router.silent, router.initial_ttl);
        if action == Some(Action::DropBeforeTtl) {
            return Step::End;
        }
        let v4 = trip.packet.source.is_ipv4();
        if left <= 1 {
            if !silent {
                let (ty, code) = if v4 { (11, 0) } else { (3, 0) };
                self.complain(trip, (route, at), (ty, code), Duration::ZERO);
            }
            return Step::End;
        }
        match action {
            None => Step::On,
            Some(Action::DropSome(share)) if self.random.chance(share) => Step::End,
            Some(Action::DropSome(_)) => Step::On,
            Some(Action::Accept) => {
                let ttl = self.ttl_home(router_ttl, at);
                let seq = u32::try_from(self.random.below(1 << 32)).unwrap_or_default();
                // Some proxies let nothing be said before their host has accepted as well.
                let window = if self.random.chance(0.5) { 0 } else { 64_240 };
                let stack = Stack { ttl, window, ..Stack::default() };
                let accepted = emit_syn_ack(trip.bytes, seq, &stack);
                let took = accepted.is_some();
                self.answer(trip, (route, at), accepted, Duration::ZERO);
                if took { Step::End } else { Step::On }
            }
            Some(Action::Inspect) => {
                let says = match trip.packet.body {
                    Body::Tcp(segment) => !segment.payload.is_empty(),
                    _ => false,
                };
                if !says || !self.talking {
                    return Step::On;
                }
                let ttl = self.ttl_home(router_ttl, at);
                let reset = emit_rst_ack(trip.bytes, &Stack { ttl, ..Stack::default() });
                self.answer(trip, (route, at), reset, Duration::ZERO);
                Step::End
            }
            Some(Action::Return) => Step::Back,
            Some(Action::Drop | Action::DropBeforeTtl) => Step::End,
            Some(Action::Refuse(ty, code)) => {
                self.complain(trip, (route, at), (ty, code), Duration::ZERO);
                Step::End
            }
            Some(Action::Reset { forward }) => {
                let ttl = self.ttl_home(router_ttl, at);
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
        let (from, initial) = (router.address(source), router.initial_ttl);
        let ttl = self.ttl_home(initial, at);
        let error = emit_icmp_error(from, source, ty, code, trip.bytes, ttl);
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
            let cut = router.cut_from.iter().any(|from| from == trip.from);
            let too_long = router.back_limit.is_some_and(|limit| bytes.len() > limit);
            if cut || too_long || router.back.loses(trip.now, &mut self.random) {
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

    /// The hop limit an answer from behind `at` routers arrives with.
    fn ttl_home(&self, initial: u8, at: usize) -> u8 {
        let passed = u8::try_from(at).unwrap_or(u8::MAX).saturating_add(self.detour);
        initial.saturating_sub(passed)
    }

    fn arrive(&mut self, trip: &mut Trip<'_>, route: &[String]) {
        trip.delay += Duration::from_micros(500);
        let host = self.hosts.get(&trip.packet.dest).filter(|host| host.alive).cloned();
        let Some(host) = host else { return self.arrive_nowhere(trip, route) };
        let (ip_id, seq) = (self.random.next().to_le_bytes(), self.random.next().to_le_bytes());
        let stack = Stack {
            ttl: self.ttl_home(host.initial_ttl, route.len()),
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
            Body::Tcp(segment) if self.talking => {
                let Port::Open(speaks) = host.port(segment.dest_port) else { return };
                let Some((reply, late)) = speaks.reply(trip.bytes, &stack) else { return };
                return self.answer(trip, (route, route.len()), Some(reply), host.slow + late);
            }
            // What belongs to no connection is reset, but where hosts hide that nobody listens.
            Body::Tcp(segment)
                if segment.flags.ack()
                    && (host.other_ports == Port::Closed
                        || matches!(host.port(segment.dest_port), Port::Open(_))) =>
            {
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
    /// Everything toward the /24 or /64 of this address.
    pub fn subnet(address: IpAddr) -> Self {
        Self { subnet: Some(subnet(address)), ..Self::default() }
    }

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

    /// The same, of TCP flows over one of so many paths only.
    pub fn of_flows(self, number: u64, of: u64) -> Self {
        Self { transport: Transport::Tcp, member: Some(Member { of, number }), ..self }
    }

    /// The same, longer than this only.
    pub fn longer_than(mut self, bytes: usize) -> Self {
        self.longer_than = Some(bytes);
        self
    }

    fn holds(&self, from: &str, packet: &Packet<'_>) -> bool {
        let transport = match (self.transport, &packet.body) {
            (Transport::Any, _)
            | (Transport::Icmp, Body::Icmp(_))
            | (Transport::Tcp, Body::Tcp(_)) => true,
            (Transport::Port(port), Body::Tcp(segment)) => segment.dest_port == port,
            (Transport::Syn(port), Body::Tcp(segment)) => {
                segment.dest_port == port && segment.flags.syn()
            }
            (Transport::Icmp | Transport::Tcp | Transport::Port(_) | Transport::Syn(_), _) => false,
        };
        let long = self.longer_than.is_none_or(|limit| packet.total_len > limit);
        let member = |member: Member| flow(packet) % member.of.max(1) == member.number;
        transport
            && long
            && self.member.is_none_or(member)
            && self.subnet.is_none_or(|first| first == subnet(packet.dest))
            && self.dest.is_none_or(|dest| dest == packet.dest)
            && self.vantage.as_deref().is_none_or(|vantage| vantage == from)
    }
}
