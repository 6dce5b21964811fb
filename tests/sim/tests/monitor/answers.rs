//! What the target's own answers tell: from where they come, how late, and which are missing.

use std::time::Duration;

use reachd_core::judge::Class;
use reachd_core::monitor::{Event, Purpose};
use reachd_core::report::TargetReport;
use reachd_core::target::Fronted;
use reachd_core::time::Instant;
use reachd_sim::{
    Action, Cloud, Link, Loss, Match, Port, Run, Speaks, Transport, World, address, address6,
};

use crate::scene::{look, plan, rdp, s};

const HOST: &str = "10.0.0.10";
const AT_LEISURE: Duration = Duration::from_millis(12_500);

fn shows(report: &TargetReport, signal: &str, value: &str) -> bool {
    report.verdict.evidence.iter().any(|part| part.signal == signal && part.value == value)
}

fn top(report: &TargetReport) -> (&str, f64) {
    report.verdict.causes.first().map_or(("", 0.0), |part| (&part.cause, part.probability))
}

fn port() -> Match {
    Match::default().of(Transport::Port(3389))
}

fn syns() -> Match {
    Match::default().of(Transport::Syn(3389))
}

fn speak(world: &mut World, speaks: &Speaks) {
    for at in [address(0, 10), address6(0, 10)] {
        let ports = &mut world.host(&at.to_string()).ports;
        ports.insert(3389, Port::Open(speaks.clone()));
    }
}

/// A proxy at the edge accepts in the name of a host that is gone.
fn proxy(world: &mut World) {
    world.router("e1").rule(port(), Action::Accept);
    world.router("e1").initial_ttl = 64;
    for at in [address(0, 10), address6(0, 10)] {
        world.host(&at.to_string()).alive = false;
    }
}

#[test]
fn a_reset_of_the_first_data_is_the_paths_or_the_hosts() {
    for at in [address(0, 10), address6(0, 10)] {
        for (router, ttl) in [("x2", 64), ("e1", 128), ("g0", 255)] {
            let mut world = Cloud::default().build(1);
            world.router(router).rule(port(), Action::Inspect);
            world.router(router).initial_ttl = ttl;
            let plan = plan(&world, vec![rdp(at)]);
            let look = look(world, &plan, 7);
            look.expect("reset_injected", AT_LEISURE);
            assert!(shows(&look.report, "service_reset", "different"), "{router}");
            assert_eq!(top(&look.report).0, "dpi_reset");
        }
        for reset in [false, true] {
            let mut world = Cloud::default().build(1);
            speak(&mut world, &Speaks::Closes { reset });
            let plan = plan(&world, vec![rdp(at)]);
            let look = look(world, &plan, 7);
            look.expect("service_hung", AT_LEISURE).expect_honest();
            assert!(shows(&look.report, "service_reset", "same"));
        }
    }
}

#[test]
fn copies_of_packets_are_no_second_end() {
    let mut world = Cloud::default().build(1);
    world.router("x2").rule(port(), Action::Inspect);
    world.router("x2").initial_ttl = 64;
    let plan = plan(&world, vec![rdp(address(0, 10))]);
    let mut run = Run::new(Purpose::Once, 7, world);
    run.copies = true;
    run.plan(&plan);
    assert!(run.wait(s(20), judged("reset_injected")).is_some());
}

#[test]
fn behind_a_balancer_no_distance_is_weighed() {
    let mut world = Cloud::default().build(1);
    world.router("x2").rule(port(), Action::Inspect);
    let mut target = rdp(address(0, 10));
    target.fronted = Fronted::Balancer;
    let plan = plan(&world, vec![target]);
    let look = look(world, &plan, 7);
    let signals = look.report.verdict.evidence.iter().map(|part| part.signal.as_str());
    let weighed = ["service_reset", "accept_distance"];
    assert!(signals.into_iter().all(|signal| !weighed.contains(&signal)));
}

#[test]
fn a_proxy_before_a_dead_host_is_told_by_its_place() {
    for at in [address(0, 10), address6(0, 10)] {
        for seed in 0..6 {
            let mut world = Cloud::default().build(seed);
            proxy(&mut world);
            let plan = plan(&world, vec![rdp(at)]);
            let look = look(world, &plan, seed);
            look.expect("service_hung", AT_LEISURE);
            let (cause, probability) = top(&look.report);
            assert_eq!(cause, "syn_proxy_dead_host", "{seed}");
            assert!(probability > 0.6, "{probability}");
        }
    }
    // A host that accepts itself and is mute is no proxy.
    let mut world = Cloud::default().build(1);
    speak(&mut world, &Speaks::Nothing);
    world.host(HOST).echo = false;
    let plan = plan(&world, vec![rdp(address(0, 10))]);
    let look = look(world, &plan, 7);
    look.expect("service_hung", AT_LEISURE).expect_honest();
    assert!(shows(&look.report, "accept_distance", "same"));
    assert_eq!(top(&look.report).0, "service_hung");
}

#[test]
fn a_proxy_before_a_host_that_lives_is_no_failure() {
    let mut world = Cloud::default().build(1);
    // It answers what is asked first and lets the rest through.
    world.router("e1").rule(port(), Action::Accept);
    world.router("e1").initial_ttl = 64;
    let plan = plan(&world, vec![rdp(address(0, 10))]);
    let look = look(world, &plan, 7);
    look.expect("reachable", AT_LEISURE);
    assert!(shows(&look.report, "accept_distance", "nearer"));
}

