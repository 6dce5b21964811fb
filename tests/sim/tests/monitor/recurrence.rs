//! Failures that come back by the clock: blackholes that a timer lifts, links that are full at the
//! same hours of each day.

use std::time::Duration;

use reachd_core::incident::IncidentState;
use reachd_core::monitor::{Event, Purpose};
use reachd_core::report::TargetReport;
use reachd_core::target::Target;
use reachd_sim::{Action, Cloud, Link, Loss, Match, Run, address};

use crate::scene::{plan, rdp, s};
use crate::watch::{HOST, judged};

const HOUR: Duration = Duration::from_secs(3_600);

fn watched(seed: u64) -> Run {
    let world = Cloud { vantages: 1, subnets: 2, hosts: 3, canaries: 0 }.build(seed);
    let calm = Target { echo_interval: s(60), syn_interval: s(60), ..rdp(address(1, 11)) };
    let plan = plan(&world, vec![calm]);
    let mut run = Run::new(Purpose::Watch, seed, world);
    run.plan(&plan);
    run.pass(s(300));
    run
}

fn last(run: &Run) -> &TargetReport {
    let mut events = run.told.iter().rev();
    let report = events.find_map(|(_, event)| match event {
        Event::Judged { report, .. } => Some(report),
        _ => None,
    });
    report.expect("a verdict")
}

fn shown(report: &TargetReport, signal: &str) -> Option<String> {
    let mut parts = report.verdict.evidence.iter();
    parts.find(|part| part.signal == signal).map(|part| part.value.clone())
}

fn probability(report: &TargetReport, cause: &str) -> f64 {
    let part = report.verdict.causes.iter().find(|part| part.cause == cause);
    part.map_or(0.0, |part| part.probability)
}

/// A silence of this length, its end, and the next one; gives what is said of the last.
fn twice_silent(length: Duration) -> (Run, TargetReport) {
    let mut run = watched(3);
    let drop = |run: &mut Run| run.world.router("e1").rule(Match::dest(HOST), Action::Drop);
    drop(&mut run);
    run.pass(length);
    run.world.router("e1").rules.clear();
    run.pass(s(1_200));
    drop(&mut run);
    assert!(run.wait(s(240), judged("blackhole")).is_some());
    run.pass(s(60));
    let report = last(&run).clone();
    (run, report)
}

#[test]
fn a_silence_of_a_providers_timer_is_told_at_its_end_and_explains_the_next() {
    let (run, by_timer) = twice_silent(HOUR * 5 / 2);
    assert_eq!(shown(&by_timer, "blackhole_timer").as_deref(), Some("ran_out"));
    let resolved = run.steps(run.told[0].0, IncidentState::Resolved);
    assert_eq!(resolved.len(), 1);
    let (en, zh) = &resolved[0].summary;
    assert!(en.contains("silent for 2 h 29 min") && en.contains("DDoS blackhole"), "{en}");
    assert!(zh.contains("2 小时 29 分钟") && zh.contains("黑洞"), "{zh}");
    let (run, otherwise) = twice_silent(HOUR * 4);
    assert_eq!(shown(&otherwise, "blackhole_timer").as_deref(), Some("ended_otherwise"));
    let resolved = run.steps(run.told[0].0, IncidentState::Resolved);
    assert!(!resolved[0].summary.0.contains("DDoS"), "{}", resolved[0].summary.0);
    // From one vantage nobody knows whether it holds everywhere.
    let [with, without] = [&by_timer, &otherwise].map(|report| {
        probability(report, "ddos_blackhole") + probability(report, "partial_blackhole")
    });
    assert!(with > without + 0.03 && with > 0.85, "{with} after a timer, {without} without");
}

#[test]
fn a_loss_at_the_same_hours_of_each_day_is_congestion() {
    let mut run = watched(4);
    for _ in 0..4 {
        run.pass(HOUR * 23);
        run.world.router("x2").forth = Link::new(Loss::Independent(0.3));
        run.pass(HOUR);
        run.world.router("x2").forth = Link::new(Loss::None);
    }
    run.pass(HOUR * 23);
    run.world.router("x2").forth = Link::new(Loss::Independent(0.3));
    run.pass(s(1_800));
    let report = last(&run);
    assert_eq!(report.verdict.class, "packet_loss");
    assert_eq!(shown(report, "daily_loss").as_deref(), Some("same_hours"), "{:#?}", report.verdict);
}

#[test]
fn a_baseline_that_holds_is_confirmed_twice_a_day() {
    let mut run = watched(5);
    run.pass(s(3_600));
    let since = run.now;
    run.pass(HOUR * 25);
    let told = run
        .told
        .iter()
        .filter(|(at, event)| *at > since && matches!(event, Event::Baseline { .. }));
    assert_eq!(told.count(), 2, "or the store would forget what is true");
}
