//! Topology A: a chain of routers between two vantages and a network of targets.

use anyhow::{Context, Result, ensure};

use super::{Lan, WINDOWS_TTL};
use crate::address::{Addresses, Subnet};
use crate::lab::Lab;
use crate::node::Node;

/// What to vary in a chain.
#[derive(Clone, Copy, Debug)]
pub struct ChainSpec {
    /// How many routers, 1 to 12; the last is the targets' gateway.
    pub routers: u8,
    /// The TTL with which the targets send.
    pub target_ttl: u8,
}

impl Default for ChainSpec {
    fn default() -> Self {
        Self { routers: 3, target_ttl: WINDOWS_TTL }
    }
}

/// `v1 - r1 - r2 - .. - rN - switch - { t, n1, n2 }`, and `v2` at `r2`.
#[derive(Clone, Debug)]
pub struct Chain {
    /// The vantage at the start of the chain.
    pub v1: Node,
    /// Its addresses.
    pub v1_at: Addresses,
    /// A second address of the same vantage, in another network, used only when asked for.
    pub v1_second: Addresses,
    /// The vantage at the second router, or at the only one.
    pub v2: Node,
    /// Its addresses.
    pub v2_at: Addresses,
    /// The routers in order.
    pub routers: Vec<Node>,
    /// What each router is called in a trace from `v1`.
    pub hops: Vec<Addresses>,
    /// The targets behind the last router.
    pub lan: Lan,
}

impl Chain {
    /// Builds the chain.
    pub fn build(lab: &mut Lab, spec: ChainSpec) -> Result<Self> {
        ensure!((1..=12).contains(&spec.routers), "1 to 12 routers, not {}", spec.routers);
        let v1 = lab.host("v1")?;
        let v2 = lab.host("v2")?;
        let mut routers: Vec<Node> = Vec::new();
        let mut hops = Vec::new();
        for number in 1..=spec.routers {
            let router = lab.router(&format!("r{number}"))?;
            let before = routers.last().unwrap_or(&v1);
            // The far end of each wire is the near side of the router, which answers from there.
            hops.push(lab.link(before, &router)?.host(2));
            routers.push(router);
        }
        let edge = routers.get(1).or(routers.first()).context("a chain has a router")?;
        lab.link(&v2, edge)?;
        let gateway = routers.last().context("a chain has a router")?;
        let lan = Lan::build(lab, gateway, spec.target_ttl)?;
        let v1_second = lab.second_address(&v1, Subnet::lan(7, 0), 1)?;
        lab.converge()?;
        let (v1_at, v2_at) = (lab.addresses(&v1)?, lab.addresses(&v2)?);
        Ok(Self { v1, v1_at, v1_second, v2, v2_at, routers, hops, lan })
    }

    /// Gives a router by its number in the chain, from 1.
    ///
    /// # Panics
    ///
    /// When the chain has no such router.
    pub fn r(&self, number: usize) -> &Node {
        &self.routers[number - 1]
    }

    /// Gives the targets' gateway, the last router.
    ///
    /// # Panics
    ///
    /// Never: a chain has a router.
    pub fn gateway(&self) -> &Node {
        self.r(self.routers.len())
    }
}