#[test]
fn an_answer_that_comes_late_tells_of_a_host_without_breath() {
    for (late, value, cause) in [
        (2_000, "confirmed", ""),
        (4_500, "late", "host_overloaded"),
        (6_500, "late", "host_overloaded"),
        (9_000, "silent", "service_hung"),
    ] {
        let mut world = Cloud::default().build(1);
        speak(&mut world, &Speaks::Late(Duration::from_millis(late)));
        let plan = plan(&world, vec![rdp(address(0, 10))]);
        let look = look(world, &plan, 7);
        let class = if cause.is_empty() { "reachable" } else { "service_hung" };
        look.expect(class, AT_LEISURE);
        assert!(shows(&look.report, "service", value), "{late} ms");
        assert_eq!(top(&look.report).0, cause, "{late} ms");
        if value == "late" {
            let said = &look.report.verdict.summary;
            assert!(said.contains("only after"), "{said}");
        }
    }
}

/// One vantage over one target, healthy for two minutes.
fn watched(seed: u64) -> Run {
    let world = Cloud { canaries: 0, ..Cloud::default() }.build(seed);
    let plan = plan(&world, vec![rdp(address(0, 10))]);
    let mut run = Run::new(Purpose::Watch, seed, world);
    run.plan(&plan);
    run.pass(s(120));
    assert_eq!(run.monitor.snapshot().targets[0].class, Class::Reachable);
    run
}

fn judged(class: &'static str) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::Judged { report, .. } if report.verdict.class == class)
}

/// The reports since a moment.
fn reports(run: &Run, since: Instant) -> impl Iterator<Item = &TargetReport> {
    run.told.iter().filter(move |(at, _)| *at >= since).filter_map(|(_, event)| match event {
        Event::Judged { report, .. } => Some(report.as_ref()),
        _ => None,
    })
}

/// A failure is of this class until it heals, and of this cause.
fn lasts(run: &mut Run, (class, cause): (&'static str, &str), heal: impl Fn(&mut World)) {
    assert!(run.wait(s(330), judged(class)).is_some(), "never {class}");
    let since = run.now;
    run.pass(s(150));
    for report in reports(run, since) {
        assert_eq!(report.verdict.class, class);
        assert_eq!(top(report).0, cause);
    }
    heal(&mut run.world);
    assert!(run.wait(s(20), judged("reachable")).is_some(), "{class} did not heal");
    run.pass(s(60));
    assert_eq!(run.monitor.snapshot().targets[0].class, Class::Reachable);
    run.checker.check_books(run.now, &run.monitor.snapshot());
}

#[test]
fn the_watch_names_them_as_well_until_they_heal() {
    let mut inspected = watched(1);
    inspected.world.router("x2").rule(port(), Action::Inspect);
    inspected.world.router("x2").initial_ttl = 64;
    lasts(&mut inspected, ("reset_injected", "dpi_reset"), |world| {
        world.router("x2").rules.clear();
    });
    let mut proxied = watched(2);
    proxy(&mut proxied.world);
    lasts(&mut proxied, ("service_hung", "syn_proxy_dead_host"), |world| {
        world.router("e1").rules.clear();
        world.host(HOST).alive = true;
    });
    let mut late = watched(3);
    speak(&mut late.world, &Speaks::Late(s(5)));
    lasts(&mut late, ("service_hung", "host_overloaded"), |world| {
        speak(world, &Speaks::Expected);
    });
}

#[test]
fn syns_that_are_lost_alone_are_dropped_by_who_takes_connections() {
    let mut said = 0;
    for seed in 0..20 {
        let mut world = Cloud::default().build(seed);
        world.router("g0").rule(syns(), Action::DropSome(0.7));
        let plan = plan(&world, vec![rdp(address(0, 10))]);
        let look = look(world, &plan, seed);
        assert_ne!(look.class(), "reachable", "{seed}");
        said += usize::from(look.class() == "security_group");
        assert!(!shows(&look.report, "syn_loss", "shared"), "{seed}");
    }
    assert!(said >= 17, "{said} of 20");
    for seed in 0..20 {
        let mut world = Cloud::default().build(seed);
        world.router("x2").forth = Link::new(Loss::Independent(0.4));
        let plan = plan(&world, vec![rdp(address(0, 10))]);
        let look = look(world, &plan, seed);
        assert!(!shows(&look.report, "syn_loss", "alone"), "{seed}");
    }
}

#[test]
fn a_full_queue_stays_one_while_some_of_its_syns_pass() {
    for seed in 1..=4 {
        let mut run = watched(seed);
        run.world.router("g0").rule(syns(), Action::DropSome(0.7));
        assert!(run.wait(s(60), judged("security_group")).is_some(), "seed {seed}");
        let since = run.now;
        run.pass(s(180));
        let others = reports(&run, since).filter(|it| it.verdict.class != "security_group");
        let others: Vec<_> = others.map(|it| format!("{:#?}", it.verdict)).collect();
        assert!(others.is_empty(), "seed {seed}: {others:?}");
        run.world.router("g0").rules.clear();
        let healed = run.wait(s(60), judged("reachable"));
        assert!(healed.is_some(), "seed {seed}");
    }
}
