//! Nothing answers, or routers say why: faults of the whole address.

use std::fs;

use anyhow::{Context, Result, ensure};
use reachd_lab::server::rdp_confirm;
use reachd_lab::{Addresses, Chain, ChainSpec, Family, Hook, Lab, Match, Node, inside, test_name};

use super::{LONG, RDP, SHORT, both};
use crate::support::{Round, Seen, check};

type Expectation = fn(&Seen) -> Result<()>;

const BLACKHOLE: Expectation = |seen| {
    seen.surely("blackhole", 0.8)?;
    seen.shows("sibling_path", "further")
};
/// The gateway says that the host does not answer its neighbour discovery.
const HOST_GONE: Expectation = |seen| {
    seen.surely("host_silent", 0.9)?;
    seen.shows("unreachable_delay", "delayed")?;
    seen.no_single_cause()
};
/// Nobody says anything: the host may also be up, with echo and the port filtered.
const HOST_SILENT: Expectation = |seen| {
    seen.shows("sibling_path", "same")?;
    seen.is_spread_over(&["host_silent", "security_group"], 0.1)
};
const NO_ROUTE: Expectation = |seen| {
    seen.surely("no_route", 0.7)?;
    seen.shows("last_hop", "stops")
};
const LOOP: Expectation = |seen| {
    seen.surely("routing_loop", 0.8)?;
    seen.shows("last_hop", "loops")
};
const REJECTED: Expectation = |seen| {
    seen.surely("rejected", 0.7)?;
    seen.shows("unreachable", "prohibited")
};

/// Looks at some addresses at once, from a cold start, over both families.
fn look(vantage: &Node, variant: &str, cases: &[(&str, Addresses, Expectation)]) -> Result<()> {
    let mut round = Round::default();
    for (title, at, expect) in cases {
        for (family, target) in both(*at, RDP) {
            round.ask(&format!("{title}, {family}, {variant}"), check(vantage, &target), expect)?;
        }
    }
    round.finish()
}

#[test]
fn dropped_upstream_behind_three_routers() {
    inside(test_name!(), |lab| look_upstream(lab, SHORT, "3 routers, TTL 128"));
}

#[test]
fn dropped_upstream_behind_six_routers() {
    inside(test_name!(), |lab| look_upstream(lab, LONG, "6 routers, TTL 64"));
}

fn look_upstream(lab: &mut Lab, spec: ChainSpec, variant: &str) -> Result<()> {
    let chain = Chain::build(lab, spec)?;
    let (v1, lan) = (&chain.v1, &chain.lan);
    let (target, n1, n2) = (lan.target_at, lan.n1_at, lan.n2_at);
    let before_last = chain.r(usize::from(spec.routers) - 1);
    let faults = [
        lab.blackhole_route(chain.r(2), target)?,
        lab.drop_forward(before_last, &Match::all().to(n1))?,
        lab.drop_prerouting(before_last, &Match::all().to(n2))?,
    ];
    look(
        v1,
        variant,
        &[
            ("blackhole route at hop 2", target, BLACKHOLE),
            ("all dropped in forward before the gateway", n1, BLACKHOLE),
            ("all dropped in prerouting before the gateway", n2, BLACKHOLE),
        ],
    )?;
    faults.into_iter().try_for_each(reachd_lab::Fault::heal)?;

    let faults = [
        lab.unreachable_route(chain.r(2), target)?,
        lab.loop_between(before_last, chain.gateway(), n1)?,
        lab.no_route(chain.r(1), n2)?,
    ];
    look(
        v1,
        variant,
        &[
            ("unreachable route at hop 2", target, NO_ROUTE),
            ("loop before the gateway", n1, LOOP),
            ("no route at hop 1", n2, NO_ROUTE),
        ],
    )?;
    faults.into_iter().try_for_each(reachd_lab::Fault::heal)?;

    let _faults = [
        lab.prohibit_route(chain.r(2), target)?,
        lab.loop_between(chain.r(1), chain.r(2), n1)?,
        lab.no_route(chain.gateway(), n2)?,
    ];
    look(
        v1,
        variant,
        &[
            ("prohibited route at hop 2", target, REJECTED),
            ("loop at the first router", n1, LOOP),
            ("no route at the gateway", n2, NO_ROUTE),
        ],
    )
}

#[test]
fn silent_hosts_behind_three_routers() {
    inside(test_name!(), |lab| look_at_hosts(lab, SHORT, "3 routers, TTL 128"));
}

#[test]
fn silent_hosts_behind_six_routers() {
    inside(test_name!(), |lab| look_at_hosts(lab, LONG, "6 routers, TTL 64"));
}

fn look_at_hosts(lab: &mut Lab, spec: ChainSpec, variant: &str) -> Result<()> {
    let chain = Chain::build(lab, spec)?;
    let (v1, lan) = (&chain.v1, &chain.lan);
    let (target, n1, n2) = (lan.target_at, lan.n1_at, lan.n2_at);
    let faults = [
        lab.drop_input(&lan.target, &Match::all().from(chain.v1_at))?,
        lab.drop_forward(chain.gateway(), &Match::all().to(n1))?,
        lab.link_down(&lan.n2, &lan.switch)?,
    ];
    look(
        v1,
        variant,
        &[
            ("all dropped by the host", target, HOST_SILENT),
            ("all dropped in forward at the gateway", n1, HOST_SILENT),
            ("the host's link is down", n2, HOST_GONE),
        ],
    )?;
    faults.into_iter().try_for_each(reachd_lab::Fault::heal)?;

    let _faults = [
        lab.bridge_drop(&lan.switch, &Match::all().to(target))?,
        lab.drop_prerouting(chain.gateway(), &Match::all().to(n1))?,
        lab.address_remove(&lan.n2)?,
    ];
    look(
        v1,
        variant,
        &[
            ("all dropped by the switch", target, HOST_SILENT),
            ("all dropped in prerouting at the gateway", n1, BLACKHOLE),
            ("the host is gone", n2, HOST_GONE),
        ],
    )
}

