//! One look from cold at each class of failure.

use std::time::Duration;

use reachd_core::evidence::LocalError;
use reachd_core::judge::Class;
use reachd_core::monitor::{Event, Input, Purpose};
use reachd_core::target::{Service, Siblings, Target};
use reachd_sim::{
    Absent, Action, Cloud, IcmpLimit, Link, LocalFault, Loss, Match, Name, Port, Run, Speaks,
    Transport, World, address, address6,
};

use crate::scene::{Look, look, plan, rdp};

const HOST: &str = "10.0.0.10";
const AT_ONCE: Duration = Duration::from_millis(1_000);
const AT_LEISURE: Duration = Duration::from_millis(12_500);

fn world() -> World {
    Cloud::default().build(1)
}

fn world_of(vantages: u8) -> World {
    Cloud { vantages, ..Cloud::default() }.build(1)
}

fn see(world: World) -> Look {
    let plan = plan(&world, vec![rdp(address(0, 10))]);
    look(world, &plan, 7)
}

fn see6(world: World) -> Look {
    let plan = plan(&world, vec![rdp(address6(0, 10))]);
    look(world, &plan, 7)
}

fn with_port(port: Port) -> World {
    let mut world = world();
    for at in [address(0, 10), address6(0, 10)] {
        world.host(&at.to_string()).ports.insert(3389, port.clone());
    }
    world
}

fn with_rule(router: &str, when: Match, action: Action) -> World {
    let mut world = world();
    world.router(router).rule(when, action);
    world
}

#[test]
fn what_answers_is_reachable_at_once() {
    see(world()).expect("reachable", AT_ONCE);
    see6(world()).expect("reachable", AT_ONCE);
    let mut silent = world();
    silent.router("x1").silent = true;
    silent.router("e1").silent = true;
    let look = see(silent);
    assert!(look.expect("reachable", AT_ONCE).has_note("icmp_limited_hop"));
}

#[test]
fn several_vantages_agree_at_once() {
    see(world_of(3)).expect("reachable", AT_ONCE);
}

#[test]
fn filtered_echo_is_a_note() {
    let mut deaf = world();
    deaf.host(HOST).echo = false;
    assert!(see(deaf).expect("reachable", AT_LEISURE).has_note("icmp_filtered"));
    let dropped = with_rule("e1", Match::default().of(Transport::Icmp), Action::Drop);
    assert!(see(dropped).expect("reachable", AT_LEISURE).has_note("icmp_filtered"));
}

#[test]
fn random_loss_is_packet_loss() {
    for ratio in [0.3, 0.6] {
        for seed in 0..20 {
            let mut world = Cloud::default().build(seed);
            world.router("x2").forth = Link::new(Loss::Independent(ratio));
            let plan = plan(&world, vec![rdp(address(0, 10))]);
            look(world, &plan, seed).expect("packet_loss", AT_LEISURE);
        }
    }
}

#[test]
fn loss_on_the_way_back_is_packet_loss_too() {
    let mut world = world();
    world.router("x2").back = Link::new(Loss::Independent(0.4));
    see(world).expect("packet_loss", AT_LEISURE);
}

#[test]
fn a_drop_that_neighbours_escape_is_a_blackhole() {
    for router in ["a2", "x1", "e1"] {
        for action in [Action::DropBeforeTtl, Action::Drop] {
            see(with_rule(router, Match::dest(HOST), action)).expect("blackhole", AT_LEISURE);
        }
    }
    let at = address6(0, 10).to_string();
    see6(with_rule("e1", Match::dest(&at), Action::Drop)).expect("blackhole", AT_LEISURE);
}

#[test]
fn a_drop_at_the_gateway_shows_if_it_hides_the_gateway() {
    let look = see(with_rule("g0", Match::dest(HOST), Action::DropBeforeTtl));
    look.expect("blackhole", AT_LEISURE);
    // A drop behind the gateway's own hop looks like a dead host.
    let look = see(with_rule("g0", Match::dest(HOST), Action::Drop));
    look.expect("host_silent", AT_LEISURE).expect_honest();
}

#[test]
fn without_siblings_silence_is_shared() {
    let mut world = with_rule("e1", Match::dest(HOST), Action::Drop);
    let mut target = rdp(address(0, 10));
    target.siblings = Siblings::Off;
    let plan = plan(&world, vec![target]);
    world.random = reachd_sim::Random::new(3);
    let look = look(world, &plan, 7);
    assert!(["blackhole", "host_silent"].contains(&look.class()), "{}", look.class());
    assert!(look.report.verdict.confidence < 0.8);
    look.expect_honest();
    assert!(!look.report.verdict.next_evidence.is_empty());
}

#[test]
fn silent_last_hops_do_not_make_a_blackhole_certain() {
    let mut world = world();
    for router in ["x2", "e1", "g0"] {
        world.router(router).silent = true;
    }
    world.hosts.clear();
    let look = see(world);
    assert!(["blackhole", "host_silent"].contains(&look.class()), "{}", look.class());
    look.expect_honest();
    assert!(look.took <= AT_LEISURE, "{:?}", look.took);
}

