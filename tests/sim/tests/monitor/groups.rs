//! One root cause over many targets is one alert; two causes are two.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use reachd_core::grouping::GroupKey;
use reachd_core::incident::{AlertKind, IncidentState, IncidentUpdate, Moment, Opening, Subject};
use reachd_core::judge::Class;
use reachd_core::monitor::{Event, Input, Purpose, RestoredGroup};
use reachd_core::plan::{Budget, Plan};
use reachd_core::target::{Service, Severity, Siblings, Target, TargetName};
use reachd_core::time::Instant;
use reachd_core::vantage::Vantage;
use reachd_sim::{Absent, Action, Cloud, IcmpLimit, Light, Match, Run, address};

use crate::scene::{self, rdp};

const MINUTE: Duration = Duration::from_secs(60);

fn host(subnet: u8, last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 20, subnet, last)
}

fn target(address: Ipv4Addr, group: &str) -> Target {
    let mut target = Target::new(&address.to_string(), 0, Service::Ping);
    target.siblings = Siblings::Off;
    target.labels.insert("sg".to_owned(), group.to_owned());
    target
}

fn plan(targets: Vec<Target>) -> Plan {
    let budget = Budget {
        packets_per_second: 1e6,
        per_destination: 1e6,
        per_prefix: 1e6,
        ..Budget::default()
    };
    let vantages = vec![Vantage::unbound("a")];
    Plan { targets, vantages, budget, group_by_labels: vec!["sg".to_owned()], ..Plan::default() }
}

/// A world of these targets, watched for two minutes while all is well.
fn healthy(targets: Vec<Target>) -> Light {
    let mut light = Light::new(5, &plan(targets), Box::new(|_, _| true));
    light.pass(2 * MINUTE);
    assert!(told(&light, Instant::ZERO).is_empty());
    light
}

fn kill(light: &mut Light, dead: impl IntoIterator<Item = Ipv4Addr>) -> Instant {
    let dead: BTreeSet<IpAddr> = dead.into_iter().map(IpAddr::from).collect();
    light.set_answers(Box::new(move |address, _| !dead.contains(&address)));
    light.now
}

/// What people are told since a moment.
fn told(light: &Light, since: Instant) -> Vec<(Instant, IncidentUpdate)> {
    let told = light.told.iter().filter(|(at, _)| *at >= since);
    let told = told.filter_map(|(at, event)| match event {
        Event::Incident(update) if update.notify => Some((*at, (**update).clone())),
        _ => None,
    });
    told.collect()
}

fn key(update: &IncidentUpdate) -> Option<&str> {
    match &update.subject {
        Subject::Group(group) => Some(&group.key),
        Subject::Target(_) | Subject::Vantage(_) => None,
    }
}

#[test]
fn a_hundred_targets_behind_one_fault_are_one_alert() {
    let behind = || (1..=100).map(|last| host(1, last));
    let others = (2..=4).flat_map(|subnet| (1..=100).map(move |last| host(subnet, last)));
    let mut light = healthy(behind().chain(others).map(|at| target(at, "x")).collect());
    let dead = kill(&mut light, behind());
    light.pass(2 * MINUTE);
    let firing = told(&light, dead);
    assert_eq!(firing.len(), 1, "{:?}", firing.iter().map(|(_, update)| &update.summary.0));
    let (at, update) = &firing[0];
    assert_eq!(key(update), Some("10.20.1.0/24"));
    assert!(at.since(dead) < MINUTE, "{:?}", at.since(dead));
    // At that moment not everybody had been asked again; what the store has goes on.
    let (count, rest) = update.summary.0.split_once(' ').unwrap();
    assert!(count.parse::<u32>().unwrap() >= 80, "{}", update.summary.0);
    assert!(rest.starts_with("of 100 targets with 10.20.1.0/24 fail together"), "{rest}");
    let last = light.told.iter().rev().find_map(|(_, event)| match event {
        Event::Incident(update) if key(update).is_some() => Some(update),
        _ => None,
    });
    assert!(last.unwrap().summary.0.starts_with("100 of 100"), "{:?}", last.unwrap().summary);
    assert!(update.summary.0.contains("0 of 300 others"), "{}", update.summary.0);
    let numbers = light.monitor.snapshot();
    let open: u64 = numbers.incidents.values().sum();
    assert_eq!(open, 1, "one incident: {:?}", numbers.incidents);
    // The store hears of every member.
    let members = light.told.iter().filter_map(|(_, event)| match event {
        Event::Incident(update) if update.member => Some(update.fingerprint.clone()),
        _ => None,
    });
    assert_eq!(members.collect::<BTreeSet<_>>().len(), 100);

    let healed = kill(&mut light, []);
    light.pass(2 * MINUTE);
    let resolved = told(&light, healed);
    assert_eq!(resolved.len(), 1);
    assert_eq!(resolved[0].1.state, IncidentState::Resolved);
    assert_eq!(resolved[0].1.fingerprint, update.fingerprint);
    assert!(resolved[0].0.since(healed) < MINUTE, "{:?}", resolved[0].0.since(healed));
    assert!(light.monitor.snapshot().incidents.is_empty());
}

