//! What one run of a prober gave.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The counts, times and sizes of one run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Measured {
    /// Probes handed to the kernel.
    pub(crate) sent: u64,
    /// Probes answered in time.
    pub(crate) received: u64,
    /// Probes the prober says were lost.
    pub(crate) lost: u64,
    /// Probes the prober says tell nothing, for a fault of its own side.
    pub(crate) invalid: u64,
    /// Answers after the verdict.
    pub(crate) late: u64,
    /// Further answers to the same probe.
    pub(crate) duplicate: u64,
    /// Wall-clock seconds from the first probe to the end of sending.
    pub(crate) seconds: f64,
    /// Processor seconds in user space over the same time.
    pub(crate) cpu_user: f64,
    /// Processor seconds in the kernel over the same time.
    pub(crate) cpu_sys: f64,
    /// Resident size at the end, in bytes.
    pub(crate) rss_bytes: u64,
    /// Largest resident size, in bytes.
    pub(crate) rss_peak: u64,
    /// Largest delay of a probe behind its schedule, in seconds.
    pub(crate) lag_max: Option<f64>,
    /// The same, 99th percentile.
    pub(crate) lag_p99: Option<f64>,
    /// Round trips as the prober reports them: index of the target, time.
    pub(crate) rtts: Vec<(u32, Duration)>,
}

impl Measured {
    /// Answered probes in a second of wall-clock time.
    pub(crate) fn rate(&self) -> f64 {
        self.received as f64 / self.seconds.max(1e-9)
    }

    /// Processor microseconds for each probe sent.
    pub(crate) fn micros_per_probe(&self) -> f64 {
        (self.cpu_user + self.cpu_sys) * 1e6 / (self.sent as f64).max(1.0)
    }

    /// The part of it in user space.
    pub(crate) fn user_micros_per_probe(&self) -> f64 {
        self.cpu_user * 1e6 / (self.sent as f64).max(1.0)
    }
}
