//! Topology D: a cloud's network, with a security group in the switch and a witness inside.

use anyhow::Result;

use super::{Lan, WINDOWS_TTL};
use crate::address::{Addresses, Subnet};
use crate::lab::Lab;
use crate::node::Node;

/// What to vary in a cloud network.
#[derive(Clone, Copy, Debug)]
pub struct VpcSpec {
    /// The TTL with which the targets send.
    pub target_ttl: u8,
}

impl Default for VpcSpec {
    fn default() -> Self {
        Self { target_ttl: WINDOWS_TTL }
    }
}

/// `v1 - r1 - edge - switch - { t, n1, n2 }`, and inside `v3 - vpcr - switch`.
#[derive(Clone, Debug)]
pub struct Vpc {
    /// The vantage outside.
    pub v1: Node,
    /// Its addresses.
    pub v1_at: Addresses,
    /// The vantage inside the cloud, in another subnet.
    pub v3: Node,
    /// Its addresses.
    pub v3_at: Addresses,
    /// The provider's router outside.
    pub transit: Node,
    /// The cloud's edge, the targets' gateway for what is outside.
    pub edge: Node,
    /// The router between the subnets inside.
    pub inner: Node,
    /// The targets; the switch is the place for a security group.
    pub lan: Lan,
}

impl Vpc {
    /// Builds the cloud and the way to it.
    pub fn build(lab: &mut Lab, spec: VpcSpec) -> Result<Self> {
        let v1 = lab.host("v1")?;
        let v3 = lab.host("v3")?;
        let transit = lab.router("r1")?;
        let edge = lab.router("edge")?;
        let inner = lab.router("vpcr")?;
        lab.link(&v1, &transit)?;
        lab.link(&transit, &edge)?;
        let lan = Lan::build(lab, &edge, spec.target_ttl)?;
        lab.attach(&inner, &lan.switch, 2)?;
        lab.link_on(&v3, &inner, Subnet::link(9, 1))?;
        lab.converge()?;
        let (v1_at, v3_at) = (lab.addresses(&v1)?, lab.addresses(&v3)?);
        Ok(Self { v1, v1_at, v3, v3_at, transit, edge, inner, lan })
    }
}
