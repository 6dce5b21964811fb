//! An uplink that falls silent and comes back at any moment: what was asked through it blames
//! nobody, also where half of a look was before the heal and half after it.

use std::time::Duration;

use reachd_core::incident::{IncidentState, IncidentUpdate, Subject};
use reachd_core::judge::Class;
use reachd_core::monitor::{Event, Purpose};
use reachd_sim::{Action, Cloud, Match, Run, address};

use crate::scene::{canary, plan, rdp, s};

/// Two vantages and three hosts; the way out of the first one is cut for this long.
fn outage(seed: u64, cut: Duration) -> Run {
    let world = Cloud { vantages: 2, subnets: 1, hosts: 3, canaries: 4 }.build(seed);
    let targets = (10..13).map(|host| rdp(address(0, host)));
    let mut plan = plan(&world, targets.collect());
    plan.canaries = (0..4).map(|n| canary(reachd_sim::canary(n), 443)).collect();
    let mut run = Run::new(Purpose::Watch, seed, world);
    run.plan(&plan);
    run.pass(s(40));
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
    run
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
        let world = Cloud { vantages: 2, subnets: 1, hosts: 3, canaries: 4 }.build(seed);
        let targets = (10..13).map(|host| rdp(address(0, host)));
        let mut plan = plan(&world, targets.collect());
        plan.canaries = (0..4).map(|n| canary(reachd_sim::canary(n), 443)).collect();
        let mut run = Run::new(Purpose::Watch, seed, world);
        run.plan(&plan);
        run.pass(s(40));
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
