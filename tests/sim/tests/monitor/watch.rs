//! The standing watch: three vantages over twenty targets, faults that come and go.

use std::time::Duration;

use reachd_core::evidence::LocalError;
use reachd_core::incident::{
    AlertKind, IncidentState, IncidentUpdate, Moment, Opening, Resolution, Subject,
};
use reachd_core::judge::Class;
use reachd_core::monitor::{Event, Input, Purpose};
use reachd_core::plan::Plan;
use reachd_core::target::{Expect, Service, Severity, Target, TargetName};
use reachd_core::time::Instant;
use reachd_sim::{
    Absent, Action, Cloud, Link, LocalFault, Loss, Match, Name, Port, Run, Speaks, Transport,
    World, address,
};

use crate::scene::{canary, plan, rdp, s};

pub(crate) const HOST: &str = "10.0.1.11";
/// Worlds per scenario: enough for phases to differ, few enough for every build.
const SEEDS: u64 = 3;

/// Three vantages, twenty targets in four subnets, two canaries; watched for two healthy minutes.
fn watched(seed: u64) -> (Run, Plan) {
    watched_with(seed, 2, 443)
}

fn watched_with(seed: u64, canaries: u8, port: u16) -> (Run, Plan) {
    let world = Cloud { vantages: 3, subnets: 4, hosts: 5, canaries }.build(seed);
    let targets = (0..4).flat_map(|net| (10..15).map(move |host| rdp(address(net, host))));
    let mut plan = plan(&world, targets.collect());
    plan.canaries = (0..canaries).map(|n| canary(reachd_sim::canary(n), port)).collect();
    let mut run = Run::new(Purpose::Watch, seed, world);
    run.plan(&plan);
    run.pass(s(120));
    let snapshot = run.monitor.snapshot();
    for row in &snapshot.targets {
        assert_eq!(row.class, Class::Reachable, "{}", row.target.name);
    }
    assert!(run.incidents(Instant::ZERO).is_empty(), "incidents of a healthy world");
    (run, plan)
}

fn name() -> TargetName {
    TargetName::new(&format!("{HOST}:3389"))
}

pub(crate) fn class_of(run: &Run) -> Class {
    let snapshot = run.monitor.snapshot();
    snapshot
        .targets
        .iter()
        .find(|row| row.target.name == name())
        .map_or(Class::Unknown, |row| row.class)
}

pub(crate) fn judged(class: &str) -> impl Fn(&Event) -> bool {
    let class = class.to_owned();
    move |event| {
        matches!(event, Event::Judged { target, report, .. }
            if *target == name() && report.verdict.class == class)
    }
}

fn incident(state: IncidentState) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::Incident(update) if update.state == state && update.notify)
}

/// Lets a fault come and go, and checks the four promised times and that nothing else is told.
fn outage(class: &str, strike: impl Fn(&mut World), heal: impl Fn(&mut World)) {
    for seed in 1..=SEEDS {
        let (mut run, _) = watched(seed);
        let began = run.now;
        strike(&mut run.world);
        let seen = run.wait(s(30), judged(class));
        assert!(seen.is_some(), "seed {seed}: no {class} within 30 s, but {:?}", class_of(&run));
        run.until(began + s(60));
        let firing = run.steps(began, IncidentState::Firing);
        assert_eq!(firing.len(), 1, "seed {seed}: {class} fires within 60 s: {firing:#?}");
        assert!(matches!(&firing[0].subject, Subject::Target(at) if at.name == name()));
        let fingerprint = firing[0].fingerprint.clone();
        run.until(began + s(200));
        assert_eq!(class_of(&run).as_str(), class, "seed {seed}: it stays");
        let healed = run.now;
        heal(&mut run.world);
        let seen = run.wait(s(20), judged("reachable"));
        assert!(
            seen.is_some(),
            "seed {seed}: {class} heals within 20 s, still {:?}",
            class_of(&run)
        );
        run.until(healed + s(60));
        let resolved = run.steps(healed, IncidentState::Resolved);
        assert_eq!(resolved.len(), 1, "seed {seed}: {class} resolves within 60 s");
        assert_eq!(resolved[0].fingerprint, fingerprint);
        run.pass(s(120));
        let told: Vec<_> = run.steps(began, IncidentState::Firing);
        assert_eq!(told.len(), 1, "seed {seed}: {told:#?}");
        assert_eq!(class_of(&run), Class::Reachable, "seed {seed}");
        run.checker.check_books(run.now, &run.monitor.snapshot());
    }
}

fn set_port(world: &mut World, port: Port) {
    world.host(HOST).ports.insert(3389, port);
}