#[test]
fn a_bad_edit_over_many_subnets_is_told_by_its_label() {
    let edited = |number: u8| host(number % 5 + 1, number / 5 + 1);
    let others = (1..=5).flat_map(|subnet| (100..180).map(move |last| host(subnet, last)));
    let targets = (0..25).map(|number| target(edited(number), "web"));
    let mut light = healthy(targets.chain(others.map(|at| target(at, "db"))).collect());
    let dead = kill(&mut light, (0..23).map(edited));
    light.pass(2 * MINUTE);
    let firing = told(&light, dead);
    assert_eq!(firing.len(), 1);
    assert_eq!(key(&firing[0].1), Some("sg=web"));
    let summary = &firing[0].1.summary;
    assert!(summary.0.starts_with("23 of 25 targets with sg=web fail together"), "{}", summary.0);
    assert!(summary.0.contains("0 of 400 others"), "{}", summary.0);
    assert!(summary.1.contains("sg=web 的 25 个目标中有 23 个"), "{}", summary.1);
}

#[test]
fn two_causes_at_once_are_two_alerts_and_a_lone_failure_a_third() {
    let first = || (1..=30).map(|last| host(1, last));
    let second = || (1..=30).map(|last| host(2, last));
    let others = (3..=8).flat_map(|subnet| (1..=50).map(move |last| host(subnet, last)));
    let all = first().chain(second()).chain(others);
    let mut light = healthy(all.map(|at| target(at, "x")).collect());
    let dead = kill(&mut light, first().chain(second()).chain([host(7, 7)]));
    light.pass(2 * MINUTE);
    let firing = told(&light, dead);
    let keys: BTreeSet<_> = firing.iter().map(|(_, update)| key(update)).collect();
    let expected = [None, Some("10.20.1.0/24"), Some("10.20.2.0/24")];
    assert_eq!(keys, BTreeSet::from(expected));
    assert_eq!(firing.len(), 3);
    assert!(firing.iter().all(|(at, _)| at.since(dead) < MINUTE), "{firing:#?}");
}

/// A sweep finds out over a whole interval who is gone, and looks take as long again.
#[test]
fn who_is_judged_first_waits_for_those_that_have_fallen_silent() {
    let group = || (1..=20).map(|last| host(1, last));
    let others = (2..=4).flat_map(|subnet| (1..=50).map(move |last| host(subnet, last)));
    let mut light = healthy(group().chain(others).map(|at| target(at, "x")).collect());
    let dead = kill(&mut light, group().take(2));
    light.pass(Duration::from_secs(22));
    kill(&mut light, group());
    light.pass(2 * MINUTE);
    let firing = told(&light, dead);
    let keys: Vec<_> = firing.iter().map(|(_, update)| key(update)).collect();
    assert_eq!(keys, [Some("10.20.1.0/24")]);
}

