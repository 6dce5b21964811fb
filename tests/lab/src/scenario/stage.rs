//! A scenario's network with its services, and its faults put in and healed.

use std::any::Any;
use std::collections::BTreeMap;
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::act::{Act, Place, Serve, random_spells};
use super::{RDP, Scenario, Topology};
use crate::address::{Addresses, Family, Prefixes, Subnet};
use crate::fault::{Fault, Pulse, Queue, Spells};
use crate::injector::{Injector, rst_injector};
use crate::lab::{Lab, Neighbours};
use crate::node::Node;
use crate::server::{self, TcpServer, Waves};
use crate::topology::{
    Chain, ChainSpec, Fan, FanSpec, Fleet, FleetSpec, Upstreams, UpstreamsSpec, Vpc, VpcSpec,
};
use crate::traffic::{Flood, hold_connections, udp_flood};
use crate::wait_until;

/// A scenario's network at work.
pub struct Stage<'lab> {
    lab: &'lab Lab,
    services: BTreeMap<(String, u16), (Serve, TcpServer)>,
    held: Vec<Held>,
    fleet: Vec<Addresses>,
    /// Keeps what a topology runs by itself.
    _network: Box<dyn Any>,
}

/// Something in force.
enum Held {
    Fault(Fault),
    Pulse { _pulse: Pulse },
    Injector { _injector: Injector },
    Flood { _flood: Flood },
    Connections { _streams: Vec<TcpStream> },
    Waves { _waves: Waves },
    Started(String, u16),
    Stopped(String, u16, Serve),
    Shared(Node, String),
}

impl<'lab> Stage<'lab> {
    /// Builds the network of a scenario, in its healthy state.
    pub fn build(lab: &'lab mut Lab, scenario: &Scenario) -> Result<Self> {
        let network = &scenario.network;
        if network.kernel_neighbours {
            lab.set_neighbours(Neighbours::KernelDefaults);
        }
        let target_ttl = network.target_ttl;
        let mut fleet = Vec::new();
        let built: Box<dyn Any> = match scenario.topology {
            Topology::Chain => {
                let spec = ChainSpec { routers: network.routers, target_ttl };
                Box::new(Chain::build(lab, spec)?)
            }
            Topology::Upstreams => Box::new(Upstreams::build(lab, UpstreamsSpec { target_ttl })?),
            Topology::Fan => {
                Box::new(Fan::build(lab, FanSpec { target_ttl, ..FanSpec::default() })?)
            }
            Topology::Vpc => Box::new(Vpc::build(lab, VpcSpec { target_ttl })?),
            Topology::Fleet => {
                let built = Fleet::build(lab, FleetSpec::default())?;
                fleet.clone_from(&built.targets);
                Box::new(built)
            }
        };
        if let Some(owner) = &network.vip {
            let owner = lab.find(owner)?.clone();
            lab.second_address(&owner, vip_subnet(), VIP)?;
            lab.converge()?;
        }
        let lab: &'lab Lab = lab;
        let mut stage =
            Self { lab, services: BTreeMap::new(), held: Vec::new(), fleet, _network: built };
        if scenario.service.is_empty() && scenario.topology != Topology::Fleet {
            for host in ["t", "n1", "n2"] {
                stage.start(host, RDP, Serve::Rdp)?;
            }
        }
        for service in &scenario.service {
            stage.start(&service.at, service.port, service.serve)?;
        }
        for act in &scenario.setup {
            stage.put(act).with_context(|| format!("set up {act:?}"))?;
        }
        // What is so from the start stays.
        for held in std::mem::take(&mut stage.held) {
            match held {
                Held::Fault(fault) => fault.keep(),
                other => stage.held.push(other),
            }
        }
        Ok(stage)
    }

