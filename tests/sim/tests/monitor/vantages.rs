//! What several vantages see together, what was learnt before, and what our own side does.

use std::net::IpAddr;

use reachd_core::incident::{AlertKind, IncidentState, IncidentUpdate, Subject};
use reachd_core::judge::Class;
use reachd_core::monitor::{Event, Purpose};
use reachd_core::plan::Plan;
use reachd_core::report::TargetReport;
use reachd_core::time::Instant;
use reachd_core::vantage::{Binding, Role};
use reachd_sim::{Action, Cloud, Match, Port, Router, Run, Speaks, Transport, World, address};

use crate::scene::{look, plan, rdp, s};
use crate::watch::{HOST, class_of, judged};

/// A world watched for two healthy minutes.
fn watched(world: World, plan: &Plan, seed: u64) -> Run {
    let mut run = Run::new(Purpose::Watch, seed, world);
    run.plan(plan);
    run.pass(s(120));
    let snapshot = run.monitor.snapshot();
    assert!(snapshot.targets.iter().all(|row| row.class == Class::Reachable));
    assert!(run.incidents(Instant::ZERO).is_empty(), "incidents of a healthy world");
    run
}

fn report(run: &Run) -> TargetReport {
    let named = |event: &Event| match event {
        Event::Judged { target, report, .. } if target.as_str().starts_with(HOST) => {
            Some((**report).clone())
        }
        _ => None,
    };
    run.told.iter().rev().find_map(|(_, event)| named(event)).expect("a report")
}

fn top(report: &TargetReport) -> (&str, f64) {
    let first = report.verdict.causes.first().expect("a cause");
    (&first.cause, first.probability)
}

fn says(report: &TargetReport, signal: &str, value: &str) -> bool {
    let evidence = report.verdict.evidence.iter();
    evidence.into_iter().any(|part| part.signal == signal && part.value == value)
}

fn subjects<'a>(updates: &[&'a IncidentUpdate]) -> Vec<&'a Subject> {
    updates.iter().map(|update| &update.subject).collect()
}

/// Vantage `b` is a second address of vantage `a`; `c` stands elsewhere.
fn second_source(seed: u64) -> Run {
    let mut world = Cloud { vantages: 3, subnets: 2, hosts: 5, canaries: 0 }.build(seed);
    let uplink = world.place("a").uplink.clone();
    world.place("b").uplink = uplink;
    let mut plan = plan(&world, vec![rdp(address(1, 11)), rdp(address(0, 10))]);
    for (vantage, place) in plan.vantages.iter_mut().zip(["a", "b"]) {
        vantage.binding = Binding::Source(world.place(place).v4);
    }
    watched(world, &plan, seed)
}

#[test]
fn a_block_of_one_address_spares_the_hosts_other_one() {
    for seed in 1..=3 {
        let mut run = second_source(seed);
        let began = run.now;
        run.world.router("g1").rule(Match::dest(HOST).from("a"), Action::Drop);
        assert!(run.wait(s(30), judged("source_blocked")).is_some(), "seed {seed}");
        run.until(began + s(120));
        let report = report(&run);
        assert!(says(&report, "second_source", "reaches"), "{:#?}", report.verdict.evidence);
        assert!(says(&report, "baseline_change", "path_as_learnt"), "seed {seed}");
        let (cause, p) = top(&report);
        assert!(cause == "source_block" && p > 0.8, "seed {seed}: {cause} {p}");
        assert_eq!(report.verdict.unreachable_from, ["a"]);
        assert_eq!(run.steps(began, IncidentState::Firing).len(), 1, "seed {seed}");
    }
}

