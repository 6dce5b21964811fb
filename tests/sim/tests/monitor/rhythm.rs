//! Failures that come and go: judged by what they are, alerted once, and over when they are.

use reachd_core::incident::IncidentState;
use reachd_core::judge::Class;
use reachd_core::monitor::{Event, Purpose};
use reachd_core::report::TargetReport;
use reachd_sim::{Cloud, Port, Run, Speaks, address};

use crate::scene::{plan, rdp, s};

fn watched(seed: u64) -> Run {
    let world = Cloud { canaries: 0, ..Cloud::default() }.build(seed);
    let plan = plan(&world, vec![rdp(address(0, 10))]);
    let mut run = Run::new(Purpose::Watch, seed, world);
    run.plan(&plan);
    run.pass(s(120));
    assert_eq!(class_of(&run), Class::Reachable);
    run
}

fn class_of(run: &Run) -> Class {
    run.monitor.snapshot().targets.first().map_or(Class::Unknown, |row| row.class)
}

fn set(run: &mut Run, port: Port) {
    let host = run.world.hosts.get_mut(&address(0, 10)).expect("the host");
    host.ports.insert(3389, port);
}

/// The port is silent for some seconds, and open for some.
fn waves(run: &mut Run, count: u32, (silent, open): (u64, u64)) {
    for _ in 0..count {
        set(run, Port::Stealth);
        run.pass(s(silent));
        set(run, Port::Open(Speaks::Expected));
        run.pass(s(open));
    }
}

fn alerts(run: &Run) -> (usize, usize) {
    let of = |state: IncidentState| {
        let told = run.told.iter().filter(|(_, event)| {
            matches!(event, Event::Incident(update) if update.state == state && update.notify)
        });
        told.count()
    };
    (of(IncidentState::Firing), of(IncidentState::Resolved))
}

fn last(run: &Run) -> &TargetReport {
    let report = run.told.iter().rev().find_map(|(_, event)| match event {
        Event::Judged { report, .. } => Some(&**report),
        _ => None,
    });
    report.expect("a report")
}

#[test]
fn a_queue_that_overflows_in_waves_does_not_stay_reachable() {
    for seed in 1..=6 {
        let mut run = watched(seed);
        waves(&mut run, 6, (10, 10));
        assert_eq!(class_of(&run), Class::SecurityGroup, "seed {seed}");
        let verdict = &last(&run).verdict;
        let onset = verdict.evidence.iter().find(|part| part.signal == "onset");
        assert_eq!(onset.map(|part| part.value.as_str()), Some("comes_and_goes"), "seed {seed}");
        assert_eq!(verdict.causes[0].cause, "accept_queue_full", "{:?}", verdict.causes);
        // It goes on, and people are told of it once.
        waves(&mut run, 12, (10, 10));
        assert_eq!(alerts(&run), (1, 0), "seed {seed}");
        assert_eq!(class_of(&run), Class::SecurityGroup, "seed {seed}");
        // It ends, and so does the alert, not before it has been well for longer than before.
        run.pass(s(360));
        assert_eq!(class_of(&run), Class::Reachable, "seed {seed}");
        assert_eq!(alerts(&run), (1, 1), "seed {seed}");
        run.checker.check_books(run.now, &run.monitor.snapshot());
    }
}

#[test]
fn two_short_outages_are_no_rhythm() {
    let mut run = watched(7);
    waves(&mut run, 2, (12, 120));
    assert_eq!((class_of(&run), alerts(&run).0), (Class::Reachable, 0));
    run.pass(s(600));
    assert_eq!(class_of(&run), Class::Reachable);
}

#[test]
fn a_service_that_crashes_again_and_again_is_not_well_in_between() {
    let mut run = watched(8);
    for _ in 0..5 {
        set(&mut run, Port::Closed);
        run.pass(s(30));
        set(&mut run, Port::Open(Speaks::Expected));
        run.pass(s(60));
    }
    assert_eq!(class_of(&run), Class::PortClosed);
    run.pass(s(420));
    assert_eq!(class_of(&run), Class::Reachable);
}