fn open(world: &mut World) {
    set_port(world, Port::Open(Speaks::Expected));
}

#[test]
fn a_blackhole_comes_and_goes() {
    let strike = |world: &mut World| world.router("e1").rule(Match::dest(HOST), Action::Drop);
    outage("blackhole", strike, |world| world.router("e1").rules.clear());
}

#[test]
fn a_filtered_port_comes_and_goes() {
    outage("security_group", |world| set_port(world, Port::Stealth), open);
}

#[test]
fn a_closed_port_comes_and_goes() {
    outage("port_closed", |world| set_port(world, Port::Closed), open);
}

#[test]
fn a_dead_host_comes_and_goes() {
    outage(
        "host_silent",
        |world| world.host(HOST).alive = false,
        |world| {
            world.host(HOST).alive = true;
        },
    );
}

#[test]
fn a_dead_host_with_a_talking_gateway_comes_and_goes() {
    let strike = |world: &mut World| {
        let absent = Absent::Unreachable(Duration::from_millis(3_060));
        world.subnets.values_mut().for_each(|subnet| subnet.absent = absent);
        world.host(HOST).alive = false;
    };
    outage("host_silent", strike, |world| world.host(HOST).alive = true);
}

#[test]
fn loss_comes_and_goes() {
    for seed in 1..=SEEDS {
        let world = Cloud { vantages: 3, subnets: 2, hosts: 5, canaries: 2 }.build(seed);
        let others = (10..15).map(|host| rdp(address(0, host)));
        let mut plan = plan(&world, others.chain([rdp(address(1, 11))]).collect());
        plan.canaries = (0..2).map(|n| canary(reachd_sim::canary(n), 443)).collect();
        let mut run = Run::new(Purpose::Watch, seed, world);
        run.plan(&plan);
        run.pass(s(120));
        let began = run.now;
        run.world.router("g1").forth = Link::new(Loss::Independent(0.4));
        assert!(run.wait(s(30), judged("packet_loss")).is_some(), "seed {seed}");
        run.until(began + s(60));
        let firing = run.steps(began, IncidentState::Firing);
        assert_eq!(firing.len(), 1, "seed {seed}: {firing:#?}");
        assert_eq!(firing[0].kind, AlertKind::Degraded, "seed {seed}");
        run.until(began + s(300));
        let healed = run.now;
        run.world.router("g1").forth = Link::new(Loss::None);
        assert!(run.wait(s(20), judged("reachable")).is_some(), "seed {seed}");
        run.until(healed + s(60));
        assert_eq!(run.steps(healed, IncidentState::Resolved).len(), 1, "seed {seed}");
        run.pass(s(120));
        assert_eq!(run.steps(began, IncidentState::Firing).len(), 1, "seed {seed}");
    }
}

#[test]
fn another_class_is_the_same_incident() {
    let (mut run, _) = watched(3);
    let began = run.now;
    run.world.router("e1").rule(Match::dest(HOST), Action::Drop);
    run.pass(s(60));
    run.world.router("e1").rules.clear();
    set_port(&mut run.world, Port::Closed);
    assert!(run.wait(s(30), judged("port_closed")).is_some());
    run.pass(s(60));
    let told = run.incidents(began);
    assert!(told.iter().all(|update| update.fingerprint == told[0].fingerprint));
    assert_eq!(run.steps(began, IncidentState::Firing).len(), 1, "one message to people");
    assert_eq!(told.last().unwrap().class, Class::Blackhole, "the label is frozen");
    assert_eq!(told.last().unwrap().class_now, Class::PortClosed);
    assert!(run.steps(began, IncidentState::Resolved).is_empty());
}

/// A fault of vantage `a` alone: one incident of its own, none of a target, and a recovery.
fn vantage_outage(
    (seed, canaries, port): (u64, u8, u16),
    strike: impl Fn(&mut World),
    heal: impl Fn(&mut World),
) {
    let (mut run, _) = watched_with(seed, canaries, port);
    let began = run.now;
    strike(&mut run.world);
    run.pass(s(180));
    let firing = run.steps(began, IncidentState::Firing);
    assert_eq!(firing.len(), 1, "seed {seed}, {canaries} canaries: {firing:#?}");
    assert_eq!(firing[0].subject, Subject::Vantage("a".to_owned()), "seed {seed}");
    let snapshot = run.monitor.snapshot();
    assert!(snapshot.targets.iter().all(|row| row.class == Class::Reachable), "seed {seed}");
    assert_eq!(snapshot.unwatched, 0);
    let healed = run.now;
    heal(&mut run.world);
    run.pass(s(60));
    assert_eq!(
        run.steps(healed, IncidentState::Resolved).len(),
        1,
        "seed {seed}, {canaries} canaries"
    );
    run.pass(s(60));
    assert_eq!(run.steps(began, IncidentState::Firing).len(), 1, "seed {seed}");
    assert!(run.monitor.snapshot().vantages.iter().all(|row| row.healthy), "seed {seed}");
    run.checker.check_books(run.now, &run.monitor.snapshot());
}

