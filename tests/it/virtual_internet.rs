//! Tier T1: the real binary, its ring and the kernel's TCP against a virtual Internet behind a TUN
//! device, for what no kernel here can do: delay and jitter, bursts of loss, duplicated, late and
//! forged answers, equal paths, limits of any shape, answers of any hop limit.

use std::time::Duration;

use anyhow::{Result, ensure};
use reachd_lab::internet::{Counts, Internet, Weather};
use reachd_lab::{Lab, inside, test_name};
use reachd_sim::{
    Action, Cloud, IcmpLimit, Link, Loss, Match, Port, Speaks, Transport, World, address, address6,
};

use crate::support::{Round, Seen, check};

const HOST: &str = "10.0.0.10";

/// From here on a class counts as one of those that are named.
const PLAUSIBLE: f64 = 0.05;

/// One vantage, two subnets, three Windows servers in each.
fn world(seed: u64) -> World {
    Cloud { vantages: 1, subnets: 2, hosts: 3, canaries: 0 }.build(seed)
}

/// What is wrong with a world, and what a check of its first host must say.
struct Case {
    title: &'static str,
    spoil: fn(&mut World),
    weather: Weather,
    judge: fn(&Seen) -> Result<()>,
}

const FAIR: Weather = Weather { late: None, forged: 0.0 };
/// Somebody guesses at every packet.
const FORGED: Weather = Weather { late: None, forged: 1.0 };

/// Runs every case in a world and a namespace of its own, all at once, over both families.
fn look_at_all(lab: &mut Lab, cases: &[Case]) -> Result<Vec<Counts>> {
    let mut round = Round::default();
    let mut open = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let mut world = world(7 + number as u64);
        (case.spoil)(&mut world);
        let node = lab.host(&format!("v{number}"))?;
        open.push(Internet::open(&node, "a", world, case.weather)?);
        for (family, target) in [
            ("IPv4", format!("{}:3389", address(0, 10))),
            ("IPv6", format!("[{}]:3389", address6(0, 10))),
        ] {
            let title = format!("{}, {family}", case.title);
            round.ask(&title, check(&node, &target), case.judge)?;
        }
    }
    round.finish()?;
    Ok(open.iter().map(Internet::counts).collect())
}

fn both(change: impl Fn(&mut reachd_sim::Host), world: &mut World) {
    for at in [address(0, 10), address6(0, 10)] {
        change(world.host(&at.to_string()));
    }
}

/// A rule about the first host in both families.
fn rule(world: &mut World, router: &str, transport: Transport, action: Action) {
    for at in [address(0, 10), address6(0, 10)] {
        world.router(router).rule(Match::dest(&at.to_string()).of(transport), action);
    }
}

#[test]
fn what_healthy_networks_do_is_no_failure() {
    inside(test_name!(), |lab| {
        let reachable: fn(&Seen) -> Result<()> = |seen| seen.surely("reachable", 0.9);
        let counts = look_at_all(
            lab,
            &[
                Case {
                    title: "jitter of 30 ms, every other answer twice, limited routers, forgeries",
                    spoil: |world| {
                        world.duplicates = 0.5;
                        for router in world.routers.values_mut() {
                            router.jitter = Duration::from_millis(30);
                            router.limit = Some(IcmpLimit::new(1.0, 1.0));
                        }
                    },
                    weather: FORGED,
                    judge: reachable,
                },
                Case {
                    title: "400 ms to the far side of the world",
                    spoil: |world| world.router("x1").delay = Duration::from_millis(200),
                    weather: FAIR,
                    judge: reachable,
                },
                Case {
                    title: "answers that start from a hop limit of 60",
                    spoil: |world| both(|host| host.initial_ttl = 60, world),
                    weather: FAIR,
                    judge: reachable,
                },
                Case {
                    title: "four equal paths",
                    spoil: |world| world.fan("x2", 4),
                    weather: FAIR,
                    judge: reachable,
                },
                Case {
                    title: "a third of the answers much too late, at no timer's time",
                    spoil: |_| {},
                    weather: Weather { late: Some((0.33, Duration::from_millis(1_800))), ..FAIR },
                    judge: reachable,
                },
            ],
        )?;
        ensure!(counts[0].forged > 100, "{:?}", counts[0]);
        ensure!(counts[4].late > 3, "{:?}", counts[4]);
        Ok(())
    });
}

