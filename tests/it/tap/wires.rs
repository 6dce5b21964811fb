//! Wires laid by hand, where the lab's own topologies have no such device.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use reachd_lab::probe::ping;
use reachd_lab::{Addresses, Family, LINUX_TTL, Node, Subnet, wait_until};

use crate::daemon::harness::SOON;

/// Lays a wire between two nodes, under these names.
pub(super) fn wire(a: (&Node, &str), b: (&Node, &str)) -> Result<()> {
    let ((a, near), (b, far)) = (a, b);
    let line = format!("link add {near} type veth peer name {far} netns {b}");
    a.ip(Family::V4, &[line, format!("link set {near} up")])?;
    b.ip(Family::V4, &[format!("link set {far} up")])
}

/// Gives a device both addresses of a host number.
pub(super) fn address(node: &Node, device: &str, subnet: Subnet, number: u8) -> Result<Addresses> {
    let at = subnet.host(number);
    for family in Family::BOTH {
        let (length, more) = match family {
            Family::V4 => (24, ""),
            Family::V6 => (64, " nodad"),
        };
        let line = format!("addr add {}/{length} dev {device}{more}", at.of(family));
        node.ip(family, &[line])?;
    }
    Ok(at)
}

/// Gives the loopback device one more pair of addresses.
pub(super) fn own_address(node: &Node, at: Addresses) -> Result<()> {
    for (family, length) in Family::BOTH.into_iter().zip([32, 128]) {
        node.ip(family, &[format!("addr add {}/{length} dev lo", at.of(family))])?;
    }
    Ok(())
}

/// Adds a route in both families; `more` ends both lines.
pub(super) fn route(node: &Node, to: Subnet, via: Addresses, more: &str) -> Result<()> {
    for family in Family::BOTH {
        let prefix = to.prefix(family).address;
        let length = if family == Family::V4 { 24 } else { 64 };
        let line = format!("route add {prefix}/{length} via {} {more}", via.of(family));
        node.ip(family, &[line])?;
    }
    Ok(())
}

/// Waits until a node reaches these addresses, so that no probe pays for a neighbour's lookup.
///
/// Its own echoes leave with another hop limit than probes, which keeps them off the books.
pub(super) fn warm(node: &Node, addresses: impl IntoIterator<Item = IpAddr>) -> Result<()> {
    for address in addresses {
        let answered = || ping(node, address, LINUX_TTL / 2, Duration::from_secs(1));
        wait_until(SOON, || answered().is_ok_and(|answer| answer.is_some()))
            .with_context(|| format!("{node} does not reach {address}"))?;
    }
    Ok(())
}