#[test]
fn whoever_still_fails_after_its_group_is_told_alone() {
    let group = || (1..=20).map(|last| host(1, last));
    let others = (2..=4).flat_map(|subnet| (1..=50).map(move |last| host(subnet, last)));
    let mut light = healthy(group().chain(others).map(|at| target(at, "x")).collect());
    kill(&mut light, group());
    light.pass(2 * MINUTE);
    let healed = kill(&mut light, [host(1, 9)]);
    light.pass(5 * MINUTE);
    let updates = told(&light, healed);
    assert_eq!(updates.len(), 2, "{updates:#?}");
    let (over, group) = &updates[0];
    assert_eq!((group.state, key(group)), (IncidentState::Resolved, Some("10.20.1.0/24")));
    let (at, alone) = &updates[1];
    assert!(matches!(&alone.subject, Subject::Target(target) if target.host == "10.20.1.9"));
    assert_eq!(alone.state, IncidentState::Firing);
    let waited = at.since(*over);
    assert!((2 * MINUTE..3 * MINUTE).contains(&waited), "{waited:?}");
    let healed = kill(&mut light, []);
    light.pass(2 * MINUTE);
    let updates = told(&light, healed);
    assert_eq!(updates.len(), 1);
    assert_eq!(updates[0].1.fingerprint, alone.fingerprint);
}

#[test]
fn a_lone_target_around_which_nobody_is_heard_is_told_all_the_same() {
    let lone = host(1, 1);
    let mut light = Light::new(5, &plan(vec![target(lone, "x")]), Box::new(|_, _| false));
    light.pass(5 * MINUTE);
    let firing = told(&light, Instant::ZERO);
    let [(_, firing)] = &firing[..] else { panic!("{firing:#?}") };
    assert_eq!((firing.state, firing.class), (IncidentState::Firing, Class::HostSilent));
    let report = firing.report.as_ref().unwrap();
    let causes: Vec<_> = report.verdict.causes.iter().map(|part| &*part.cause).collect();
    assert!(causes.contains(&"vantage_uplink"), "{causes:?}");
    let healed = kill(&mut light, []);
    light.pass(2 * MINUTE);
    let over = told(&light, healed);
    let [(_, over)] = &over[..] else { panic!("{over:#?}") };
    assert_eq!(over.state, IncidentState::Resolved);
}

#[test]
fn a_group_goes_on_after_a_restart() {
    let group = || (1..=20).map(|last| host(1, last));
    let targets = || group().map(|at| target(at, "x")).collect();
    let mut light = Light::new(5, &plan(targets()), Box::new(|_, _| false));
    let members: Vec<_> = group().map(|at| TargetName::new(&at.to_string())).collect();
    let (kind, class) = (AlertKind::Unreachable, Class::HostSilent);
    for target in members.iter().cloned() {
        let opening = Box::default();
        let firing = Input::Firing { target, kind, class, version: 1, opening };
        light.monitor.handle(light.now, firing);
    }
    let key = GroupKey::parse("10.20.1.0/24").unwrap();
    let opening = Opening {
        started: Moment::Dated(7),
        severity: Severity::Critical,
        labels: BTreeMap::from([("sg".to_owned(), "old".to_owned())]),
    };
    let told_before = opening.clone();
    let restored = RestoredGroup { key, kind, class, version: 3, members, opening };
    light.monitor.handle(light.now, Input::FiringGroup(Box::new(restored)));
    light.pass(2 * MINUTE);
    assert!(told(&light, Instant::ZERO).is_empty(), "nobody is told twice");
    kill(&mut light, []);
    light.pass(2 * MINUTE);
    let updates = told(&light, Instant::ZERO);
    assert_eq!(updates.len(), 1);
    assert_eq!(updates[0].1.state, IncidentState::Resolved);
    let over = &updates[0].1;
    assert!(over.version > 3);
    // What receivers know it by is what they were told, not what the plan says now.
    let Subject::Group(group) = &over.subject else { panic!("{over:#?}") };
    let opening =
        Opening { started: over.started, severity: over.severity, labels: group.labels.clone() };
    assert_eq!(opening, told_before);
}