#[test]
fn a_broken_way_back_takes_both_addresses_and_ends_earlier_than_was_learnt() {
    for seed in 1..=3 {
        let mut run = second_source(seed);
        let began = run.now;
        // What lies behind the edge has no way back, its own gateway included.
        run.world.router("e1").cut_from = vec!["a".to_owned(), "b".to_owned()];
        assert!(run.wait(s(30), judged("source_blocked")).is_some(), "seed {seed}");
        run.until(began + s(120));
        let report = report(&run);
        assert_eq!(class_of(&run), Class::SourceBlocked, "seed {seed}");
        assert!(says(&report, "second_source", "fails_too"), "{:#?}", report.verdict.evidence);
        assert!(says(&report, "baseline_change", "path_shortened"), "seed {seed}");
        assert_eq!(top(&report).0, "return_path_broken", "seed {seed}");
        assert_eq!(report.verdict.unreachable_from, ["a", "b"]);
        assert_eq!(report.verdict.scope, "one", "two addresses are one vantage's");
    }
}

/// Eight subnets behind two edges; those of `e2` are the odd ones.
fn two_edges(seed: u64) -> (World, Plan) {
    let mut world = Cloud { vantages: 3, subnets: 8, hosts: 5, canaries: 0 }.build(seed);
    let [v4, v6] = ["172.17.0.1", "fd01::1"].map(|at| at.parse::<IpAddr>().expect("an address"));
    world.routers.insert("e2".to_owned(), Router::new(v4, v6));
    for number in [1, 3, 5, 7] {
        let subnet = world.subnets.get_mut(&address(number, 0)).expect("a subnet");
        let edge = subnet.routers.iter_mut().find(|name| *name == "e1").expect("an edge");
        "e2".clone_into(edge);
    }
    let targets = (0..8).flat_map(|net| (10..15).map(move |host| rdp(address(net, host))));
    let plan = plan(&world, targets.collect());
    (world, plan)
}

#[test]
fn a_dead_edge_and_a_dead_vantage_are_two_alerts() {
    for seed in 1..=2 {
        let (world, plan) = two_edges(seed);
        let mut run = watched(world, &plan, seed);
        let began = run.now;
        run.world.router("e2").rule(Match::default(), Action::DropBeforeTtl);
        run.world.router("c1").rule(Match::default(), Action::DropBeforeTtl);
        run.pass(s(150));
        let report = report(&run);
        assert_eq!(class_of(&run), Class::Blackhole, "seed {seed}: {report:#?}");
        assert_eq!(top(&report).0, "transit_blackhole", "seed {seed}");
        assert!(says(&report, "baseline_change", "path_shortened"), "seed {seed}");
        assert!(says(&report, "sibling_path", "fails_too"), "seed {seed}");
        let firing = run.steps(began, IncidentState::Firing);
        assert_eq!(firing.len(), 2, "seed {seed}: {:?}", subjects(&firing));
        for update in &firing {
            match &update.subject {
                Subject::Vantage(name) => assert_eq!(name, "c", "seed {seed}"),
                Subject::Group(group) => {
                    // What is shared is known from before: nothing behind the cut answers now.
                    assert_eq!(group.key, "via 172.17.0.1", "seed {seed}");
                    assert_eq!(update.class, Class::Blackhole, "seed {seed}");
                }
                Subject::Target(target) => panic!("seed {seed}: {} alone", target.name),
            }
        }
        let blamed = run.monitor.snapshot();
        let blamed = blamed.targets.iter().filter(|row| row.class == Class::Blackhole);
        assert_eq!(blamed.count(), 20, "seed {seed}");
    }
}

#[test]
fn hosts_refused_behind_the_first_router_do_not_speak_against_the_vantage() {
    for (router, own) in [("a2", false), ("a1", true)] {
        let world = Cloud { vantages: 1, subnets: 2, hosts: 3, canaries: 0 }.build(4);
        let targets = (10..13).map(|host| rdp(address(1, host)));
        let plan = plan(&world, targets.collect());
        let mut run = watched(world, &plan, 4);
        let began = run.now;
        run.world.router(router).rule(Match::subnet(address(1, 0)), Action::Refuse(3, 0));
        run.pass(s(120));
        let firing = run.steps(began, IncidentState::Firing);
        let ours = firing.iter().any(|update| update.kind == AlertKind::VantageFault);
        assert_eq!(ours, own, "{router}: {:?}", subjects(&firing));
        let class = if own { Class::Unknown } else { Class::NoRoute };
        assert_eq!(class_of(&run), class, "{router}");
        let since = run.told.iter().filter(|(at, _)| *at > began);
        let said = since.filter_map(|(at, event)| match event {
            Event::Judged { target, report, .. } => {
                Some((at.since(began), target.to_string(), report.verdict.class.clone()))
            }
            _ => None,
        });
        let said: Vec<_> = said.collect();
        assert!(said.iter().all(|(.., class)| class != "blackhole"), "{said:#?}");
    }
}