#[test]
fn a_filtered_port_is_a_security_group() {
    see(with_port(Port::Stealth)).expect("security_group", AT_LEISURE).expect_honest();
    see6(with_port(Port::Stealth)).expect("security_group", AT_LEISURE).expect_honest();
    let when = Match::dest(HOST).of(Transport::Port(3389));
    let look = see(with_rule("g0", when, Action::Drop));
    look.expect("security_group", AT_LEISURE).expect_honest();
}

#[test]
fn a_source_that_alone_is_dropped_is_blocked() {
    for when in [Match::dest(HOST).from("a"), Match::dest(HOST).of(Transport::Port(3389)).from("b")]
    {
        let mut world = world_of(3);
        world.router("g0").rule(when, Action::Drop);
        see(world).expect("source_blocked", AT_LEISURE);
    }
}

#[test]
fn a_source_dropped_upstream_may_be_a_partial_blackhole() {
    let mut world = world_of(3);
    world.router("e1").rule(Match::dest(HOST).from("a"), Action::Drop);
    let look = see(world);
    let blocked = ["source_block", "return_path_broken"];
    assert!(look.mass(&blocked) > 0.2 && look.mass(&["partial_blackhole"]) > 0.2);
    look.expect_honest();
}

#[test]
fn a_reset_from_the_host_is_a_closed_port() {
    see(with_port(Port::Closed)).expect("port_closed", AT_ONCE).expect_honest();
    see6(with_port(Port::Closed)).expect("port_closed", AT_ONCE).expect_honest();
    let mut linux = with_port(Port::Closed);
    linux.host(HOST).initial_ttl = 64;
    linux.host(HOST).echo = false;
    see(linux).expect("port_closed", AT_LEISURE);
}

#[test]
fn an_answered_policy_is_a_rejection() {
    let when = || Match::dest(HOST).of(Transport::Port(3389));
    see(with_rule("e1", when(), Action::Refuse(3, 13))).expect("rejected", AT_LEISURE);
    see(with_port(Port::Refused(3, 3))).expect("rejected", AT_LEISURE);
    let mut limited = with_rule("e1", Match::dest(HOST), Action::Refuse(3, 13));
    limited.router("e1").limit = Some(IcmpLimit::linux());
    see(limited).expect("rejected", AT_LEISURE);
    let at = address6(0, 10).to_string();
    let v6 = Match::dest(&at).of(Transport::Port(3389));
    see6(with_rule("e1", v6, Action::Refuse(1, 1))).expect("rejected", AT_LEISURE);
}

#[test]
fn a_reset_from_the_path_is_injected() {
    let when = Match::dest(HOST).of(Transport::Port(3389));
    let mut near = with_rule("g0", when.clone(), Action::Reset { forward: false });
    near.router("g0").initial_ttl = 64;
    near.host(HOST).initial_ttl = 64;
    see(near).expect("reset_injected", AT_LEISURE);
    let both = with_rule("x2", when, Action::Reset { forward: true });
    see(both).expect("reset_injected", AT_LEISURE);
}

#[test]
fn a_dead_host_behind_a_living_gateway_is_silent() {
    let mut cloud = world();
    cloud.host(HOST).alive = false;
    see(cloud).expect("host_silent", AT_LEISURE).expect_honest();
    let mut dead = world();
    dead.host(HOST).alive = false;
    let absent = Absent::Unreachable(Duration::from_millis(3_060));
    dead.subnets.values_mut().for_each(|subnet| subnet.absent = absent);
    see(dead).expect("host_silent", AT_LEISURE);
    let mut soon = world();
    soon.host(HOST).alive = false;
    let absent = Absent::Unreachable(Duration::from_millis(2_900));
    soon.subnets.values_mut().for_each(|subnet| subnet.absent = absent);
    soon.router("g0").limit = Some(IcmpLimit::linux());
    see(soon).expect("host_silent", AT_LEISURE);
}

#[test]
fn a_router_without_a_way_is_no_route() {
    see(with_rule("x2", Match::dest(HOST), Action::Refuse(3, 0))).expect("no_route", AT_LEISURE);
    see(with_rule("x2", Match::dest(HOST), Action::Refuse(3, 1))).expect("no_route", AT_LEISURE);
    see(with_rule("x2", Match::default(), Action::Refuse(3, 0))).expect("no_route", AT_LEISURE);
    let mut limited = with_rule("x2", Match::default(), Action::Refuse(3, 0));
    limited.router("x2").limit = Some(IcmpLimit::linux());
    see(limited).expect("no_route", AT_LEISURE);
    see6(with_rule("x2", Match::default(), Action::Refuse(1, 0))).expect("no_route", AT_LEISURE);
}