#[test]
fn a_group_is_told_again_when_a_louder_member_joins_and_never_falls_quiet() {
    let quiet = || (1..=20).map(|last| host(1, last));
    let others = || (2..=4).flat_map(|subnet| (1..=50).map(move |last| host(subnet, last)));
    let loud = host(1, 21);
    let with = |at: Ipv4Addr, severity| {
        let mut target = target(at, "x");
        target.severity = severity;
        target.labels.insert("rack".to_owned(), at.octets()[3].to_string());
        target
    };
    let targets = quiet().chain(others()).map(|at| with(at, Severity::Warning));
    let targets = targets.chain([with(loud, Severity::Critical)]).collect();
    let mut light = healthy(targets);
    let dead = kill(&mut light, quiet());
    light.pass(MINUTE);
    let opened = told(&light, dead);
    let [(_, opened)] = &opened[..] else { panic!("{opened:#?}") };
    assert_eq!((key(opened), opened.severity), (Some("10.20.1.0/24"), Severity::Warning));
    let labels = |update: &IncidentUpdate| match &update.subject {
        Subject::Group(group) => (group.labels.clone(), group.member_labels.len()),
        Subject::Target(_) | Subject::Vantage(_) => panic!("{update:#?}"),
    };
    let shared = BTreeMap::from([("sg".to_owned(), "x".to_owned())]);
    assert_eq!(labels(opened).0, shared);

    let worse = kill(&mut light, quiet().chain([loud]));
    light.pass(MINUTE);
    let risen = told(&light, worse);
    let [(_, risen)] = &risen[..] else { panic!("{risen:#?}") };
    assert_eq!((risen.state, risen.severity), (IncidentState::Firing, Severity::Critical));
    assert_eq!(risen.fingerprint, opened.fingerprint);
    assert_eq!(labels(risen), (shared.clone(), 21));

    // The loud one is well again long before the others.
    kill(&mut light, quiet());
    light.pass(2 * MINUTE);
    let healed = kill(&mut light, []);
    light.pass(2 * MINUTE);
    let over = told(&light, healed);
    let [(_, over)] = &over[..] else { panic!("{over:#?}") };
    assert_eq!((over.state, over.severity), (IncidentState::Resolved, Severity::Critical));
    assert_eq!(labels(over).0, shared);
}

#[test]
fn a_group_whose_targets_are_taken_from_the_plan_ends_in_its_own_words() {
    let group = || (1..=20).map(|last| host(1, last));
    let others = || (2..=4).flat_map(|subnet| (1..=50).map(move |last| host(subnet, last)));
    let mut light = healthy(group().chain(others()).map(|at| target(at, "x")).collect());
    kill(&mut light, group());
    light.pass(2 * MINUTE);
    let removed = light.now;
    let left = others().map(|at| target(at, "x")).collect();
    light.monitor.handle(light.now, Input::Plan(Box::new(plan(left))));
    light.pass(MINUTE);
    let updates = told(&light, removed);
    assert_eq!(updates.len(), 1, "{updates:#?}");
    let (_, over) = &updates[0];
    assert_eq!((over.state, key(over)), (IncidentState::Resolved, Some("10.20.1.0/24")));
    assert!(over.summary.0.contains("10.20.1."), "{over:#?}");
    assert!(!over.next_step.0.is_empty() && !over.next_step.1.is_empty());
}

