//! A month of healthy targets with all that is no failure: no false alarm.
//!
//! The run of `cargo test` is short; a month of 600 targets takes some minutes:
//! `REACHD_ALARM_TARGETS=600 REACHD_ALARM_DAYS=30 cargo test --release -p reachd-sim --test scale
//! alarms -- --nocapture`.

use std::net::IpAddr;
use std::time::Duration;

use reachd_core::incident::IncidentState;
use reachd_core::monitor::Event;
use reachd_core::plan::Plan;
use reachd_core::snapshot::ProbeRow;
use reachd_core::target::{Service, Siblings, Target};
use reachd_core::time::Instant;
use reachd_core::vantage::Vantage;
use reachd_sim::Light;

use crate::day::{HOUR, draw, passes};
use crate::million::{WITHOUT_LIMIT, address};

const DAY: u64 = 24 * HOUR;
/// Days of one target after which a month of it was watched.
const MONTH: f64 = 30.0;
/// Addresses from one target to the next.
const APART: u64 = 16;

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

fn plan(count: u32) -> Plan {
    let target = |index: u32| {
        let service = if is_ping(index.into()) { Service::Ping } else { Service::Tcp };
        let host = address(index * APART as u32).to_string();
        let mut target = Target::new(&host, 3389, service);
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
fn upper_bound(alarms: usize, months: f64) -> f64 {
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

fn wanted(name: &str, otherwise: u32) -> u32 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn what_is_no_failure_raises_no_alarm() {
    let (count, days) = (wanted("REACHD_ALARM_TARGETS", 60), wanted("REACHD_ALARM_DAYS", 2));
    let answers = |to, at| passes(to, at) && router_is_up(to, at);
    let mut light = Light::new(7, &plan(count), Box::new(answers));
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
    let alarms: Vec<_> = light
        .told
        .iter()
        .filter_map(|(at, event)| match event {
            Event::Incident(update) if update.state == IncidentState::Firing && update.notify => {
                Some((*at, update.summary.0.clone()))
            }
            _ => None,
        })
        .collect();
    let snapshot = light.monitor.snapshot();
    let lost = |row: &ProbeRow| row.counters().sent - row.counters().received;
    let lost: u64 = snapshot.probes.iter().map(lost).sum();
    assert!(lost > u64::from(count), "the background was there: {lost}");
    let months = f64::from(count) * f64::from(days) / MONTH;
    let bound = upper_bound(alarms.len(), months);
    println!(
        "{count} targets, {days} days: {} alarms, at most {bound:.4} per target and month (95 %), \
         verdicts {:?}",
        alarms.len(),
        light.judged
    );
    assert!(alarms.is_empty(), "{alarms:#?}");
    assert!(snapshot.bugs.is_empty(), "{:?}", snapshot.bugs);
}

#[test]
fn the_bound_is_the_exact_one() {
    // Garwood's table: 2.996, 4.744 and 15.705 for none, one and nine events.
    for (alarms, bound) in [(0, 2.996), (1, 4.744), (9, 15.705)] {
        assert!((upper_bound(alarms, 1.0) - bound).abs() < 0.001, "{alarms}");
    }
}
