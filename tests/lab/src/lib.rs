//! Real routers in network namespaces, with faults, for tests and demonstrations.
//!
//! A test wraps its body in [`inside`], which runs it in a sandbox of its own: nothing it does is
//! seen outside, nothing of it stays, and any number run side by side.
//!
//! ```ignore
//! #[test]
//! fn blackhole_is_silent() {
//!     reachd_lab::inside(reachd_lab::test_name!(), |lab| {
//!         let chain = Chain::build(lab, ChainSpec::default())?;
//!         let _rdp = server::rdp_confirm(&chain.lan.target, 3389)?;
//!         let fault = lab.blackhole_route(chain.r(2), chain.lan.target_at)?;
//!         let output = chain.v1.exec(&["reachd", "check", "10.9.0.10:3389"])?;
//!         fault.heal()
//!     });
//! }
//! ```
//!
//! What cannot be had: delay other than that of a queue ([`Lab::bottleneck`]) and duplicated
//! packets, for the kernels this runs on may lack `netem`; and a limit on the answers of dead-end
//! routes other than the kernel's own ([`DeadEnd`]).

mod address;
mod fault;
mod injector;
pub mod internet;
mod kernel;
mod lab;
mod matching;
mod node;
mod packet;
pub mod probe;
mod sandbox;
pub mod scenario;
pub mod server;
mod topology;
mod traffic;
pub mod tun;

use std::panic::Location;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

pub use address::{Addresses, Family, Prefix, Prefixes, Subnet};
pub use fault::{Counters, DeadEnd, Fault, Hook, Pulse, Queue, Spells, With};
pub use injector::{Injector, rst_injector};
pub use lab::{Lab, Neighbours};
pub use matching::{Match, Table};
pub use node::{Node, Output, Running, in_namespace};
pub use sandbox::{DEADLINE, check_machine, inside, inside_within, is_inside, sandbox_command};
pub use topology::{
    Canary, Chain, ChainSpec, Fan, FanSpec, Fleet, FleetSpec, LINUX_TTL, Lan, Upstreams,
    UpstreamsSpec, VantageLab, VantageLabSpec, Vpc, VpcSpec, WINDOWS_TTL,
};
pub use traffic::{Flood, hold_connections, udp_flood};

/// Polls every five milliseconds until a condition holds, and fails when the time is over.
#[track_caller]
pub fn wait_until(within: Duration, condition: impl FnMut() -> bool) -> Result<()> {
    wait_until_every(POLL, within, condition)
}

/// The same for a condition that is dear to look at, or that looking would disturb.
#[track_caller]
pub fn wait_until_every(
    pause: Duration,
    within: Duration,
    mut condition: impl FnMut() -> bool,
) -> Result<()> {
    let deadline = Instant::now() + within;
    loop {
        if condition() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            bail!("the condition at {} did not hold within {within:?}", Location::caller());
        }
        std::thread::sleep(pause);
    }
}

/// Gives the name of the test it is written in, as the test runner knows it.
#[macro_export]
macro_rules! test_name {
    () => {{
        fn here() {}
        $crate::test_name_of(here)
    }};
}

#[doc(hidden)]
pub fn test_name_of<F>(_here: F) -> &'static str {
    let path = std::any::type_name::<F>();
    let path = path.strip_suffix("::here").unwrap_or(path);
    path.split_once("::").map_or(path, |(_, name)| name)
}

const POLL: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests;