/// Without the sibling trace nobody can tell a blackhole from a dead host, so neither is claimed.
#[test]
fn without_siblings_the_silence_stays_undecided() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, SHORT)?;
        let lan = &chain.lan;
        let folder = tempfile::tempdir().context("make a folder")?;
        let config = folder.path().join("reachd.toml");
        let mut text = String::new();
        for (name, at) in [("hole", lan.target_at), ("dead", lan.n1_at)] {
            for (family, host) in [("4", at.v4.to_string()), ("6", at.v6.to_string())] {
                text += &format!(
                    "[[target]]\nname = \"{name}{family}\"\nhost = \"{host}\"\nsiblings = \"off\"\n"
                );
            }
        }
        fs::write(&config, text).context("write a file")?;
        let _faults = [
            lab.blackhole_route(chain.r(2), lan.target_at)?,
            lab.drop_input(&lan.n1, &Match::all().from(chain.v1_at))?,
        ];
        let mut round = Round::default();
        for name in ["hole4", "hole6", "dead4", "dead6"] {
            let words = format!("{name} --config {}", config.display());
            let title = format!("siblings off, {name}");
            round.ask(&title, check(&chain.v1, &words), |seen| {
                seen.is_spread_over(&["blackhole", "host_silent"], 0.15)
            })?;
        }
        round.finish()
    });
}

/// With the last routers mute, the sibling's path looks like the target's own.
#[test]
fn behind_mute_routers_the_silence_stays_undecided() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, LONG)?;
        let lan = &chain.lan;
        // A dead gateway address would tell: the neighbours' first address is the gateway itself.
        let _faults = [
            lab.silence_router(chain.r(4))?,
            lab.silence_router(chain.r(5))?,
            lab.silence_router(chain.r(6))?,
            lab.drop_input(chain.r(6), &Match::echo().from(chain.v1_at))?,
            lab.blackhole_route(chain.r(4), lan.target_at)?,
            lab.drop_input(&lan.n1, &Match::all().from(chain.v1_at))?,
        ];
        let undecided: Expectation =
            |seen| seen.is_spread_over(&["blackhole", "host_silent"], 0.15);
        look(
            &chain.v1,
            "6 routers, TTL 64",
            &[
                ("blackhole behind mute routers", lan.target_at, undecided),
                ("dead host behind mute routers", lan.n1_at, undecided),
            ],
        )
    });
}

/// A host that never answers echo and whose port is filtered may as well be off: these are the very
/// bytes of a host that drops everything, and get the very verdict.
#[test]
fn filtered_echo_and_port_are_not_overclaimed() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, SHORT)?;
        let lan = &chain.lan;
        let _services = [rdp_confirm(&lan.target, RDP)?, rdp_confirm(&lan.n1, RDP)?];
        let (target, n1) = (lan.target_at, lan.n1_at);
        let _faults = [
            lab.drop_input(&lan.target, &Match::echo())?,
            lab.drop_input(&lan.target, &Match::tcp(RDP))?,
            lab.drop_forward(chain.gateway(), &Match::echo().to(n1))?,
            lab.drop_forward(chain.gateway(), &Match::tcp(RDP).to(n1))?,
        ];
        look(
            &chain.v1,
            "3 routers, TTL 128",
            &[
                ("echo and port dropped by the host", target, HOST_SILENT),
                ("echo and port dropped at the gateway", n1, HOST_SILENT),
            ],
        )
    });
}

/// A guard lets a source in until it has seen so many packets of it, and nothing from then on.
#[test]
fn a_host_that_bans_whoever_asks_is_judged_by_its_silence() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, SHORT)?;
        let lan = &chain.lan;
        let _services = [rdp_confirm(&lan.target, RDP)?, rdp_confirm(&lan.n1, RDP)?];
        // The first packets, and then the first packets with an answer of the service.
        let mut faults = Vec::new();
        for (node, most) in [(&lan.target, 8), (&lan.n1, 24)] {
            for family in Family::BOTH {
                let from = Match::all().from(chain.v1_at).family(family);
                let bans = format!("numgen inc mod 1000000 > {most} counter name taken drop");
                faults.push(lab.filter(node, Hook::Prerouting, &from, &bans)?);
            }
        }
        let mut round = Round::default();
        for (title, at) in [("banned at once", lan.target_at), ("banned soon", lan.n1_at)] {
            for (family, target) in both(at, RDP) {
                round.ask(&format!("{title}, {family}"), check(&chain.v1, &target), |seen| {
                    seen.shows("syn", "silent")?;
                    seen.is_spread_over(&["blackhole", "host_silent", "source_blocked"], 0.02)?;
                    let said = seen.document["verdict"]["summary"].as_str().unwrap_or_default();
                    ensure!(said.contains("probes at first, and none of"), "{said}");
                    Ok(())
                })?;
            }
        }
        round.finish()
    });
}