#[test]
fn what_fails_inside_as_well_is_on_the_hosts_own_side() {
    let mut world = Cloud { vantages: 2, ..Cloud::default() }.build(7);
    world.place("b").skips = 3;
    world.host("10.0.0.10").ports.insert(3389, Port::Stealth);
    let mut plan = plan(&world, vec![rdp(address(0, 10))]);
    plan.vantages[1].role = Role::Inside;
    let look = look(world, &plan, 7);
    assert_eq!(look.class(), "security_group");
    assert!(says(&look.report, "other_vantages", "inside_fails"));
    let host = look.mass(&["host_firewall_port", "service_stopped_stealth"]);
    let cloud = look.mass(&["security_group_port", "network_acl"]);
    assert!(host > 2.0 * cloud, "{host} {cloud}");
    look.expect_honest();
}

/// Something before this vantage takes every TCP connection itself.
fn take_connections(world: &mut World, router: &str) {
    world.router(router).rule(Match::default().of(Transport::Tcp), Action::Accept);
}

#[test]
fn where_nobody_answers_too_a_look_says_nothing_of_the_target() {
    let mut world = Cloud::default().build(7);
    take_connections(&mut world, "a1");
    world.host("10.0.0.10").alive = false;
    let plan = plan(&world, vec![rdp(address(0, 10))]);
    let look = look(world, &plan, 7);
    assert_eq!(look.class(), "vantage_fault", "{:#?}", look.report.verdict);
    let part = look.report.verdict.evidence.iter().find(|part| part.value == "proxied");
    let detail = part.and_then(|part| part.detail.as_ref()).unwrap();
    assert!(detail.en.contains("192.0.2.1:3389"), "{detail:?}");
    assert!(look.packets() <= 60);
}

#[test]
fn a_look_sends_one_packet_to_nobody() {
    let world = Cloud::default().build(7);
    let plan = plan(&world, (10..13).map(|host| rdp(address(0, host))).collect());
    let mut run = Run::new(Purpose::Once, 7, world);
    run.orders = Some(Vec::new());
    run.plan(&plan);
    run.pass(s(20));
    let nobody: IpAddr = "192.0.2.1".parse().unwrap();
    let orders = run.orders.iter().flatten();
    assert_eq!(orders.filter(|(_, order)| order.to == nobody).count(), 1);
}

#[test]
fn a_proxy_before_the_vantage_makes_nothing_of_its_targets_known() {
    for seed in 1..=3 {
        let world = Cloud { vantages: 1, subnets: 2, hosts: 5, canaries: 0 }.build(seed);
        let targets = [rdp(address(1, 11)), rdp(address(0, 10)), rdp(address(0, 11))];
        let plan = plan(&world, targets.to_vec());
        let mut run = watched(world, &plan, seed);
        let began = run.now;
        take_connections(&mut run.world, "a1");
        run.world.host(HOST).alive = false;
        run.pass(s(120));
        let firing = run.steps(began, IncidentState::Firing);
        assert_eq!(subjects(&firing), [&Subject::Vantage("a".to_owned())], "seed {seed}");
        assert!(firing[0].summary.0.contains("192.0.2.1:3389"), "{}", firing[0].summary.0);
        assert!(firing[0].summary.0.contains("3 targets are not watched"), "seed {seed}");
        for (at, event) in run.told.iter().filter(|(at, _)| *at > began) {
            if let Event::Judged { report, .. } = event {
                let class = &*report.verdict.class;
                let fine = ["reachable", "vantage_fault", "unknown"].contains(&class);
                assert!(fine, "seed {seed}: {class} {:?} later", at.since(began));
            }
        }
        assert_eq!(class_of(&run), Class::VantageFault, "seed {seed}");
        let healed = run.now;
        run.world.router("a1").rules.clear();
        run.world.host(HOST).alive = true;
        run.pass(s(60));
        assert_eq!(run.steps(healed, IncidentState::Resolved).len(), 1, "seed {seed}");
        assert_eq!(class_of(&run), Class::Reachable, "seed {seed}");
    }
}

