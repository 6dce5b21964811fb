//! A month of healthy targets with all that is no failure: no false alarm.
//!
//! The run of `cargo test` is short; a month of 600 targets takes half an hour:
//! `REACHD_ALARM_TARGETS=600 REACHD_ALARM_DAYS=30 cargo test --release -p reachd-sim --test scale
//! alarms -- --nocapture`, or `cargo run --release -p reachd-sim -- report --healthy 600x30`.

use reachd_sim::healthy::{upper_bound, watch};

fn wanted(name: &str, otherwise: u32) -> u32 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn what_is_no_failure_raises_no_alarm() {
    let (count, days) = (wanted("REACHD_ALARM_TARGETS", 60), wanted("REACHD_ALARM_DAYS", 2));
    let watched = watch(count, days);
    let (alarms, bound) = (&watched.alarms, watched.bound());
    println!(
        "{count} targets, {days} days: {} alarms, at most {bound:.4} per target and month (95 %), \
         verdicts {:?}",
        alarms.len(),
        watched.judged
    );
    assert!(watched.lost > u64::from(count), "the background was there: {}", watched.lost);
    // Of a long run the bound is what counts: one in six hundred months would be no disaster.
    let is_long = count * days >= 60 * 30;
    assert!(if is_long { bound <= 0.05 } else { alarms.is_empty() }, "{alarms:#?}");
    assert!(watched.snapshot.bugs.is_empty(), "{:?}", watched.snapshot.bugs);
}

#[test]
fn the_bound_is_the_exact_one() {
    // Garwood's table: 2.996, 4.744 and 15.705 for none, one and nine events.
    for (alarms, bound) in [(0, 2.996), (1, 4.744), (9, 15.705)] {
        assert!((upper_bound(alarms, 1.0) - bound).abs() < 0.001, "{alarms}");
    }
}