#[test]
fn packets_that_come_round_again_are_in_a_loop() {
    see(with_rule("x2", Match::dest(HOST), Action::Return)).expect("routing_loop", AT_LEISURE);
    let mut limited = with_rule("e1", Match::dest(HOST), Action::Return);
    limited.router("x2").limit = Some(IcmpLimit::new(3.0, 6.0));
    see(limited).expect("routing_loop", AT_LEISURE);
}

#[test]
fn an_accepting_port_that_says_nothing_hangs() {
    see(with_port(Port::Open(Speaks::Nothing))).expect("service_hung", AT_LEISURE);
    let mut deaf = with_port(Port::Open(Speaks::Nothing));
    deaf.host(HOST).echo = false;
    see(deaf).expect("service_hung", AT_LEISURE);
}

#[test]
fn another_greeting_is_the_wrong_service() {
    let foreign = Port::Open(Speaks::Foreign("HTTP/1.0".to_owned()));
    see(with_port(foreign.clone())).expect("wrong_service", AT_ONCE);
    let mut deaf = with_port(foreign);
    deaf.host(HOST).echo = false;
    see(deaf).expect("wrong_service", AT_LEISURE);
}

#[test]
fn a_name_that_does_not_resolve_is_a_dns_failure() {
    for name in [Name::Unknown, Name::Fails, Name::TimesOut] {
        let mut world = world();
        world.names.insert("gone.example".to_owned(), name);
        let plan = plan(&world, vec![Target::new("gone.example", 3389, Service::Rdp)]);
        look(world, &plan, 7).expect("dns_failure", AT_LEISURE);
    }
}

#[test]
fn a_name_that_resolves_is_probed_at_every_address() {
    let mut world = world();
    let both = Name::Addresses(vec![address(0, 10), address6(0, 10)]);
    world.names.insert("both.example".to_owned(), both);
    let plan = plan(&world, vec![Target::new("both.example", 3389, Service::Rdp)]);
    let look = look(world, &plan, 7);
    assert_eq!(look.class(), "reachable");
    assert_eq!(look.report.addresses.len(), 2);
}

#[test]
fn what_our_own_kernel_refuses_is_our_fault() {
    for fault in [
        LocalFault::Refuses(LocalError::NoRoute),
        LocalFault::Refuses(LocalError::Blocked),
        LocalFault::RefusesPort(3389, LocalError::Blocked),
        LocalFault::Swallows,
        LocalFault::EatsAnswers,
    ] {
        let mut world = world();
        world.place("a").fault = fault;
        see(world).expect("vantage_fault", AT_LEISURE);
    }
}

#[test]
fn a_vantage_that_goes_down_meanwhile_is_not_waited_for() {
    let world = world();
    let plan = plan(&world, vec![rdp(address(0, 10))]);
    let mut run = Run::new(Purpose::Once, 7, world);
    run.plan(&plan);
    run.pass(Duration::from_millis(10));
    run.set_vantage("a", Some(LocalError::VantageGone));
    let judged = |event: &Event| matches!(event, Event::Judged { .. });
    let told = run.told.iter().any(|(_, event)| judged(event));
    assert!(told || run.wait(Duration::from_secs(20), judged).is_some());
    assert_eq!(run.monitor.snapshot().targets[0].class, Class::VantageFault);
}

#[test]
fn a_dead_resolver_is_our_fault() {
    let mut world = world();
    world.place("a").resolver = false;
    let plan = plan(&world, vec![Target::new("gone.example", 3389, Service::Rdp)]);
    look(world, &plan, 7).expect("vantage_fault", AT_LEISURE);
}

#[test]
fn a_look_that_is_cut_short_says_what_it_has() {
    let mut world = world();
    world.names.insert("slow.example".to_owned(), Name::TimesOut);
    let slow = Target::new("slow.example", 3389, Service::Rdp);
    let plan = plan(&world, vec![rdp(address(0, 10)), slow]);
    let mut run = Run::new(Purpose::Once, 7, world);
    run.plan(&plan);
    run.pass(Duration::from_millis(300));
    run.input(Input::Conclude);
    let judged = run.told.iter().filter_map(|(_, event)| match event {
        Event::Judged { report, .. } => Some(report.verdict.class.as_str()),
        _ => None,
    });
    assert_eq!(judged.collect::<Vec<_>>(), ["reachable", "unknown"]);
}

#[test]
fn a_ping_target_is_asked_nothing_else() {
    let world = world();
    let plan = plan(&world, vec![Target::new(HOST, 0, Service::Ping)]);
    look(world, &plan, 7).expect("reachable", AT_ONCE);
    let mut world = with_rule("e1", Match::dest(HOST), Action::Drop);
    world.duplicates = 0.1;
    let plan = crate::scene::plan(&world, vec![Target::new(HOST, 0, Service::Ping)]);
    look(world, &plan, 7).expect("blackhole", AT_LEISURE);
}
