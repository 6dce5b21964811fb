//! An uplink that falls silent and comes back at any moment: what was asked through it blames
//! nobody, also where half of a look was before the heal and half after it.

use std::time::Duration;

use reachd_core::evidence::LocalError;
use reachd_core::incident::{IncidentState, IncidentUpdate, Subject};
use reachd_core::judge::Class;
use reachd_core::monitor::{Event, Purpose};
use reachd_sim::{Action, Cloud, IcmpLimit, LocalFault, Match, Run, address, address6};

use crate::scene::{canary, plan, rdp, s};

/// Three hosts and so many vantages and canaries, watched while all is well.
fn watched(seed: u64, vantages: u8, canaries: u8) -> Run {
    let world = Cloud { vantages, subnets: 1, hosts: 3, canaries }.build(seed);
    let targets = (10..13).map(|host| rdp(address(0, host)));
    let mut plan = plan(&world, targets.collect());
    plan.canaries = (0..canaries).map(|n| canary(reachd_sim::canary(n), 443)).collect();
    let mut run = Run::new(Purpose::Watch, seed, world);
    run.plan(&plan);
    run.pass(s(40));
    run
}

/// The way out of the first of two vantages is cut for this long.
fn outage(seed: u64, cut: Duration) {
    let mut run = watched(seed, 2, 4);
    let began = run.now;
    run.world.router("a1").rule(Match::default(), Action::Drop);
    run.pass(cut);
    run.world.router("a1").rules.clear();
    run.pass(s(60));
    for (at, event) in run.told.iter().filter(|(at, _)| *at > began) {
        if let Event::Judged { target, report, .. } = event {
            let verdict = &report.verdict;
            assert_eq!(
                verdict.class,
                Class::Reachable.as_str(),
                "seed {seed}, {target} {:?} after a cut of {cut:?}: {verdict:#?}",
                at.since(began),
            );
        }
    }
}

#[test]
fn a_look_across_the_heal_blames_nobody() {
    for seed in 1..=40 {
        outage(seed, Duration::from_millis(12_000 + seed * 450));
    }
}

/// Only `a` sees the host fail. Then `a` itself falls silent: `b`, which always reached the host,
/// must not end the incident.
#[test]
fn a_failure_is_not_over_because_its_only_witness_is_gone() {
    for seed in 1..=4 {
        let mut run = watched(seed, 2, 4);
        let began = run.now;
        let blocked = Match::dest("10.0.0.10");
        run.world.router("a2").rule(blocked, Action::Drop);
        run.pass(s(60));
        let firing = run.steps(began, IncidentState::Firing);
        assert_eq!(firing.len(), 1, "seed {seed}: {firing:#?}");
        run.world.router("a1").rule(Match::default(), Action::Drop);
        run.pass(s(120));
        run.world.router("a1").rules.clear();
        run.pass(s(90));
        let of_target = |update: &&&IncidentUpdate| matches!(update.subject, Subject::Target(_));
        let resolved = run.steps(began, IncidentState::Resolved);
        assert_eq!(resolved.iter().filter(of_target).count(), 0, "seed {seed}: {resolved:#?}");
        let healed = run.now;
        run.world.router("a2").rules.clear();
        run.pass(s(90));
        let resolved = run.steps(healed, IncidentState::Resolved);
        assert_eq!(resolved.iter().filter(of_target).count(), 1, "seed {seed}");
    }
}

/// A canary that is dead as well is one sign more, not one too few.
#[test]
fn one_canary_doubts_no_less_than_none() {
    let cases = (1..=3).flat_map(|seed| [0, 1].map(|canaries| (seed, canaries)));
    for (seed, canaries) in cases {
        for action in [Action::DropBeforeTtl, Action::Drop, Action::Refuse(3, 0)] {
            let mut run = watched(seed, 1, canaries);
            let began = run.now;
            run.world.router("a1").rule(Match::default(), action);
            run.pass(s(120));
            let firing = run.steps(began, IncidentState::Firing);
            let subjects: Vec<_> = firing.iter().map(|update| &update.subject).collect();
            let vantage = Subject::Vantage("a".to_owned());
            assert_eq!(subjects, [&vantage], "seed {seed}, {canaries} canaries, {action:?}");
        }
    }
}

#[test]
fn a_vantage_without_ipv6_still_tells_of_ipv4() {
    let world = Cloud { vantages: 1, subnets: 1, hosts: 3, canaries: 0 }.build(4);
    let targets = [address(0, 10), address(0, 11), address6(0, 10), address6(0, 11)];
    let plan = plan(&world, targets.into_iter().map(rdp).collect());
    let mut run = Run::new(Purpose::Watch, 4, world);
    run.world.place("a").fault = LocalFault::RefusesV6(LocalError::NoRoute);
    run.plan(&plan);
    run.pass(s(120));
    let snapshot = run.monitor.snapshot();
    assert!(snapshot.vantages.iter().all(|row| row.healthy), "IPv4 works");
    for row in &snapshot.targets {
        let v4 = !row.target.host.contains(':');
        let right = if v4 { Class::Reachable } else { Class::VantageFault };
        assert_eq!(row.class, right, "{}", row.target.name);
    }
    let began = run.now;
    run.world.host("10.0.0.11").alive = false;
    run.pass(s(60));
    assert_eq!(run.steps(began, IncidentState::Firing).len(), 1, "a dead host is told");
}

/// The router behind our own door knows no way any more, and may say so to hardly anybody: most
/// looks hear nothing from behind the first router, and the way there is well all the same.
#[test]
fn whoever_refuses_behind_our_door_speaks_for_our_side() {
    for seed in 1..=20 {
        let mut run = watched(seed, 1, 0);
        let began = run.now;
        let router = run.world.router("a2");
        router.rule(Match::default(), Action::Refuse(3, 0));
        router.limit = Some(IcmpLimit::new(0.2, 1.0));
        run.pass(s(120));
        let firing = run.steps(began, IncidentState::Firing);
        let blamed = firing.iter().any(|update| matches!(update.subject, Subject::Vantage(_)));
        assert!(!blamed, "seed {seed}: our side");
        assert!(firing.iter().all(|update| update.class == Class::NoRoute), "seed {seed}");
    }
}