#[test]
fn a_cut_uplink_is_the_vantages_own_incident() {
    for seed in 1..=2 {
        for canaries in [0, 2] {
            for action in [Action::DropBeforeTtl, Action::Drop] {
                vantage_outage(
                    (seed, canaries, 443),
                    |world| world.router("a1").rule(Match::default(), action),
                    |world| world.router("a1").rules.clear(),
                );
            }
        }
    }
}

#[test]
fn a_port_dropped_at_the_vantage_is_its_own_incident() {
    for seed in 1..=2 {
        for (canaries, port) in [(0, 0), (2, 443), (2, 3389)] {
            let rule = Match::default().of(Transport::Port(3389));
            vantage_outage(
                (seed, canaries, port),
                |world| world.router("a1").rule(rule.clone(), Action::Drop),
                |world| world.router("a1").rules.clear(),
            );
        }
    }
}

#[test]
fn what_the_kernel_refuses_is_the_vantages_own_incident() {
    for fault in [
        LocalFault::Refuses(LocalError::NoRoute),
        LocalFault::RefusesPort(3389, LocalError::Blocked),
        LocalFault::Swallows,
    ] {
        vantage_outage(
            (5, 2, 443),
            |world| world.place("a").fault = fault,
            |world| world.place("a").fault = LocalFault::None,
        );
    }
}

#[test]
fn a_vantage_that_goes_down_and_comes_back() {
    let (mut run, _) = watched(5);
    let began = run.now;
    run.set_vantage("a", Some(LocalError::VantageGone));
    run.pass(s(120));
    run.set_vantage("a", None);
    run.pass(s(60));
    let firing = run.steps(began, IncidentState::Firing);
    assert_eq!(firing.len(), 1, "{firing:#?}");
    assert_eq!(firing[0].subject, Subject::Vantage("a".to_owned()));
    assert_eq!(run.steps(began, IncidentState::Resolved).len(), 1);
    let sent = run.checker.packets;
    run.pass(s(60));
    // Three vantages ask twenty targets two things every ten seconds.
    assert!(run.checker.packets - sent > 600, "{} packets", run.checker.packets - sent);
}

#[test]
fn one_dead_canary_is_nobodys_incident() {
    let (mut run, _) = watched(2);
    let began = run.now;
    run.world.host("198.51.0.1").alive = false;
    run.pass(s(300));
    assert!(run.incidents(began).is_empty());
    assert!(run.monitor.snapshot().vantages.iter().all(|row| row.healthy));
}

#[test]
fn when_all_vantages_fall_silent_no_target_is_blamed() {
    for seed in 1..=3 {
        let (mut run, _) = watched(seed);
        let began = run.now;
        for vantage in ["a1", "b1", "c1"] {
            run.world.router(vantage).rule(Match::default(), Action::DropBeforeTtl);
        }
        run.pass(s(180));
        let firing = run.steps(began, IncidentState::Firing);
        let own = firing.iter().filter(|update| update.kind == AlertKind::VantageFault).count();
        assert_eq!((firing.len(), own), (3, 3), "seed {seed}");
        let snapshot = run.monitor.snapshot();
        assert_eq!(snapshot.unwatched, 20);
        assert!(snapshot.targets.iter().all(|row| row.class == Class::Unknown));
        assert!(snapshot.views.iter().all(|row| row.reachable.is_none()));
    }
}

#[test]
fn a_reload_keeps_what_did_not_change() {
    let (mut run, mut plan) = watched(4);
    run.world.host(HOST).alive = false;
    run.pass(s(90));
    let sent = |run: &Run, name: &str| -> u64 {
        let snapshot = run.monitor.snapshot();
        let rows = snapshot.probes.iter().filter(|row| row.target.as_str() == name);
        rows.map(|row| row.counters().sent).sum()
    };
    let kept = "10.0.0.10:3389";
    let before = sent(&run, kept);
    assert!(before > 0);
    let began = run.now;
    plan.targets.retain(|target| target.name != name());
    plan.targets.push(rdp(address(2, 200)));
    plan.targets[1].echo_interval = s(2);
    let faster = plan.targets[1].name.to_string();
    let slow = sent(&run, &faster);
    run.plan(&plan);
    assert_eq!(sent(&run, kept), before, "counters go on");
    let resolved = run.steps(began, IncidentState::Resolved);
    assert_eq!(resolved.len(), 1);
    assert_eq!(resolved[0].ended.map(|(_, why)| why), Some(Resolution::Removed));
    run.pass(s(100));
    assert!(sent(&run, kept) > before);
    assert!(
        sent(&run, &faster) - slow > 140,
        "a new interval holds: {}",
        sent(&run, &faster) - slow
    );
    let snapshot = run.monitor.snapshot();
    assert!(snapshot.targets.iter().all(|row| row.target.name != name()));
    assert!(snapshot.probes.iter().all(|row| row.target != name()));
}