    /// Gives a node by its name.
    pub fn node(&self, name: &str) -> Result<&'lab Node> {
        self.lab.find(name)
    }

    /// Gives every address of a fleet; nothing elsewhere.
    pub fn fleet(&self) -> &[Addresses] {
        &self.fleet
    }

    /// Gives the addresses that a name stands for: a node's first, `v1b` for the second pair of
    /// `v1`, or `vip`.
    pub fn addresses(&self, name: &str) -> Result<Addresses> {
        match name {
            "vip" => Ok(vip_subnet().host(VIP)),
            "v1b" => {
                let all = self.lab.second_addresses(self.lab.find("v1")?);
                all.first().copied().context("v1 has no second address here")
            }
            _ => self.lab.addresses(self.lab.find(name)?),
        }
    }

    /// Gives the prefixes that a name stands for: what [`Stage::addresses`] gives, `lan` for the
    /// targets' network, or `X-net` for everything that node X sends from.
    pub fn prefixes(&self, name: &str) -> Result<Prefixes> {
        if name == "lan" {
            return Ok(self.lab.first_subnet(self.lab.find("t")?)?.into());
        }
        let Some(node) = name.strip_suffix("-net") else {
            return Ok(self.addresses(name)?.into());
        };
        let node = self.lab.find(node)?;
        let mut all: Prefixes = self.lab.first_subnet(node)?.into();
        for more in self.lab.second_addresses(node) {
            all.0.extend(Prefixes::from(more).0);
        }
        Ok(all)
    }

    /// Puts all of a scenario's faults in.
    pub fn inject(&mut self, scenario: &Scenario) -> Result<()> {
        scenario
            .inject
            .iter()
            .try_for_each(|act| self.put(act).with_context(|| format!("inject {act:?}")))
    }

    /// Takes everything out that was put in since the start, the last first.
    pub fn heal(&mut self) -> Result<()> {
        while let Some(held) = self.held.pop() {
            match held {
                Held::Fault(fault) => fault.heal()?,
                Held::Started(at, port) => drop(self.services.remove(&(at, port))),
                Held::Stopped(at, port, serve) => self.start_again(&at, port, serve)?,
                Held::Shared(node, line) => node.ip(Family::V4, &[line])?,
                Held::Pulse { .. }
                | Held::Injector { .. }
                | Held::Flood { .. }
                | Held::Connections { .. }
                | Held::Waves { .. } => {}
            }
        }
        Ok(())
    }

    fn put(&mut self, act: &Act) -> Result<()> {
        let held = match act {
            Act::Stop { at, port } => self.stop(at, *port)?,
            Act::Start { at, port, serve } => {
                self.start(at, *port, *serve)?;
                Held::Started(at.clone(), *port)
            }
            Act::Loop { .. }
            | Act::Bursts { .. }
            | Act::Congestion { .. }
            | Act::Injector { .. }
            | Act::Anycast { .. }
            | Act::Hold { .. }
            | Act::Waves { .. } => self.set_going(act)?,
            _ => Held::Fault(self.break_something(act)?),
        };
        self.held.push(held);
        Ok(())
    }

    /// Faults that are in force until healed.
    fn break_something(&self, act: &Act) -> Result<Fault> {
        let lab = self.lab;
        match act {
            Act::DeadEnd { at, to, end } => lab.dead_end(self.node(at)?, self.prefixes(to)?, *end),
            Act::Drop { at, hook: Place::Bridge, packets } => {
                lab.bridge_drop(self.node(at)?, &packets.resolve(self)?)
            }
            Act::Drop { at, hook, packets } => {
                lab.filter(self.node(at)?, hook.hook()?, &packets.resolve(self)?, "drop")
            }
            Act::Loss { at, percent, packets } => {
                lab.loss(self.node(at)?, *percent, &packets.resolve(self)?)
            }
            Act::Filter { at, hook, packets, verdict } => {
                lab.filter(self.node(at)?, hook.hook()?, &packets.resolve(self)?, verdict)
            }
            Act::Police { at, per_second, packets } => {
                lab.police(self.node(at)?, *per_second, &packets.resolve(self)?)
            }
            Act::Reject { at, hook, packets, with } => {
                lab.reject(self.node(at)?, hook.hook()?, &packets.resolve(self)?, *with)
            }
            Act::Mtu { a, b, mtu } => lab.mtu(self.node(a)?, self.node(b)?, *mtu),
            Act::LinkDown { at, toward } => lab.link_down(self.node(at)?, self.node(toward)?),
            Act::AddressRemove { at } => lab.address_remove(self.node(at)?),
            Act::ProxyArp { at, host } => lab.proxy_arp(self.node(at)?, self.node(host)?),
            Act::LimitIcmp { at } => lab.limit_icmp(self.node(at)?),
            Act::SynProxy { at, port, host } => {
                lab.syn_proxy(self.node(at)?, *port, self.addresses(host)?)
            }
            Act::PortForward { at, front, port, backends } => {
                let backends: Result<Vec<_>> =
                    backends.iter().map(|name| self.addresses(name)).collect();
                lab.port_forward(self.node(at)?, self.addresses(front)?, *port, &backends?)
            }
            Act::TransparentProxy { at, from, port } => {
                lab.transparent_proxy(self.node(at)?, self.node(from)?, *port)
            }
            Act::Loop { .. }
            | Act::Bursts { .. }
            | Act::Congestion { .. }
            | Act::Injector { .. }
            | Act::Anycast { .. }
            | Act::Stop { .. }
            | Act::Start { .. }
            | Act::Hold { .. }
            | Act::Waves { .. } => bail!("{act:?} is not a plain fault"),
        }
    }

    /// Faults that do something by themselves while they are in force.
    fn set_going(&mut self, act: &Act) -> Result<Held> {
        let lab = self.lab;
        Ok(match act {
            Act::Loop { near, far, to, seconds: None } => {
                let (near, far) = (self.node(near)?, self.node(far)?);
                Held::Fault(lab.loop_between(near, far, self.prefixes(to)?)?)
            }
            Act::Loop { near, far, to, seconds: Some(seconds) } => {
                let (near, far) = (self.node(near)?, self.node(far)?);
                let spells = Spells::Once(Duration::from_secs(*seconds));
                let pulse = lab.flapping_detour(far, self.prefixes(to)?, near, spells)?;
                Held::Pulse { _pulse: pulse }
            }
            Act::Bursts { at, packets, good, bad, seed } => {
                let spells = random_spells(*good, *bad, *seed);
                let pulse = lab.bursts(self.node(at)?, &packets.resolve(self)?, spells)?;
                Held::Pulse { _pulse: pulse }
            }
            Act::Congestion { at, toward, kbit, delay_ms, from, to, flood_kbit } => {
                let (node, toward) = (self.node(at)?, self.node(toward)?);
                let queue = Queue { kbit_per_second: *kbit, delay_ms_max: *delay_ms };
                let bottleneck = lab.bottleneck(node, toward, queue)?;
                let at = (self.addresses(to)?.v4, FLOODED).into();
                let flood = udp_flood(self.node(from)?, (self.node(to)?, at), *flood_kbit)?;
                wait_until(FULL, || lab.queue_drops(node, toward).is_ok_and(|drops| drops > 0))?;
                self.held.push(Held::Fault(bottleneck));
                Held::Flood { _flood: flood }
            }
            Act::Injector { at, port } => {
                Held::Injector { _injector: rst_injector(self.node(at)?, *port)? }
            }
            Act::Anycast { at, address, other, seconds } => {
                let (router, other) = (self.node(at)?, self.node(other)?);
                let shared = self.addresses(address)?;
                other.ip(Family::V4, &[format!("addr add {}/32 dev lo", shared.v4)])?;
                let undo = format!("addr del {}/32 dev lo", shared.v4);
                self.held.push(Held::Shared(other.clone(), undo));
                let spell = Duration::from_secs(*seconds);
                let spells = Spells::Even(spell, spell);
                let pulse = lab.flapping_detour(router, shared.v4, other, spells)?;
                Held::Pulse { _pulse: pulse }
            }
            Act::Hold { from, at, port, count } => {
                let target = (self.addresses(at)?.v4, *port).into();
                let streams = hold_connections(self.node(from)?, target, *count)?;
                Held::Connections { _streams: streams }
            }
            Act::Waves { at, port, from, backlog, seconds } => {
                let target = (self.addresses(at)?.v4, *port).into();
                let waves = server::rdp_in_waves(
                    self.node(at)?,
                    *port,
                    (self.node(from)?, target),
                    (*backlog, Duration::from_secs(*seconds)),
                )?;
                Held::Waves { _waves: waves }
            }
            _ => bail!("{act:?} does nothing by itself"),
        })
    }

    fn start(&mut self, at: &str, port: u16, serve: Serve) -> Result<()> {
        let node = self.node(at)?;
        let server = match serve {
            Serve::Rdp => server::rdp_confirm(node, port),
            Serve::RdpSlow(seconds) => {
                server::rdp_slow(node, port, Duration::from_secs_f64(seconds))
            }
            Serve::RdpCertificate(bytes) => server::rdp_certificate(node, port, bytes),
            Serve::Silent => server::silent(node, port),
            Serve::NoAccept(backlog) => server::no_accept(node, port, backlog),
            Serve::Ssh => server::ssh_banner(node, port),
            Serve::Sink => server::sink(node, port),
        }?;
        self.services.insert((at.to_owned(), port), (serve, server));
        Ok(())
    }

    fn start_again(&mut self, at: &str, port: u16, serve: Serve) -> Result<()> {
        self.start(at, port, serve).with_context(|| format!("start port {port} of {at} again"))
    }

    fn stop(&mut self, at: &str, port: u16) -> Result<Held> {
        let found = self.services.remove(&(at.to_owned(), port));
        let (serve, server) = found.with_context(|| format!("nothing serves {port} at {at}"))?;
        server.stop();
        Ok(Held::Stopped(at.to_owned(), port, serve))
    }
}

/// The network of the address that several may have: `10.8.0.1`.
fn vip_subnet() -> Subnet {
    Subnet::lan(8, 0)
}

const VIP: u8 = 1;
const FLOODED: u16 = 9;
/// A queue that others overflow is full within a second.
const FULL: Duration = Duration::from_secs(10);
