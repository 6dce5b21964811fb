//! What a plan costs: packets and time series.

use reachd_core::evidence::rdp::RdpDepth;
use reachd_core::plan::Plan;
use reachd_core::target::{Service, Target};

use crate::settings::{MetricsDetail, Settings};

/// What a plan costs in the steady state, without investigations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// Time series on `/metrics` while all is well; failures add a few for each target.
    pub series: u64,
    /// Packets sent a second, each name counted as one address.
    pub packets_per_second: f64,
    /// Number of targets.
    pub targets: usize,
    /// Number of vantages.
    pub vantages: usize,
}

/// Packets of a full connect (SYN, ACK, request, ACK of the answer, FIN, ACK) and of the look with
/// it (ten echoes, three SYNs, three large echoes).
const CONNECT_PACKETS: f64 = 6.0 + 16.0;

/// Of each target: up, class (the current one and one seen before), confidence, info.
const TARGET_SERIES: u64 = 5;

/// Of each vantage and target: reachable, hops, path changes.
const PAIR_SERIES: u64 = 3;

/// Of each vantage, target and probe: sent, received, late, duplicate, and one reason of loss.
const PROBE_SERIES: u64 = 5;

/// Of each histogram: its buckets, the one without a bound, sum and count.
const HISTOGRAM_SERIES: u64 = 19;

/// Of each vantage and RDP server that is looked at: its setting; with a certificate, its two
/// dates, its kind and its changes; with NTLM, its clock and its build. Each stage of a look has a
/// histogram.
const LOOK_SERIES: u64 = 1;
const CERTIFICATE_SERIES: u64 = 4;
const CHALLENGE_SERIES: u64 = 2;

/// Of each vantage: healthy, info, capture packets and drops.
const VANTAGE_SERIES: u64 = 4;

/// Of each receiver: three outcomes and the queue.
const RECEIVER_SERIES: u64 = 4;

/// Of the daemon itself: lag, unwatched, reload, build, incidents by class and state.
const OWN_SERIES: u64 = 50;

/// What the plan of these settings costs.
pub fn cost(settings: &Settings) -> Cost {
    let plan = &settings.plan;
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let mut series = OWN_SERIES
        + VANTAGE_SERIES * count(plan.vantages.len())
        + RECEIVER_SERIES * count(settings.receivers.len());
    let mut packets_per_second = 0.0;
    for target in &plan.targets {
        series +=
            TARGET_SERIES + count(vantages(target, plan)) * pair_series(target, settings.metrics);
        packets_per_second += rate(target) * count_of(vantages(target, plan));
    }
    Cost { series, packets_per_second, targets: plan.targets.len(), vantages: plan.vantages.len() }
}

/// From how many vantages a target is watched.
pub(crate) fn vantages(target: &Target, plan: &Plan) -> usize {
    if target.vantages.is_empty() { plan.vantages.len() } else { target.vantages.len() }
}

/// A small number as a factor.
pub(crate) fn count_of(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

fn pair_series(target: &Target, detail: MetricsDetail) -> u64 {
    let depth = if target.service == Service::Rdp { target.rdp_depth } else { RdpDepth::Off };
    let probes = match target.service {
        Service::Ping => 1,
        Service::Ssh | Service::Tcp | Service::Rdp => 4,
    };
    // Stages of a look beside its connections, each with its counters; and what a look shows.
    let (stages, shown) = match depth {
        RdpDepth::Off => (0, 0),
        RdpDepth::X224 => (0, LOOK_SERIES),
        RdpDepth::Tls => (1, LOOK_SERIES + CERTIFICATE_SERIES),
        RdpDepth::Ntlm => (2, LOOK_SERIES + CERTIFICATE_SERIES + CHALLENGE_SERIES),
    };
    let timed = if depth == RdpDepth::Off { 0 } else { 2 + stages };
    let histogram = match detail {
        MetricsDetail::Full => HISTOGRAM_SERIES,
        MetricsDetail::Compact => 0,
    };
    PAIR_SERIES + (probes + stages) * (PROBE_SERIES + histogram) + shown + timed * histogram
}

/// Packets a second from one vantage.
pub(crate) fn rate(target: &Target) -> f64 {
    let echo = 1.0 / target.echo_interval.as_secs_f64();
    if !target.service.has_port() {
        return echo;
    }
    let syn = 1.0 / target.syn_interval.as_secs_f64();
    echo + syn + CONNECT_PACKETS / target.connect_interval.as_secs_f64()
}