/// The routers behind which half of the subnets lie limit their errors: each was heard on the way
/// to some targets only, and is on the way to all.
#[test]
fn a_dead_edge_is_one_alert_though_few_looks_have_heard_it() {
    for seed in 0..6 {
        let mut world = Cloud { vantages: 2, subnets: 8, hosts: 5, canaries: 0 }.build(seed);
        for (name, like) in [("e2", "e1"), ("f1", "x1"), ("f2", "x2")] {
            let number = u8::try_from(world.routers.len()).unwrap();
            let mut router = world.routers[like].clone();
            router.v4 = Ipv4Addr::new(172, 16, number, 1).into();
            router.limit = Some(IcmpLimit::new(2.0, 6.0));
            world.routers.insert(name.to_owned(), router);
        }
        world.router("e1").limit = Some(IcmpLimit::new(2.0, 6.0));
        for subnet in 0..8 {
            let edge = if subnet < 4 { ["e1", "f1"] } else { ["e2", "f2"] };
            let routers = &mut world.subnets.get_mut(&address(subnet, 0)).unwrap().routers;
            let edge = edge.map(str::to_owned);
            routers.splice(2..3, edge);
        }
        let hosts = (0..8).flat_map(|subnet| (10..15).map(move |last| address(subnet, last)));
        let plan = scene::plan(&world, hosts.map(rdp).collect());
        let mut run = Run::new(Purpose::Watch, seed, world);
        run.plan(&plan);
        run.pass(20 * MINUTE);
        let dead = run.now;
        run.world.router("e1").rule(Match::default(), Action::DropBeforeTtl);
        run.pass(2 * MINUTE);
        let firing = run.steps(dead, IncidentState::Firing);
        let said: Vec<_> = firing.iter().map(|update| &update.summary.0).collect();
        assert_eq!(firing.len(), 1, "seed {seed}: {said:#?}");
        assert!(key(firing[0]).is_some_and(|key| key.starts_with("via ")), "{said:#?}");
    }
}

/// A router without a route answers once in three seconds: what one of three hosts hears of it is
/// true of the others that fell silent with it.
#[test]
fn what_a_router_says_of_one_is_said_of_its_neighbours() {
    for seed in 0..8 {
        let mut world = Cloud { vantages: 2, subnets: 2, hosts: 4, canaries: 1 }.build(seed);
        world.router("e1").limit = Some(IcmpLimit::new(0.3, 1.0));
        let hosts: Vec<_> = (10..14).map(|last| address(0, last)).collect();
        let plan = scene::plan(&world, hosts.iter().copied().map(rdp).collect());
        let mut run = Run::new(Purpose::Watch, seed, world);
        run.plan(&plan);
        run.pass(3 * MINUTE);
        let subnet = Match { subnet: Some(address(0, 0)), ..Match::default() };
        run.world.router("e1").rule(subnet, Action::Refuse(3, 1));
        run.pass(MINUTE);
        for row in &run.monitor.snapshot().targets {
            assert_eq!(row.class, Class::NoRoute, "seed {seed}: {}", row.target.name);
        }
    }
}

/// What is said of one host is true of that host alone where it is the router beside it that says
/// so, or where others of the subnet answer.
#[test]
fn what_is_said_of_one_host_alone_is_not_said_of_its_neighbours() {
    for seed in 0..8 {
        let mut world = Cloud { vantages: 2, subnets: 2, hosts: 4, canaries: 1 }.build(seed);
        world.subnets.get_mut(&address(0, 0)).unwrap().absent =
            Absent::Unreachable(Duration::from_secs(3));
        let hosts: Vec<_> = (10..14).map(|last| address(0, last)).collect();
        let plan = scene::plan(&world, hosts.iter().copied().map(rdp).collect());
        let mut run = Run::new(Purpose::Watch, seed, world);
        run.plan(&plan);
        run.pass(3 * MINUTE);
        if seed % 2 == 0 {
            run.world.hosts.remove(&address(0, 10));
            run.world.router("x2").rule(Match::dest("10.0.0.11"), Action::Drop);
        } else {
            // A router before the last one refuses one, and drops the other: two stay well.
            let edge = run.world.router("e1");
            edge.rule(Match::dest("10.0.0.10"), Action::Refuse(3, 1));
            edge.rule(Match::dest("10.0.0.11"), Action::Drop);
        }
        run.pass(MINUTE);
        let class = |last: u8| {
            let (host, snapshot) = (address(0, last).to_string(), run.monitor.snapshot());
            let row = snapshot.targets.iter().find(|row| row.target.host == host);
            row.unwrap().class
        };
        assert_ne!(class(10), Class::Blackhole, "seed {seed}");
        assert_eq!(class(11), Class::Blackhole, "seed {seed}");
    }
}
