//! Flows, sizes and rates that are treated otherwise, from a first look and on the watch.

use std::time::Duration;

use reachd_core::judge::Class;
use reachd_core::monitor::{Event, Purpose};
use reachd_core::report::TargetReport;
use reachd_core::target::Fronted;
use reachd_sim::{Action, Cloud, Link, Loss, Match, Run, World, address, address6};

use crate::scene::{look, plan, rdp, s};

const AT_LEISURE: Duration = Duration::from_millis(12_500);

/// One of so many paths through `x2` is dead for TCP.
fn dead_path(world: &mut World, paths: u64) {
    let when = Match::default().of_flows(1, paths);
    world.router("x2").rule(when, Action::Drop);
}

fn shows(report: &TargetReport, signal: &str, value: &str) -> bool {
    report.verdict.evidence.iter().any(|part| part.signal == signal && part.value == value)
}

#[test]
fn a_first_look_names_a_dead_path_where_it_meets_one() {
    let mut met = 0;
    for seed in 0..20 {
        for at in [address(0, 10), address6(0, 10)] {
            let mut world = Cloud::default().build(seed);
            dead_path(&mut world, 4);
            let plan = plan(&world, vec![rdp(at)]);
            let look = look(world, &plan, seed);
            let lost = look.report.vantages[0].connect.as_ref().map_or(0, |syn| syn.lost.len());
            if lost > 0 {
                met += 1;
                look.expect("partial_path", AT_LEISURE);
                assert!(shows(&look.report, "flow_split", "split"));
            } else {
                look.expect("reachable", AT_LEISURE);
            }
        }
    }
    assert!(met >= 30, "met by {met} of 40");
}

#[test]
fn a_first_look_names_large_packets_that_vanish() {
    let mut world = Cloud::default().build(1);
    world.router("x2").rule(Match::default().longer_than(1_400), Action::Drop);
    let plan = plan(&world, vec![rdp(address(0, 10))]);
    let look = look(world, &plan, 7);
    look.expect("mtu_blackhole", AT_LEISURE);
    // Small segments are reset and large ones are not: it is the way there.
    assert!(shows(&look.report, "large_packet", "lost_forward"));
    assert_eq!(look.report.verdict.causes[0].cause, "pmtu_blackhole_forward");
}

/// One vantage over one target, healthy for two minutes.
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

fn judged(class: &'static str) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::Judged { report, .. } if report.verdict.class == class)
}

/// Classes told since a moment, by how often.
fn told(run: &Run, since: reachd_core::time::Instant) -> Vec<(String, usize)> {
    let mut classes: Vec<(String, usize)> = Vec::new();
    for (at, event) in &run.told {
        let Event::Judged { report, .. } = event else { continue };
        if *at < since {
            continue;
        }
        let class = report.verdict.class.clone();
        match classes.iter_mut().find(|(known, _)| *known == class) {
            Some((_, count)) => *count += 1,
            None => classes.push((class, 1)),
        }
    }
    classes
}

#[test]
fn a_dead_path_stays_one_until_it_heals() {
    for seed in 1..=4 {
        let mut run = watched(seed);
        dead_path(&mut run.world, 4);
        let seen = run.wait(s(120), judged("partial_path"));
        assert!(seen.is_some(), "seed {seed}: still {:?}", class_of(&run));
        let since = run.now;
        run.pass(s(180));
        let classes = told(&run, since);
        assert!(classes.iter().all(|(class, _)| class == "partial_path"), "{seed}: {classes:?}");
        run.world.router("x2").rules.clear();
        let healed = run.wait(s(20), judged("reachable"));
        assert!(healed.is_some(), "seed {seed}: still {:?}", class_of(&run));
        run.pass(s(120));
        assert_eq!(class_of(&run), Class::Reachable);
        assert!(run.checker.packets < 2_000, "{} packets", run.checker.packets);
        run.checker.check_books(run.now, &run.monitor.snapshot());
    }
}

#[test]
fn what_swallows_large_packets_is_seen_at_the_next_connection() {
    let mut run = watched(5);
    run.world.router("x2").rule(Match::default().longer_than(1_400), Action::Drop);
    assert!(run.wait(s(330), judged("mtu_blackhole")).is_some(), "{:?}", class_of(&run));
    let since = run.now;
    run.pass(s(120));
    let classes = told(&run, since);
    assert!(classes.iter().all(|(class, _)| class == "mtu_blackhole"), "{classes:?}");
    run.world.router("x2").rules.clear();
    assert!(run.wait(s(20), judged("reachable")).is_some(), "{:?}", class_of(&run));
}

#[test]
fn a_loss_that_lasts_is_asked_at_two_rates() {
    let mut alike = 0;
    for seed in 1..=8 {
        let mut run = watched(seed);
        run.world.router("x2").forth = Link::new(Loss::Independent(0.4));
        assert!(run.wait(s(60), judged("packet_loss")).is_some(), "seed {seed}");
        let since = run.now;
        run.pass(s(300));
        let shown = |value: &str| {
            run.told.iter().any(|(at, event)| {
                matches!(event, Event::Judged { report, .. }
                    if *at >= since && shows(report, "rate_split", value))
            })
        };
        assert!(!shown("quick_loses"), "seed {seed}: no limit is there");
        alike += usize::from(shown("alike"));
        assert_eq!(class_of(&run), Class::PacketLoss, "seed {seed}");
    }
    // Twenty of each leave some undecided.
    assert!(alike >= 4, "alike in {alike} of 8");
}

#[test]
fn a_healthy_target_is_sent_what_the_documents_say() {
    let mut run = watched(9);
    let before = run.checker.packets;
    run.pass(s(3_600));
    // An echo and a SYN every 10 s; and every 5 min, beside the full connection, ten echoes, three
    // SYNs and three large echoes.
    let told = 2 * 360 + 12 * 16;
    let sent = run.checker.packets - before;
    assert!(sent.abs_diff(told) <= told / 50, "{sent} packets in an hour, not {told}");
}

/// One of two hosts behind a balancer is dead: half of the flows fail, whenever somebody looks.
#[test]
fn half_of_the_flows_are_a_path_and_no_loss() {
    for seed in 0..24 {
        let world = Cloud { vantages: 1, subnets: 2, hosts: 3, canaries: 1 }.build(seed);
        let mut target = rdp(address(0, 10));
        target.fronted = Fronted::Balancer;
        let plan = plan(&world, vec![target]);
        let mut run = Run::new(Purpose::Watch, seed, world);
        run.plan(&plan);
        run.pass(s(60) + Duration::from_millis(400) * u32::try_from(seed).unwrap());
        let began = run.now;
        dead_path(&mut run.world, 2);
        run.pass(s(90));
        let said: Vec<_> = told(&run, began).into_iter().map(|(class, _)| class).collect();
        assert_eq!(class_of(&run), Class::PartialPath, "seed {seed}: {said:?}");
        assert!(!said.iter().any(|class| class == "packet_loss"), "seed {seed}: {said:?}");
    }
}
