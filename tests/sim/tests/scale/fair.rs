//! Targets of one prefix that ask for more than its budget: all wait equally long, first looks
//! included, and a stall does not leave them in step.

use std::net::IpAddr;
use std::time::Duration;

use reachd_core::judge::Class;
use reachd_core::plan::{Budget, Plan};
use reachd_core::target::{Service, Target};
use reachd_core::vantage::Vantage;
use reachd_sim::Light;

fn plan(targets: u16, interval: Duration, per_prefix: f64) -> Plan {
    let target = |host: u16| {
        let address = IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, host]);
        let mut target = Target::new(&address.to_string(), 443, Service::Ping);
        target.echo_interval = interval;
        target
    };
    Plan {
        targets: (1..=targets).map(target).collect(),
        vantages: vec![Vantage::unbound("a")],
        budget: Budget { per_prefix, packets_per_second: 20_000.0, ..Budget::default() },
        ..Plan::default()
    }
}

/// Probes of each target's row in this time, sorted.
fn shares(light: &mut Light, time: Duration) -> Vec<u64> {
    let sent = |light: &Light| -> Vec<u64> {
        light.monitor.snapshot().probes.iter().map(|row| row.counters().sent).collect()
    };
    let before = sent(light);
    light.pass(time);
    let after = sent(light);
    let mut shares: Vec<_> =
        after.iter().zip(before).map(|(after, before)| after - before).collect();
    shares.sort_unstable();
    shares
}

#[test]
fn a_saturated_prefix_serves_its_targets_alike_from_the_first_look_on() {
    // A fifth more than there is.
    let mut light =
        Light::new(5, &plan(1_500, Duration::from_secs(10), 125.0), Box::new(|_, _| true));
    light.pass(Duration::from_secs(30));
    // First looks take half: 62.5 a second for 1,500 rows. They count their probes in rows as well.
    let early = shares(&mut light, Duration::from_secs(120));
    println!("early {} {} {}", early[0], early[750], early[1_499]);
    assert!(early[0] >= 4, "{early:?}");
    light.pass(Duration::from_secs(900));
    let late = shares(&mut light, Duration::from_secs(120));
    println!("late {} {} {}", late[0], late[750], late[1_499]);
    assert!(late[0] >= 9 && late[750] == 10 && late[1_499] <= 11, "{late:?}");
    let snapshot = light.monitor.snapshot();
    assert!(snapshot.targets.iter().all(|row| row.class == Class::Reachable));
    // Each is late by what is asked too much, and by no more.
    assert!(snapshot.schedule_lag < Duration::from_secs(4), "{:?}", snapshot.schedule_lag);
}

/// How many probes leave in each 10 ms of this second: the most, and in how many there are any.
fn busiest(light: &mut Light) -> (u64, usize) {
    let mut counts = Vec::new();
    for _ in 0..100 {
        let before: u64 = light.packets.values().sum();
        light.pass(Duration::from_millis(10));
        counts.push(light.packets.values().sum::<u64>() - before);
    }
    let busy = counts.iter().filter(|count| **count > 0).count();
    (counts.into_iter().max().unwrap_or(0), busy)
}

#[test]
fn after_a_stall_probes_are_spread_again() {
    let mut light = Light::new(6, &plan(3_000, Duration::from_secs(1), 1e6), Box::new(|_, _| true));
    light.pass(Duration::from_secs(60));
    let before = busiest(&mut light);
    light.now = light.now + Duration::from_secs(2);
    light.pass(Duration::from_millis(600));
    let after = busiest(&mut light);
    println!("{before:?} {after:?}");
    // Thirty are fair.
    assert!(before.0 <= 70 && after.0 <= 70, "{before:?} {after:?}");
    assert!(before.1 >= 99 && after.1 >= 99, "{before:?} {after:?}");
}