#[test]
fn what_only_a_virtual_network_can_do_is_named() {
    inside(test_name!(), |lab| {
        look_at_all(
            lab,
            &[
                Case {
                    title: "blackhole at the edge, forgeries in the host's name",
                    spoil: |world| rule(world, "e1", Transport::Any, Action::DropBeforeTtl),
                    weather: FORGED,
                    judge: |seen| seen.surely("blackhole", 0.6),
                },
                Case {
                    title: "a dead host, forgeries in its name",
                    spoil: |world| both(|host| host.alive = false, world),
                    weather: FORGED,
                    judge: |seen| seen.is_spread_over(&["host_silent", "blackhole"], 0.05),
                },
                Case {
                    title: "bursts that take a third",
                    spoil: |world| {
                        let (good, bad) = (Duration::from_millis(400), Duration::from_millis(200));
                        world.router("x1").forth = Link::new(Loss::Bursts { good, bad });
                    },
                    weather: FAIR,
                    judge: |seen| seen.surely("packet_loss", 0.7),
                },
                Case {
                    title: "a loop between two routers",
                    spoil: |world| rule(world, "e1", Transport::Any, Action::Return),
                    weather: FAIR,
                    judge: |seen| seen.surely("routing_loop", 0.9),
                },
                Case {
                    title: "a reset of the host's own hop limit but from the path",
                    spoil: |world| {
                        world.router("x1").initial_ttl = 128;
                        let forged = Action::Reset { forward: true };
                        rule(world, "x1", Transport::Syn(3389), forged);
                    },
                    weather: FAIR,
                    judge: |seen| seen.surely("reset_injected", 0.9),
                },
                Case {
                    title: "a port closed by a host that starts from a hop limit of 255",
                    spoil: |world| {
                        both(
                            |host| {
                                host.initial_ttl = 255;
                                host.ports.insert(3389, Port::Closed);
                            },
                            world,
                        );
                    },
                    weather: FAIR,
                    judge: |seen| seen.surely("port_closed", 0.9),
                },
                Case {
                    title: "a service whose confirmation never comes",
                    spoil: |world| {
                        let hung = Port::Open(Speaks::Nothing);
                        both(|host| drop(host.ports.insert(3389, hung.clone())), world);
                    },
                    weather: FAIR,
                    judge: |seen| seen.surely("service_hung", 0.9),
                },
            ],
        )?;
        Ok(())
    });
}

/// Which path a flow takes is chance, and so is whether one look meets both: of six targets it does
/// for nearly all. Where all flows but one or two meet the dead path, one look may find the loss
/// only, with the dead member among its causes. Nothing else may be said of any.
#[test]
fn one_of_two_equal_paths_is_dead() {
    inside(test_name!(), |lab| {
        let mut world = world(5);
        world.fan("x2", 2);
        world.router("x2.1").rule(Match::default().of(Transport::Tcp), Action::Drop);
        let node = lab.host("v")?;
        let _internet = Internet::open(&node, "a", world, FAIR)?;
        let targets = (0..2).flat_map(|net| (10..13).map(move |host| address(net, host)));
        let words: Vec<_> = targets.map(|at| format!("{at}:3389")).collect();
        let mut round = Round::default();
        round.ask_many("six targets", check(&node, &words.join(" ")), |seen| {
            let named = |class: &str| seen.iter().filter(|seen| seen.class() == class).count();
            let (split, missed) = (named("partial_path"), named("reachable"));
            let doubted = |seen: &&Seen| {
                seen.class() == "packet_loss" && seen.mass("partial_path") >= PLAUSIBLE
            };
            let doubted = seen.iter().filter(doubted).count();
            ensure!(split >= 4, "{split} split, {doubted} doubted, {missed} missed");
            ensure!(split + doubted + missed == 6, "{split} split, {doubted} doubted");
            Ok(())
        })?;
        round.finish()
    });
}

#[test]
fn a_world_that_changes_is_followed() {
    inside(test_name!(), |lab| {
        let node = lab.host("v")?;
        let internet = Internet::open(&node, "a", world(3), FAIR)?;
        let ask = |class: &'static str| -> Result<()> {
            let mut round = Round::default();
            let target = format!("{HOST}:3389");
            round.ask(class, check(&node, &target), move |seen| seen.is(class))?;
            round.finish()
        };
        ask("reachable")?;
        internet.change(|world| {
            world.router("e1").rule(Match::dest(HOST).of(Transport::Port(3389)), Action::Drop);
        });
        ask("security_group")?;
        internet.change(|world| world.router("e1").rules.clear());
        ask("reachable")
    });
}