#[test]
fn another_vantage_still_sees_what_a_proxied_one_cannot() {
    let world = Cloud { vantages: 2, subnets: 2, hosts: 3, canaries: 0 }.build(3);
    let plan = plan(&world, vec![rdp(address(1, 11))]);
    let mut run = watched(world, &plan, 3);
    let began = run.now;
    take_connections(&mut run.world, "a1");
    run.world.host(HOST).ports.insert(3389, Port::Closed);
    run.pass(s(150));
    assert_eq!(class_of(&run), Class::PortClosed);
    assert_eq!(report(&run).verdict.unreachable_from, ["b"]);
    let firing = run.steps(began, IncidentState::Firing);
    assert_eq!(firing.len(), 2, "{:?}", subjects(&firing));
}

/// SYNs to nobody are few however many targets close their ports.
#[test]
fn nobody_is_asked_seldom() {
    let world = Cloud { vantages: 1, subnets: 4, hosts: 10, canaries: 0 }.build(5);
    let targets = (0..4).flat_map(|net| (10..20).map(move |host| rdp(address(net, host))));
    let plan = plan(&world, targets.collect());
    let mut run = Run::new(Purpose::Watch, 5, world);
    run.orders = Some(Vec::new());
    run.plan(&plan);
    run.pass(s(600));
    let nobody: IpAddr = "192.0.2.1".parse().unwrap();
    let asked =
        |run: &Run| run.orders.iter().flatten().filter(|(_, order)| order.to == nobody).count();
    assert_eq!(asked(&run), 1, "once at the start");
    for host in run.world.hosts.values_mut() {
        host.ports.insert(3389, Port::Closed);
    }
    run.pass(s(600));
    let snapshot = run.monitor.snapshot();
    assert!(snapshot.targets.iter().all(|row| row.class == Class::PortClosed));
    assert!(asked(&run) <= 10, "{} SYNs to nobody", asked(&run));
}

#[test]
fn an_open_incident_outlives_what_makes_its_target_unknown() {
    let world = Cloud { vantages: 1, subnets: 2, hosts: 3, canaries: 0 }.build(6);
    let plan = plan(&world, vec![rdp(address(1, 11)), rdp(address(0, 10))]);
    let mut run = watched(world, &plan, 6);
    let began = run.now;
    run.world.host(HOST).ports.insert(3389, Port::Closed);
    run.pass(s(60));
    assert_eq!(class_of(&run), Class::PortClosed);
    assert_eq!(run.steps(began, IncidentState::Firing).len(), 1);
    take_connections(&mut run.world, "a1");
    run.pass(s(120));
    assert_eq!(class_of(&run), Class::VantageFault);
    run.world.router("a1").rules.clear();
    run.pass(s(60));
    assert_eq!(class_of(&run), Class::PortClosed);
    let told = |run: &Run, state| {
        let steps = run.steps(began, state).into_iter();
        steps.filter(|update| update.kind == AlertKind::Unreachable).count()
    };
    assert_eq!(told(&run, IncidentState::Resolved), 0, "nothing was seen healed");
    run.world.host(HOST).ports.insert(3389, Port::Open(Speaks::Expected));
    run.pass(s(80));
    assert_eq!(told(&run, IncidentState::Resolved), 1);
    assert_eq!(told(&run, IncidentState::Firing), 1);
}
