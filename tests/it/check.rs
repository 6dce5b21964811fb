//! `reachd check` against real kernels: each test builds a network, breaks it, reads the verdict.

mod alive;
mod answers;
mod bad_input;
mod faces;
mod healthy;
mod loss;
mod manners;
mod names;
mod ourselves;
mod silent;
mod sources;
mod sweeps;
mod unprivileged;

use reachd_lab::{Addresses, ChainSpec, LINUX_TTL, WINDOWS_TTL};

/// The service under test.
const RDP: u16 = 3389;

/// Three routers to hosts that send as Windows does.
const SHORT: ChainSpec = ChainSpec { routers: 3, target_ttl: WINDOWS_TTL };
/// Six routers to hosts that send as Linux does.
const LONG: ChainSpec = ChainSpec { routers: 6, target_ttl: LINUX_TTL };

/// An address pair with a port, as written on the command line, and what to call it.
fn both(at: Addresses, port: u16) -> [(&'static str, String); 2] {
    [("IPv4", format!("{}:{port}", at.v4)), ("IPv6", format!("[{}]:{port}", at.v6))]
}
