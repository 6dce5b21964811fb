//! Healthy targets for days, with all that is no failure: bursts of loss, routers that reboot,
//! hosts that limit their echoes, and a prober that stands still now and then.

use std::net::IpAddr;
use std::time::Duration;

use reachd_core::incident::IncidentState;
use reachd_core::monitor::Event;
use reachd_core::plan::{Budget, Plan};
use reachd_core::snapshot::{ProbeRow, Snapshot};
use reachd_core::target::{Service, Siblings, Target};
use reachd_core::time::Instant;
use reachd_core::vantage::Vantage;

use crate::light::Light;

/// Seconds of an hour.
pub const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;
/// Days of one target after which a month of it was watched.
const MONTH: f64 = 30.0;
/// Addresses from one target to the next.
const APART: u64 = 16;

/// A budget that holds nothing back.
pub const WITHOUT_LIMIT: Budget = Budget {
    packets_per_second: 1e9,
    per_destination: 1e9,
    per_prefix: 1e9,
    connects_per_minute: 10,
    connects_per_hour: 60,
};

/// The address of a target by its number.
pub fn address(index: u32) -> IpAddr {
    IpAddr::from((0x0a40_0000 + index).to_be_bytes())
}

/// A number drawn from two others.
pub fn draw(a: u64, b: u64) -> u64 {
    let word = (a ^ b.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ word >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word ^ word >> 32
}

/// Background loss: one packet in two thousand by itself, and in most hours of each target a burst
/// of half a second to four seconds in which nothing passes.
pub fn passes(to: IpAddr, at: Instant) -> bool {
    let IpAddr::V4(to) = to else { return true };
    let host = u64::from(to.to_bits());
    let millis = at.as_nanos() / 1_000_000;
    let hour = millis / (HOUR * 1_000);
    let burst = draw(host, hour);
    let begin = burst % (HOUR * 1_000 - 5_000);
    let length = 500 + burst / 7 % 3_500;
    let within = millis % (HOUR * 1_000);
    let in_burst = !burst.is_multiple_of(5) && (begin..begin + length).contains(&within);
    !in_burst && !draw(host, millis).is_multiple_of(2_000)
}

fn host(to: IpAddr) -> u64 {
    let IpAddr::V4(to) = to else { return 0 };
    u64::from(to.to_bits())
}

/// Every router before a /24 reboots about every third day: for two to seven seconds nothing
/// passes until its twin has taken over.
fn router_is_up(to: IpAddr, at: Instant) -> bool {
    let (network, period) = (host(to) >> 8, 3 * DAY * 1_000);
    let millis = at.as_nanos() / 1_000_000;
    let reboot = draw(network, millis / period);
    let begin = reboot % (period - 10_000);
    !(begin..begin + 2_000 + reboot / 11 % 5_000).contains(&(millis % period))
}

/// Every tenth host with a port limits its own echoes: for an hour or two a day it answers every
/// other one. Where echo is all that is asked, that is a loss like any other.
fn echo_is_granted(to: IpAddr, at: Instant) -> bool {
    let millis = at.as_nanos() / 1_000_000;
    let index = (host(to) - host(address(0))) / APART;
    let limited = !is_ping(index) && index.is_multiple_of(10);
    let hour = millis / (HOUR * 1_000);
    !limited
        || !draw(host(to), hour).is_multiple_of(16)
        || (draw(millis, host(to)) >> 40).is_multiple_of(2)
}

fn is_ping(index: u64) -> bool {
    index % 4 == 3
}

/// A plan of so many targets, whose addresses and services these are, seen from one vantage.
pub fn plan(count: u32, of: impl Fn(u32) -> (IpAddr, Service)) -> Plan {
    let target = |index: u32| {
        let (host, service) = of(index);
        let mut target = Target::new(&host.to_string(), 3389, service);
        target.siblings = Siblings::Off;
        target
    };
    Plan {
        targets: (0..count).map(target).collect(),
        vantages: vec![Vantage::unbound("a")],
        budget: WITHOUT_LIMIT,
        ..Plan::default()
    }
}

/// How often a thing may happen each month at most, with 95 % confidence, that never happened in
/// so many months: the exact bound of a Poisson count (Garwood, 1936).
pub fn upper_bound(alarms: usize, months: f64) -> f64 {
    // The mean for which so few are seen in one of twenty months of this length, by bisection.
    let seen = |mean: f64| {
        let terms = (0..=alarms).scan(1.0_f64, |term, n| {
            if n > 0 {
                *term *= mean / n as f64;
            }
            Some(*term)
        });
        terms.sum::<f64>() * (-mean).exp()
    };
    let (mut low, mut high) = (0.0, 100.0 + 2.0 * alarms as f64);
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        if seen(middle) > 0.05 { low = middle } else { high = middle }
    }
    high / months
}

/// What was seen of them.
#[derive(Debug)]
pub struct Watched {
    /// Alerts, each of them false, and when they were told.
    pub alarms: Vec<(Instant, String)>,
    /// Probes that were lost all the same.
    pub lost: u64,
    /// How often each class was said.
    pub judged: std::collections::BTreeMap<String, u64>,
    /// What the monitor knew at the end.
    pub snapshot: Snapshot,
    months: f64,
}

impl Watched {
    /// False alarms per target and month at most, with 95 % confidence.
    pub fn bound(&self) -> f64 {
        upper_bound(self.alarms.len(), self.months)
    }
}

/// Watches so many targets for so many days of virtual time.
pub fn watch(count: u32, days: u32) -> Watched {
    let one = |index: u32| {
        let service = if is_ping(index.into()) { Service::Ping } else { Service::Tcp };
        (address(index * APART as u32), service)
    };
    let answers = |to, at| passes(to, at) && router_is_up(to, at);
    let mut light = Light::new(7, &plan(count, one), Box::new(answers));
    light.set_echoes(Box::new(echo_is_granted));
    for hour in 0..u64::from(days) * 24 {
        // The prober itself stands still now and then, from a tenth of a second to eight.
        let stall = draw(hour, 77);
        let first = Duration::from_millis(stall % (HOUR * 1_000 - 10_000));
        let stall = Duration::from_millis(100 + stall / 13 % 8_000);
        light.pass(first);
        light.stall(stall);
        light.pass(Duration::from_secs(HOUR) - first - stall);
    }
    let alarms = light.told.iter().filter_map(|(at, event)| match event {
        Event::Incident(update) if update.state == IncidentState::Firing && update.notify => {
            Some((*at, update.summary.0.clone()))
        }
        _ => None,
    });
    let alarms = alarms.collect();
    let snapshot = light.monitor.snapshot();
    let lost = |row: &ProbeRow| row.counters().sent - row.counters().received;
    let lost = snapshot.probes.iter().map(lost).sum();
    let months = f64::from(count) * f64::from(days) / MONTH;
    Watched { alarms, lost, judged: light.judged, snapshot, months }
}
