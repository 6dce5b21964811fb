//! A hundred random worlds, plans and faults: the checkers must hold in every one of them.

use std::time::Duration;

use reachd_core::evidence::LocalError;
use reachd_core::monitor::{Input, Purpose};
use reachd_core::plan::Plan;
use reachd_core::target::{Service, Siblings, Target};
use reachd_sim::{
    Absent, Action, Cloud, IcmpLimit, Link, LocalFault, Loss, Match, Name, Port, Random, Run,
    Speaks, Transport, World, address, address6,
};

use crate::scene::{canary, plan, s};

fn small(random: &mut Random, bound: u64) -> u8 {
    random.draw(bound)
}

fn any_loss(random: &mut Random) -> Loss {
    match random.below(3) {
        0 => Loss::None,
        1 => Loss::Independent(random.fraction()),
        _ => Loss::Bursts { good: s(1 + random.below(20)), bad: s(1 + random.below(5)) },
    }
}

/// Turns some of the knobs, as the seed draws them (swarm testing).
fn any_world(random: &mut Random, cloud: Cloud) -> World {
    let mut world = cloud.build(random.next());
    let names: Vec<_> = world.routers.keys().cloned().collect();
    for name in &names {
        let router = world.router(name);
        router.delay = Duration::from_micros(100 + random.below(20_000));
        router.jitter = Duration::from_micros(random.below(30_000));
        router.silent = random.chance(0.15);
        router.limit = random.chance(0.2).then(IcmpLimit::linux);
        router.initial_ttl = *random.pick(&[64, 255]);
        if random.chance(0.05) {
            (router.forth, router.back) =
                (Link::new(any_loss(random)), Link::new(any_loss(random)));
        }
    }
    world.duplicates = if random.chance(0.2) { random.fraction() } else { 0.0 };
    if random.chance(0.5) {
        let absent = Absent::Unreachable(Duration::from_millis(random.below(30_000)));
        world.subnets.values_mut().for_each(|subnet| subnet.absent = absent);
    }
    world
}

fn any_plan(random: &mut Random, world: &mut World, cloud: Cloud) -> Plan {
    let mut targets = Vec::new();
    for number in 0..=random.below(8) {
        let (net, host) =
            (small(random, u64::from(cloud.subnets)), 10 + small(random, u64::from(cloud.hosts)));
        let service = *random.pick(&[Service::Rdp, Service::Rdp, Service::Tcp, Service::Ping]);
        let at = if random.chance(0.3) { address6(net, host) } else { address(net, host) };
        let mut host = at.to_string();
        if random.chance(0.2) {
            host = format!("n{number}.example");
            let all = vec![at, address(net, 10)];
            world.names.insert(host.clone(), Name::Addresses(all));
        }
        let mut target = Target::new(&host, 3389, service);
        if targets.iter().any(|known: &Target| known.host == target.host) {
            continue;
        }
        target.siblings = *random.pick(&[Siblings::Auto, Siblings::Off]);
        target.echo_interval = Duration::from_millis(1_000 + random.below(15_000));
        target.connect_interval = s(20 + random.below(300));
        targets.push(target);
    }
    let mut plan = plan(world, targets);
    plan.canaries = (0..cloud.canaries).map(|n| canary(reachd_sim::canary(n), 443)).collect();
    plan
}

fn any_address(random: &mut Random, world: &World) -> std::net::IpAddr {
    let all: Vec<_> = world.hosts.keys().copied().collect();
    *random.pick(&all)
}

/// Something breaks, or is mended.
fn strike(random: &mut Random, run: &mut Run, plan: &mut Plan) {
    let routers: Vec<_> = run.world.routers.keys().cloned().collect();
    let router = random.pick(&routers).clone();
    let at = any_address(random, &run.world);
    let action = *random.pick(&[
        Action::Drop,
        Action::DropBeforeTtl,
        Action::Refuse(3, 13),
        Action::Refuse(3, 0),
        Action::Return,
        Action::Reset { forward: true },
        Action::Reset { forward: false },
    ]);
    let place = (*random.pick(&["a", "b", "c"])).to_owned();
    match random.below(12) {
        0 | 1 => run.world.router(&router).rule(Match::dest(&at.to_string()), action),
        2 => {
            let when = Match::default().of(Transport::Port(3389));
            run.world.router(&router).rule(when, action);
        }
        3 => run.world.router(&router).forth = Link::new(any_loss(random)),
        4 | 5 => run.world.routers.values_mut().for_each(|router| {
            router.rules.clear();
            router.forth = Link::default();
        }),
        6 | 7 => {
            let ports =
                [Port::Closed, Port::Stealth, Port::Open(Speaks::Nothing), Port::Refused(3, 3)];
            let host = run.world.host(&at.to_string());
            host.ports.insert(3389, random.pick(&ports).clone());
            host.alive = random.chance(0.7);
            host.slow = *random.pick(&[Duration::ZERO, s(4), s(20)]);
        }
        8 if run.world.places.contains_key(&place) => {
            let faults = [
                LocalFault::None,
                LocalFault::Refuses(LocalError::NoRoute),
                LocalFault::RefusesPort(3389, LocalError::Blocked),
                LocalFault::Swallows,
            ];
            run.world.place(&place).fault = *random.pick(&faults);
            run.world.place(&place).resolver = random.chance(0.5);
        }
        9 => run.set_vantage(&place, random.chance(0.5).then_some(LocalError::VantageGone)),
        10 => {
            if plan.targets.len() > 1 && random.chance(0.5) {
                plan.targets.pop();
            } else if let Some(target) = plan.targets.first_mut() {
                target.syn_interval = Duration::from_millis(2_000 + random.below(9_000));
            }
            let plan = plan.clone();
            run.plan(&plan);
        }
        _ => {
            run.input(Input::Lag(s(random.below(6))));
            run.input(Input::ClockStep(s(1)));
        }
    }
}

/// One world's life; gives the transcript's hash.
fn live(seed: u64) -> u64 {
    let mut random = Random::new(seed);
    let cloud = Cloud {
        vantages: 1 + small(&mut random, 3),
        subnets: 1 + small(&mut random, 3),
        hosts: 1 + small(&mut random, 5),
        canaries: small(&mut random, 3),
    };
    let mut world = any_world(&mut random, cloud);
    let mut plan = any_plan(&mut random, &mut world, cloud);
    let purpose = if random.chance(0.2) { Purpose::Once } else { Purpose::Watch };
    let mut run = Run::new(purpose, seed, world);
    run.copies = random.chance(0.3);
    run.capture_loss = if random.chance(0.2) { random.fraction() * 0.2 } else { 0.0 };
    run.forgeries = if random.chance(0.2) { random.fraction() } else { 0.0 };
    // Attempts are told apart by address: names may lead two targets to one.
    run.audits = run.world.names.is_empty();
    run.plan(&plan);
    for _ in 0..8 {
        run.pass(s(5 + random.below(20)));
        strike(&mut random, &mut run, &mut plan);
        let snapshot = run.monitor.snapshot();
        assert!(snapshot.bugs.is_empty(), "seed {seed}: {:?}", snapshot.bugs);
        assert!(snapshot.probes.iter().all(|row| row.counters().adds_up()), "seed {seed}");
    }
    run.pass(s(30));
    run.digest()
}

#[test]
fn a_hundred_worlds_break_nothing() {
    for seed in 0..100 {
        live(seed);
    }
}

#[test]
fn the_same_seed_is_the_same_transcript() {
    for seed in [0, 7, 11, 42] {
        assert_eq!(live(seed), live(seed), "seed {seed}");
    }
    assert_ne!(live(1), live(2));
}
