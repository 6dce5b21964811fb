//! Topology C: a chain whose middle is four equal ways.

use anyhow::{Context, Result, ensure};

use super::{Lan, WINDOWS_TTL};
use crate::address::{Addresses, Family};
use crate::lab::Lab;
use crate::node::Node;

/// What to vary in a fan.
#[derive(Clone, Copy, Debug)]
pub struct FanSpec {
    /// How many equal ways, 2 to 8.
    pub members: u8,
    /// The TTL with which the targets send.
    pub target_ttl: u8,
}

impl Default for FanSpec {
    fn default() -> Self {
        Self { members: 4, target_ttl: WINDOWS_TTL }
    }
}

/// `v1 - r1 = { p1 .. p4 } = r2 - gw - switch - { t, n1, n2 }`.
///
/// The first router chooses a member for each flow, by addresses and ports (IPv4); answers and IPv6
/// always take the first.
#[derive(Clone, Debug)]
pub struct Fan {
    /// The vantage.
    pub v1: Node,
    /// Its addresses.
    pub v1_at: Addresses,
    /// The router before the fan.
    pub near: Node,
    /// The members.
    pub members: Vec<Node>,
    /// The router behind the fan.
    pub far: Node,
    /// The targets' gateway.
    pub gateway: Node,
    /// The targets.
    pub lan: Lan,
}

impl Fan {
    /// Builds the fan.
    pub fn build(lab: &mut Lab, spec: FanSpec) -> Result<Self> {
        ensure!((2..=8).contains(&spec.members), "2 to 8 members, not {}", spec.members);
        let v1 = lab.host("v1")?;
        let near = lab.router("r1")?;
        let far = lab.router("r2")?;
        let gateway = lab.router("gw")?;
        lab.link(&v1, &near)?;
        let mut members = Vec::new();
        let mut next_hops = String::new();
        for number in 1..=spec.members {
            let member = lab.router(&format!("p{number}"))?;
            let subnet = lab.link(&near, &member)?;
            lab.link(&member, &far)?;
            next_hops += &format!(" nexthop via {}", subnet.host(2).v4);
            members.push(member);
        }
        lab.link(&far, &gateway)?;
        let lan = Lan::build(lab, &gateway, spec.target_ttl)?;
        lab.converge()?;
        near.sysctl(&[("net.ipv4.fib_multipath_hash_policy", "1")])?;
        let prefix = lan.subnet.prefix(Family::V4);
        near.ip(Family::V4, &[format!("route replace {prefix}{next_hops}")])
            .context("spread the flows")?;
        let v1_at = lab.addresses(&v1)?;
        Ok(Self { v1, v1_at, near, members, far, gateway, lan })
    }
}