#[test]
fn a_vantage_that_no_longer_watches_a_target_leaves_it_alone() {
    let (mut run, mut plan) = watched(4);
    plan.targets[0].vantages = vec!["b".to_owned()];
    run.plan(&plan);
    run.pass(s(60));
    let snapshot = run.monitor.snapshot();
    let from: Vec<_> = snapshot
        .views
        .iter()
        .filter(|row| row.target == plan.targets[0].name)
        .map(|row| &*row.vantage)
        .collect();
    assert_eq!(from, ["b"]);
}

fn named(seed: u64) -> (Run, Plan) {
    let mut world = Cloud { vantages: 2, subnets: 1, hosts: 8, canaries: 0 }.build(seed);
    let mut targets = Vec::new();
    for host in 10..14 {
        let name = format!("h{host}.example");
        world.names.insert(name.clone(), Name::Addresses(vec![address(0, host)]));
        targets.push(Target::new(&name, 3389, Service::Rdp));
    }
    let plan = plan(&world, targets);
    let mut run = Run::new(Purpose::Watch, seed, world);
    run.plan(&plan);
    run.pass(s(60));
    (run, plan)
}

#[test]
fn a_dead_resolver_is_the_vantages_fault() {
    let (mut run, mut plan) = named(1);
    let began = run.now;
    run.world.place("a").resolver = false;
    run.pass(s(90));
    let firing = run.steps(began, IncidentState::Firing);
    assert_eq!(firing.len(), 1, "{firing:#?}");
    assert_eq!(firing[0].subject, Subject::Vantage("a".to_owned()));
    let snapshot = run.monitor.snapshot();
    assert!(snapshot.targets.iter().all(|row| row.class == Class::Reachable));
    // A name that leaves the plan meanwhile must not keep the vantage in the wrong.
    plan.targets.pop();
    run.plan(&plan);
    run.world.place("a").resolver = true;
    run.pass(s(60));
    assert_eq!(run.steps(began, IncidentState::Resolved).len(), 1);
}

#[test]
fn an_address_change_is_followed() {
    let (mut run, _) = named(2);
    let began = run.now;
    let moved = Name::Addresses(vec![address(0, 16)]);
    run.world.names.insert("h10.example".to_owned(), moved);
    run.world.host("10.0.0.10").alive = false;
    run.pass(s(60));
    assert!(run.steps(began, IncidentState::Firing).is_empty());
    let snapshot = run.monitor.snapshot();
    let row = snapshot.targets.iter().find(|row| row.target.host == "h10.example").unwrap();
    assert_eq!(row.class, Class::Reachable);
    assert_eq!(row.report.as_ref().unwrap().addresses[0].address, "10.0.0.16");
}

#[test]
fn a_late_error_revises_the_verdict_once() {
    let (mut run, _) = watched(6);
    let absent = Absent::Unreachable(s(25));
    run.world.subnets.values_mut().for_each(|subnet| subnet.absent = absent);
    run.world.host(HOST).alive = false;
    let began = run.now;
    run.pass(s(60));
    let errors = |event: &Event| match event {
        Event::Judged { target, report, .. } if *target == name() => {
            Some(report.verdict.evidence.iter().any(|part| part.value == "host_unreachable"))
        }
        _ => None,
    };
    let told: Vec<bool> = run
        .told
        .iter()
        .filter(|(at, _)| *at > began)
        .filter_map(|(_, event)| errors(event))
        .collect();
    assert!(told.contains(&true), "the late error is heard");
    let flips = told.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(flips <= 1, "revised once: {told:?}");
    assert_eq!(run.steps(began, IncidentState::Firing).len(), 1);
}

