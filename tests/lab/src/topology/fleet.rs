//! Topology E: many addresses behind two edges, seen from three vantages.

use anyhow::{Context, Result, ensure};

use super::WINDOWS_TTL;
use crate::address::{Addresses, Family, Subnet};
use crate::lab::Lab;
use crate::node::Node;
use crate::server::{TcpServer, rdp_confirm};

/// What to vary in a fleet.
#[derive(Clone, Copy, Debug)]
pub struct FleetSpec {
    /// How many hosts behind each edge, 1 to 8.
    pub hosts: u8,
    /// How many addresses each host has, 1 to 200.
    pub addresses: u8,
}

impl Default for FleetSpec {
    fn default() -> Self {
        Self { hosts: 4, addresses: 25 }
    }
}

/// `vN - bN - core` for three vantages, and `core - eN - gN - { hosts }` for two edges.
///
/// Every address of every host serves RDP.
#[derive(Debug)]
pub struct Fleet {
    /// The vantages.
    pub vantages: [Node; 3],
    /// Where all ways meet.
    pub core: Node,
    /// The two edges.
    pub edges: [Node; 2],
    /// The targets behind the first edge, then those behind the second.
    pub targets: Vec<Addresses>,
    servers: Vec<TcpServer>,
}

impl Fleet {
    /// Builds it and starts the services.
    pub fn build(lab: &mut Lab, spec: FleetSpec) -> Result<Self> {
        ensure!((1..=8).contains(&spec.hosts), "1 to 8 hosts, not {}", spec.hosts);
        ensure!((1..=200).contains(&spec.addresses), "1 to 200 addresses, not {}", spec.addresses);
        let core = lab.router("core")?;
        let mut vantages = Vec::new();
        for number in 1..=3 {
            let vantage = lab.host(&format!("v{number}"))?;
            let branch = lab.router(&format!("b{number}"))?;
            lab.link(&vantage, &branch)?;
            lab.link(&branch, &core)?;
            vantages.push(vantage);
        }
        let (mut edges, mut hosts) = (Vec::new(), Vec::new());
        for side in 1..=2_u8 {
            let edge = lab.router(&format!("e{side}"))?;
            let gateway = lab.router(&format!("g{side}"))?;
            lab.link(&core, &edge)?;
            lab.link(&edge, &gateway)?;
            for number in 1..=spec.hosts {
                let host = lab.host(&format!("h{side}{number}"))?;
                let subnet = Subnet::lan(60 + side, number);
                lab.link_on(&gateway, &host, subnet)?;
                host.set_ttl(WINDOWS_TTL)?;
                hosts.push((host, subnet, format!("to-g{side}")));
            }
            edges.push(edge);
        }
        lab.converge()?;
        let (mut targets, mut servers) = (Vec::new(), Vec::new());
        for (host, subnet, device) in hosts {
            let all: Vec<_> =
                (0..spec.addresses).map(|index| subnet.host(FIRST_ADDRESS + index)).collect();
            let lines = all.iter().map(|at| format!("addr add {}/24 dev {device}", at.v4));
            host.ip(Family::V4, &lines.collect::<Vec<_>>())?;
            targets.extend(all);
            servers.push(rdp_confirm(&host, RDP)?);
        }
        let vantages = vantages.try_into().ok().context("three vantages")?;
        let edges = edges.try_into().ok().context("two edges")?;
        Ok(Self { vantages, core, edges, targets, servers })
    }

    /// Says how many connections all services have accepted.
    pub fn accepted(&self) -> u64 {
        self.servers.iter().map(TcpServer::accepted).sum()
    }
}

const RDP: u16 = 3389;
const FIRST_ADDRESS: u8 = 10;
