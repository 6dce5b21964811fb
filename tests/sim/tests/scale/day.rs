//! A day of many targets with bursty background loss: no false outage.

use std::time::Duration;

use reachd_core::incident::{AlertKind, IncidentState};
use reachd_core::monitor::Event;
use reachd_core::target::Service;
use reachd_sim::Light;
use reachd_sim::healthy::{HOUR, address, passes, plan};

fn a_day_of(count: u32) {
    let mut light =
        Light::new(1, &plan(count, |index| (address(index), Service::Ping)), Box::new(passes));
    light.pass(Duration::from_secs(24 * HOUR));
    let outages: Vec<_> = light
        .told
        .iter()
        .filter_map(|(at, event)| match event {
            Event::Incident(update)
                if update.state == IncidentState::Firing
                    && update.kind == AlertKind::Unreachable =>
            {
                Some((*at, update.summary.0.clone()))
            }
            _ => None,
        })
        .collect();
    assert!(outages.is_empty(), "{} false outages: {:?}", outages.len(), outages.first());
    let snapshot = light.monitor.snapshot();
    assert!(snapshot.bugs.is_empty(), "{:?}", snapshot.bugs);
    let (mut sent, mut received) = (0, 0);
    for row in snapshot.probes.iter() {
        let counters = row.counters();
        assert!(counters.adds_up());
        (sent, received) = (sent + counters.sent, received + counters.received);
    }
    let lost = sent - received;
    // The background was really there, and was counted.
    assert!(lost * 10_000 > sent * 5, "{lost} of {sent} lost");
    // Not even for the seconds of a burst is anything else named, damped or not.
    let named: Vec<_> = light.judged.keys().map(String::as_str).collect();
    let honest = |class: &&str| ["reachable", "packet_loss", "unknown"].contains(class);
    assert!(named.iter().all(honest), "{:?}", light.judged);
    println!("{count} targets: {sent} probes, {lost} lost, verdicts {:?}", light.judged);
}

#[test]
fn a_day_of_background_loss_raises_no_outage() {
    let count = std::env::var("REACHD_DAY_TARGETS").ok().and_then(|count| count.parse().ok());
    a_day_of(count.unwrap_or(300));
}
