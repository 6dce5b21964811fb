//! reachd's own sweep, as the bench drives it: the one place that knows the engine.
//!
//! [`run`] is called in a process of its own, in the prober's namespace and bound to processor 0
//! already. It need not measure the process: what it leaves zero is filled in by its caller.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use crate::measured::Measured;
use crate::stage::Stage;

/// What each probe asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Probe {
    /// ICMP echo.
    Echo,
    /// TCP SYN to port 3389; the kernel's own reset closes.
    Syn,
}

/// How probes leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Transmit {
    /// The default: a raw socket that takes whole IP packets.
    Raw,
    /// The fast option: a packet socket.
    Packet,
}

/// What to run.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Load {
    /// What each probe asks.
    pub(crate) probe: Probe,
    /// How probes leave.
    pub(crate) transmit: Transmit,
    /// How many targets: [`Stage::target`] of 0 and on.
    pub(crate) targets: u32,
    /// Probes a second in all; `None` is flat out: the next probe leaves when there is room.
    pub(crate) rate: Option<f64>,
    /// For how long probes are sent. The run then waits for what is still under way.
    pub(crate) seconds: f64,
    /// Whether each round trip is to be reported, which costs time and memory.
    pub(crate) keep_rtts: bool,
}

/// Runs one load and gives what the engine counted.
pub(crate) fn run(_stage: &Stage, _load: &Load) -> Result<Measured> {
    bail!("not wired yet")
}
