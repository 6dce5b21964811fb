//! Configured ports and neighbours: what they add to a look, and that only they are asked.

use std::time::Duration;

use reachd_core::monitor::{Baseline, ClosedPort, Event, ProbePacket, Purpose};
use reachd_core::report::TargetReport;
use reachd_core::target::{Fronted, Service, Target};
use reachd_sim::{Action, Cloud, Host, Match, Port, Run, Speaks, Transport, World, address};

use crate::scene::{Look, look, plan, rdp, s};

const LIMIT: Duration = Duration::from_millis(12_500);

fn shows(report: &TargetReport, signal: &str, value: &str) -> bool {
    report.verdict.evidence.iter().any(|part| part.signal == signal && part.value == value)
}

/// One target whose host is made over by `change`, seen once.
fn seen(target: &Target, change: impl Fn(&mut Host)) -> Look {
    let mut world = Cloud::default().build(3);
    change(world.hosts.get_mut(&address(0, 10)).expect("the host"));
    let plan = plan(&world, vec![target.clone()]);
    look(world, &plan, 5)
}

fn target() -> Target {
    let mut target = rdp(address(0, 10));
    target.canary_port = Some(3391);
    target.control_ports = vec![135];
    target.alternate_ports = vec![3390, 13_389];
    target
}

/// SYNs at full distance by port other than the main one.
fn others(look: &Look) -> Vec<u16> {
    let orders = look.run.orders.iter().flatten();
    let ports = orders.filter_map(|(_, order)| match order.what {
        ProbePacket::Syn { dest_port, .. } if dest_port != 3389 => Some(dest_port),
        _ => None,
    });
    ports.collect()
}

#[test]
fn a_moved_service_is_found_where_it_may_have_gone() {
    let look = seen(&target(), |host| {
        host.other_ports = Port::Closed;
        host.ports.insert(3389, Port::Closed);
        host.ports.insert(3390, Port::Open(Speaks::Expected));
    });
    look.expect("port_closed", LIMIT);
    assert!(shows(&look.report, "alternate_port", "open"));
    assert!(look.mass(&["rdp_port_moved"]) > 0.8, "{:?}", look.report.verdict.causes);
    let mut asked = others(&look);
    asked.sort_unstable();
    assert_eq!(asked, [3390, 3391, 13_389], "each once, and nothing else");
}

#[test]
fn closed_alternate_ports_speak_for_a_stopped_service() {
    let look = seen(&target(), |host| {
        host.other_ports = Port::Closed;
        host.ports.insert(3389, Port::Closed);
    });
    look.expect("port_closed", LIMIT).expect_honest();
    assert!(shows(&look.report, "alternate_port", "closed"));
    assert!(look.mass(&["rdp_port_moved"]) < 0.1);
}

#[test]
fn a_healthy_target_is_asked_nothing_more_by_a_single_look() {
    let look = seen(&target(), |_| {});
    look.expect("reachable", s(1));
    assert!(others(&look).is_empty());
}

#[test]
fn a_canary_port_that_resets_rules_stealth_out() {
    let look = seen(&target(), |host| {
        host.other_ports = Port::Closed;
        host.ports.insert(3389, Port::Stealth);
    });
    look.expect("security_group", LIMIT).expect_honest();
    assert!(shows(&look.report, "canary_port", "answered"));
    assert!(look.mass(&["service_stopped_stealth"]) < 0.02);
}

#[test]
fn a_control_port_proves_life_where_echo_is_filtered() {
    let mute = |host: &mut Host| {
        host.echo = false;
        host.ports.insert(3389, Port::Stealth);
    };
    let without = seen(&rdp(address(0, 10)), mute);
    assert_eq!(without.class(), "host_silent");
    let with = seen(&target(), |host| {
        mute(host);
        host.ports.insert(135, Port::Open(Speaks::Expected));
    });
    with.expect("security_group", LIMIT).expect_honest();
    assert!(shows(&with.report, "control_port", "answered"));
    // As the host lives, its other ports are worth asking.
    assert!(others(&with).contains(&3390));
}

#[test]
fn nobody_asks_a_dead_host_for_moved_services() {
    let look = seen(&target(), |host| host.alive = false);
    look.expect("host_silent", LIMIT).expect_honest();
    assert!(shows(&look.report, "control_port", "silent"));
    let mut asked = others(&look);
    asked.sort_unstable();
    assert_eq!(asked, [135, 3391]);
}

