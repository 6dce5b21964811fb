//! Ready-made networks, each with its routes in place.

mod chain;
mod fan;
mod fleet;
mod upstreams;
mod vantage;
mod vpc;

use anyhow::Result;

use crate::address::{Addresses, Subnet};
use crate::lab::Lab;
use crate::node::Node;

pub use chain::{Chain, ChainSpec};
pub use fan::{Fan, FanSpec};
pub use fleet::{Fleet, FleetSpec};
pub use upstreams::{Upstreams, UpstreamsSpec};
pub use vantage::{Canary, VantageLab, VantageLabSpec};
pub use vpc::{Vpc, VpcSpec};

/// The TTL with which Windows hosts send.
pub const WINDOWS_TTL: u8 = 128;
/// The TTL with which Linux hosts send.
pub const LINUX_TTL: u8 = 64;

/// The targets' network in every topology: `10.9.0.0/24`, the gateway at `.1`.
const TARGET_SUBNET: (u8, u8) = (9, 0);
const GATEWAY: u8 = 1;
const TARGET: u8 = 10;
const FIRST_NEIGHBOUR: u8 = 11;
const SECOND_NEIGHBOUR: u8 = 12;

/// A network of hosts behind a gateway, joined by a switch that costs no hop.
#[derive(Clone, Debug)]
pub struct Lan {
    /// The switch, which can drop frames as a security group does.
    pub switch: Node,
    /// The network.
    pub subnet: Subnet,
    /// The host under test, at `.10`.
    pub target: Node,
    /// Its addresses.
    pub target_at: Addresses,
    /// A neighbour, at `.11`.
    pub n1: Node,
    /// Its addresses.
    pub n1_at: Addresses,
    /// Another neighbour, at `.12`.
    pub n2: Node,
    /// Its addresses.
    pub n2_at: Addresses,
}

impl Lan {
    fn build(lab: &mut Lab, gateway: &Node, target_ttl: u8) -> Result<Self> {
        let (block, number) = TARGET_SUBNET;
        let subnet = Subnet::lan(block, number);
        let switch = lab.switch("sw", subnet)?;
        lab.attach(gateway, &switch, GATEWAY)?;
        let mut host = |name, number| -> Result<(Node, Addresses)> {
            let node = lab.host(name)?;
            let addresses = lab.attach(&node, &switch, number)?;
            node.set_ttl(target_ttl)?;
            Ok((node, addresses))
        };
        let (target, target_at) = host("t", TARGET)?;
        let (n1, n1_at) = host("n1", FIRST_NEIGHBOUR)?;
        let (n2, n2_at) = host("n2", SECOND_NEIGHBOUR)?;
        Ok(Self { switch, subnet, target, target_at, n1, n1_at, n2, n2_at })
    }
}
