//! Topology B: two vantages whose ways meet only at the edge.

use anyhow::Result;

use super::{Lan, WINDOWS_TTL};
use crate::address::{Addresses, Subnet};
use crate::lab::Lab;
use crate::node::Node;

/// What to vary with two upstreams.
#[derive(Clone, Copy, Debug)]
pub struct UpstreamsSpec {
    /// The TTL with which the targets send.
    pub target_ttl: u8,
}

impl Default for UpstreamsSpec {
    fn default() -> Self {
        Self { target_ttl: WINDOWS_TTL }
    }
}

/// `v1 - a1 - a2 - x` and `v2 - b1 - b2 - x`, then `x - gw - switch - { t, n1, n2 }`.
///
/// Side a has addresses in block 10, side b in block 20: two providers.
#[derive(Clone, Debug)]
pub struct Upstreams {
    /// The vantage on side a.
    pub v1: Node,
    /// Its addresses.
    pub v1_at: Addresses,
    /// A second address of the same vantage, used only when asked for.
    pub v1_second: Addresses,
    /// The vantage on side b.
    pub v2: Node,
    /// Its addresses.
    pub v2_at: Addresses,
    /// The routers of side a, the vantage's first.
    pub a: [Node; 2],
    /// The routers of side b, the vantage's first.
    pub b: [Node; 2],
    /// The edge, where the sides meet.
    pub edge: Node,
    /// The targets' gateway.
    pub gateway: Node,
    /// The targets.
    pub lan: Lan,
}

impl Upstreams {
    /// Builds both sides and what they share.
    pub fn build(lab: &mut Lab, spec: UpstreamsSpec) -> Result<Self> {
        let edge = lab.router("x")?;
        let gateway = lab.router("gw")?;
        let (v1, a) = side(lab, &edge, Side { vantage: "v1", letter: 'a', block: 10 })?;
        let (v2, b) = side(lab, &edge, Side { vantage: "v2", letter: 'b', block: 20 })?;
        lab.link(&edge, &gateway)?;
        let lan = Lan::build(lab, &gateway, spec.target_ttl)?;
        let v1_second = lab.second_address(&v1, Subnet::lan(11, 0), 1)?;
        lab.converge()?;
        let (v1_at, v2_at) = (lab.addresses(&v1)?, lab.addresses(&v2)?);
        Ok(Self { v1, v1_at, v1_second, v2, v2_at, a, b, edge, gateway, lan })
    }
}

struct Side {
    vantage: &'static str,
    letter: char,
    block: u8,
}

fn side(lab: &mut Lab, edge: &Node, side: Side) -> Result<(Node, [Node; 2])> {
    let Side { vantage, letter, block } = side;
    let vantage = lab.host(vantage)?;
    let near = lab.router(&format!("{letter}1"))?;
    let far = lab.router(&format!("{letter}2"))?;
    lab.link_on(&vantage, &near, Subnet::link(block, 1))?;
    lab.link_on(&near, &far, Subnet::link(block, 2))?;
    lab.link_on(&far, edge, Subnet::link(block, 3))?;
    Ok((vantage, [near, far]))
}