#[test]
fn neighbours_tell_a_dead_host_from_a_dead_network() {
    let near = |host: u8| address(0, host);
    let mut target = rdp(near(10));
    target.siblings = reachd_core::target::Siblings::Off;
    target.neighbours = vec![near(11), near(12)];
    let with = |dead: &[u8]| {
        let mut world = Cloud::default().build(3);
        for host in dead {
            world.hosts.get_mut(&near(*host)).unwrap().alive = false;
        }
        let plan = plan(&world, vec![target.clone()]);
        look(world, &plan, 5)
    };
    let (alone, all) = (with(&[10]), with(&[10, 11, 12, 13]));
    assert!(shows(&alone.report, "neighbours", "answered"));
    assert!(shows(&all.report, "neighbours", "silent"));
    let network = ["transit_blackhole", "prefix_withdrawn", "no_route"];
    assert!(all.mass(&network) > 4.0 * alone.mass(&network));
    alone.expect("host_silent", LIMIT).expect_honest();
}

#[test]
fn behind_a_front_a_silent_port_is_no_certain_filter() {
    let mut target = rdp(address(0, 10));
    target.fronted = Fronted::Nat;
    let look = seen(&target, |host| {
        host.ports.insert(3389, Port::Stealth);
    });
    look.expect("security_group", LIMIT).expect_honest();
    assert!(look.report.verdict.confidence < 0.8);
    let dead = [
        "instance_stopped",
        "instance_hung",
        "rebooting",
        "hypervisor_failure",
        "nic_down",
        "security_group_all",
        "host_firewall_all",
    ];
    assert!(look.mass(&dead) > 0.2, "the host may be gone");
    assert!(look.report.verdict.summary.contains("behind its front"));
}

/// A watched target, healthy for twenty minutes.
fn watched(world: World, target: Target) -> Run {
    let plan = plan(&world, vec![target]);
    let mut run = Run::new(Purpose::Watch, 9, world);
    run.orders = Some(Vec::new());
    run.plan(&plan);
    run.pass(s(1_200));
    run
}

fn learnt(run: &Run) -> Option<Baseline> {
    run.told.iter().rev().find_map(|(_, event)| match event {
        Event::Baseline { baseline, .. } => Some(*baseline),
        _ => None,
    })
}

fn last(run: &Run) -> &TargetReport {
    let reports = run.told.iter().rev().find_map(|(_, event)| match event {
        Event::Judged { report, .. } => Some(&**report),
        _ => None,
    });
    reports.expect("a report")
}

fn canaries_asked(run: &Run) -> usize {
    let orders = run.orders.iter().flatten();
    let asked =
        orders.filter(|(_, order)| matches!(order.what, ProbePacket::Syn { dest_port: 3391, .. }));
    asked.count()
}

#[test]
fn the_canary_port_is_learnt_in_health_and_compared_in_a_failure() {
    for (other, closed_port, value) in [
        (Port::Closed, ClosedPort::Answers, "fell_silent"),
        (Port::Stealth, ClosedPort::Silent, "silent_as_learnt"),
    ] {
        let mut world = Cloud::default().build(3);
        world.hosts.get_mut(&address(0, 10)).unwrap().other_ports = other;
        let mut target = rdp(address(0, 10));
        target.canary_port = Some(3391);
        let mut run = watched(world, target);
        assert_eq!(learnt(&run).unwrap().closed_port, Some(closed_port));
        // Once an hour, though it connects every five minutes.
        assert!(canaries_asked(&run) <= 2, "{} SYNs", canaries_asked(&run));
        let host = run.world.hosts.get_mut(&address(0, 10)).unwrap();
        host.other_ports = Port::Stealth;
        host.ports.insert(3389, Port::Stealth);
        let filtered = |event: &Event| matches!(event, Event::Judged { report, .. } if report.verdict.class == "security_group");
        assert!(run.wait(s(30), filtered).is_some());
        run.pass(s(20));
        assert!(shows(last(&run), "canary_port", value), "{:#?}", last(&run).verdict.evidence);
        run.checker.check_books(run.now, &run.monitor.snapshot());
    }
}

#[test]
fn ports_of_one_address_at_different_distances_show_a_front() {
    let mut world = Cloud::default().build(3);
    // The edge passes the one port on and answers the other itself.
    let other = Match { transport: Transport::Port(8443), ..Match::default() };
    world.router("e1").rule(other, Action::Accept);
    let near = Target::new(&address(0, 10).to_string(), 8443, Service::Tcp);
    let plan = plan(&world, vec![rdp(address(0, 10)), near]);
    let mut run = Run::new(Purpose::Watch, 9, world);
    run.plan(&plan);
    run.pass(s(1_200));
    let host = run.world.hosts.get_mut(&address(0, 10)).expect("the host");
    host.ports.insert(3389, Port::Stealth);
    let filtered = |event: &Event| {
        matches!(event, Event::Judged { report, .. }
            if report.target.port == Some(3389) && report.verdict.class == "security_group")
    };
    assert!(run.wait(s(40), filtered).is_some());
    let report = last(&run);
    assert!(shows(report, "front", "answered"), "{:#?}", report.verdict.evidence);
    assert!(report.verdict.confidence < 0.8, "the host behind it may be gone");
}
