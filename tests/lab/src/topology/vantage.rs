//! Topology G: a vantage that may itself be at fault, with canaries on branches to tell.

use anyhow::{Context, Result, ensure};

use super::{Lan, WINDOWS_TTL};
use crate::address::{Addresses, Subnet};
use crate::lab::Lab;
use crate::node::Node;
use crate::server::{TcpServer, rdp_confirm};

/// What to vary around a vantage.
#[derive(Clone, Copy, Debug)]
pub struct VantageLabSpec {
    /// How many branches leave the core, 1 to 9.
    pub branches: u8,
    /// How many canaries are spread over them, 1 to 100.
    pub canaries: u8,
    /// The TTL with which the targets send.
    pub target_ttl: u8,
}

impl Default for VantageLabSpec {
    fn default() -> Self {
        Self { branches: 4, canaries: 6, target_ttl: WINDOWS_TTL }
    }
}

/// `v1 - r1 - core - gw - switch - { t, n1, n2 }`, and `core - bN - { cN, .. }` for each branch.
#[derive(Debug)]
pub struct VantageLab {
    /// The vantage.
    pub v1: Node,
    /// Its addresses.
    pub v1_at: Addresses,
    /// The vantage's own router.
    pub r1: Node,
    /// The router from which everything branches.
    pub core: Node,
    /// The targets' gateway.
    pub gateway: Node,
    /// The branch routers.
    pub branches: Vec<Node>,
    /// The canaries: canary i is on branch i modulo their number.
    pub canaries: Vec<Canary>,
    /// The targets.
    pub lan: Lan,
}

/// A host that is known to be well: it answers echo and RDP.
#[derive(Debug)]
pub struct Canary {
    /// The host.
    pub node: Node,
    /// Its addresses.
    pub at: Addresses,
    /// Its service on port 3389.
    pub rdp: TcpServer,
}

impl VantageLab {
    /// Builds the branches and starts the canaries.
    pub fn build(lab: &mut Lab, spec: VantageLabSpec) -> Result<Self> {
        let VantageLabSpec { branches: branch_count, canaries: canary_count, target_ttl } = spec;
        ensure!((1..=9).contains(&branch_count), "1 to 9 branches, not {branch_count}");
        ensure!((1..=100).contains(&canary_count), "1 to 100 canaries, not {canary_count}");
        let v1 = lab.host("v1")?;
        let r1 = lab.router("r1")?;
        let core = lab.router("core")?;
        let gateway = lab.router("gw")?;
        lab.link(&v1, &r1)?;
        lab.link(&r1, &core)?;
        lab.link(&core, &gateway)?;
        let lan = Lan::build(lab, &gateway, target_ttl)?;
        let mut branches = Vec::new();
        for number in 1..=branch_count {
            let branch = lab.router(&format!("b{number}"))?;
            lab.link(&core, &branch)?;
            branches.push(branch);
        }
        let mut hosts = Vec::new();
        for number in 0..canary_count {
            let branch = &branches[usize::from(number % branch_count)];
            let canary = lab.host(&format!("c{}", number + 1))?;
            let subnet = Subnet::link(50, number);
            lab.link_on(branch, &canary, subnet)?;
            hosts.push((canary, subnet.host(2)));
        }
        lab.converge()?;
        let start = |(node, at): (Node, Addresses)| -> Result<Canary> {
            let rdp = rdp_confirm(&node, RDP).with_context(|| format!("canary {node}"))?;
            Ok(Canary { node, at, rdp })
        };
        let canaries = hosts.into_iter().map(start).collect::<Result<_>>()?;
        let v1_at = lab.addresses(&v1)?;
        Ok(Self { v1, v1_at, r1, core, gateway, branches, canaries, lan })
    }
}

const RDP: u16 = 3389;