#[test]
fn a_restart_takes_up_what_was_firing() {
    let (mut before, plan) = watched(7);
    before.world.host(HOST).alive = false;
    before.pass(s(90));
    let baselines: Vec<_> = before
        .told
        .iter()
        .filter_map(|(_, event)| match event {
            Event::Baseline { target, vantage, baseline } => {
                Some((target.clone(), vantage.clone(), *baseline))
            }
            _ => None,
        })
        .collect();
    assert!(baselines.len() >= 60, "{} baselines", baselines.len());
    let firing = before.steps(Instant::ZERO, IncidentState::Firing)[0].clone();
    let mut run = Run::new(Purpose::Watch, 8, before.world);
    run.plan(&plan);
    for (target, vantage, baseline) in baselines {
        run.input(Input::Baseline { target, vantage, baseline });
    }
    run.input(Input::Firing {
        target: name(),
        kind: firing.kind,
        class: firing.class,
        version: firing.version,
        opening: Box::new(Opening { started: Moment::Dated(5), ..Opening::default() }),
    });
    run.input(Input::Firing {
        target: TargetName::new("b"),
        kind: AlertKind::VantageFault,
        class: Class::VantageFault,
        version: 5,
        opening: Box::default(),
    });
    run.pass(s(60));
    let told = run.incidents(Instant::ZERO);
    assert!(told.iter().all(|update| update.state != IncidentState::Firing), "{told:#?}");
    let vantage = run.steps(Instant::ZERO, IncidentState::Resolved);
    assert_eq!(vantage.len(), 1);
    assert_eq!((&vantage[0].subject, vantage[0].version), (&Subject::Vantage("b".to_owned()), 6));
    run.world.host(HOST).alive = true;
    run.pass(s(80));
    let resolved = run.steps(Instant::ZERO, IncidentState::Resolved);
    assert_eq!(resolved.len(), 2);
    assert_eq!(resolved[1].fingerprint, firing.fingerprint);
    assert!(resolved[1].version > firing.version);
    assert_eq!(resolved[1].started, Moment::Dated(5), "it began when it began");
}

#[test]
fn a_changed_plan_leaves_an_open_incident_its_identity() {
    let (mut run, mut plan) = watched(9);
    let began = run.now;
    run.world.host(HOST).alive = false;
    run.pass(s(60));
    let identity = |update: &IncidentUpdate| match &update.subject {
        Subject::Target(target) => (target.labels.clone(), update.severity),
        Subject::Vantage(_) | Subject::Group(_) => panic!("{update:#?}"),
    };
    let opened = identity(run.steps(began, IncidentState::Firing)[0]);
    let target = plan.targets.iter_mut().find(|target| target.name == name()).unwrap();
    target.labels.insert("team".to_owned(), "new".to_owned());
    target.severity = Severity::Info;
    run.plan(&plan);
    run.pass(s(30));
    run.world.host(HOST).alive = true;
    run.pass(s(80));
    assert_eq!(identity(run.steps(began, IncidentState::Resolved)[0]), opened);
    // The next one is as the plan has it.
    let began = run.now;
    run.world.host(HOST).alive = false;
    run.pass(s(60));
    let (labels, severity) = identity(run.steps(began, IncidentState::Firing)[0]);
    assert_eq!((labels["team"].as_str(), severity), ("new", Severity::Info));
}

#[test]
fn an_open_port_that_should_be_filtered_is_told() {
    let world = Cloud { vantages: 2, ..Cloud::default() }.build(1);
    let mut plan = plan(&world, vec![rdp(address(0, 10))]);
    plan.targets[0].expect.insert("outside".to_owned(), Expect::Filtered);
    let mut run = Run::new(Purpose::Watch, 1, world);
    run.plan(&plan);
    run.pass(s(60));
    let firing = run.steps(Instant::ZERO, IncidentState::Firing);
    assert_eq!(firing.len(), 1, "{firing:#?}");
    assert_eq!(firing[0].kind, AlertKind::Exposed);
    run.world.host("10.0.0.10").ports.insert(3389, Port::Stealth);
    run.pass(s(120));
    assert_eq!(run.steps(Instant::ZERO, IncidentState::Resolved).len(), 1);
    assert_eq!(run.steps(Instant::ZERO, IncidentState::Firing).len(), 1);
}

#[test]
fn an_incident_told_within_its_ten_minutes_is_the_same_one() {
    let (mut run, _) = watched(9);
    let began = run.now;
    for _ in 0..2 {
        run.world.host(HOST).alive = false;
        assert!(run.wait(s(60), incident(IncidentState::Firing)).is_some());
        run.world.host(HOST).alive = true;
        assert!(run.wait(s(80), incident(IncidentState::Resolved)).is_some());
    }
    let steps = run.incidents(began);
    assert_eq!(steps.last().unwrap().flaps, 1);
    assert!(steps.windows(2).all(|pair| pair[0].version < pair[1].version));
}
