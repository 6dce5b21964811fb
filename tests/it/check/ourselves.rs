//! The fault is on the probing side, and is never put on the target.

use anyhow::{Result, ensure};
use reachd_lab::server::rdp_confirm;
use reachd_lab::{Addresses, Chain, DeadEnd, Fault, Hook, Lab, Match, Node, inside, test_name};

use super::{RDP, SHORT, both};
use crate::support::{Round, Seen, check};

/// What is broken, how, toward whom, and which value of the `local` signal tells.
struct Break {
    title: &'static str,
    make: fn(&Lab, &Node, Addresses) -> Result<Fault>,
    sign: &'static str,
}

/// Each of these touches one address, so three fit in one round.
const TOWARD_ONE: [Break; 6] = [
    Break {
        title: "no route",
        make: |lab, v1, to| lab.dead_end(v1, to, DeadEnd::NoRoute),
        sign: "no_route",
    },
    Break {
        title: "own blackhole route",
        make: |lab, v1, to| lab.dead_end(v1, to, DeadEnd::Blackhole),
        sign: "no_route",
    },
    Break {
        title: "own filter drops all that leaves",
        make: |lab, v1, to| lab.drop_output(v1, &Match::all().to(to)),
        sign: "blocked",
    },
    Break {
        title: "own filter drops the port",
        make: |lab, v1, to| lab.drop_output(v1, &Match::tcp(RDP).to(to)),
        sign: "blocked",
    },
    Break {
        title: "own filter drops the answers",
        make: |lab, v1, to| {
            let answers = Match::tcp_from(RDP).from(to).and("tcp flags & (syn | ack) == syn | ack");
            lab.drop_input(v1, &answers)
        },
        sign: "blocked",
    },
    Break {
        title: "own filter rejects the port",
        make: |lab, v1, to| {
            let reject = "counter name taken reject with icmpx type admin-prohibited";
            lab.filter(v1, Hook::Output, &Match::tcp(RDP).to(to), reject)
        },
        sign: "blocked",
    },
];

fn ours(seen: &Seen, sign: &str) -> Result<()> {
    seen.surely("vantage_fault", 0.8)?;
    seen.shows("local", sign)?;
    let scope = &seen.document["verdict"]["scope"];
    ensure!(scope == "ourselves", "scope {scope}");
    ensure!(seen.code == 3, "exit {}", seen.code);
    Ok(())
}

/// Asks for a target over both families, and expects the fault to be ours.
fn ask(round: &mut Round<'_>, v1: &Node, fault: (&str, &'static str), to: Addresses) -> Result<()> {
    let (title, sign) = fault;
    for (family, target) in both(to, RDP) {
        let title = format!("{title}, {family}");
        round.ask(&title, check(v1, &target), move |seen| ours(seen, sign))?;
    }
    Ok(())
}

#[test]
fn our_own_routes_and_filters() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, SHORT)?;
        let lan = &chain.lan;
        let _services = [
            rdp_confirm(&lan.target, RDP)?,
            rdp_confirm(&lan.n1, RDP)?,
            rdp_confirm(&lan.n2, RDP)?,
        ];
        let targets = [lan.target_at, lan.n1_at, lan.n2_at];
        for breaks in TOWARD_ONE.chunks(targets.len()) {
            let mut faults = Vec::new();
            let mut round = Round::default();
            for (broken, to) in breaks.iter().zip(targets) {
                faults.push((broken.make)(lab, &chain.v1, to)?);
                ask(&mut round, &chain.v1, (broken.title, broken.sign), to)?;
            }
            round.finish()?;
            faults.into_iter().try_for_each(Fault::heal)?;
        }
        // Healed, all is well again: the faults were the reason.
        let mut round = Round::default();
        for (family, target) in targets.into_iter().flat_map(|to| both(to, RDP)) {
            let title = format!("healed, {family}");
            round.ask(&title, check(&chain.v1, &target), |seen| seen.surely("reachable", 0.9))?;
        }
        round.finish()
    });
}

#[test]
fn our_own_gateway_and_link() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, SHORT)?;
        let _service = rdp_confirm(&chain.lan.target, RDP)?;
        let to = chain.lan.target_at;
        let gone = lab.address_remove(chain.r(1))?;
        let mut round = Round::default();
        ask(&mut round, &chain.v1, ("the gateway is gone", "gateway_silent"), to)?;
        round.finish()?;
        gone.heal()?;
        let _down = lab.link_down(&chain.v1, chain.r(1))?;
        let mut round = Round::default();
        ask(&mut round, &chain.v1, ("the link is down", "no_route"), to)?;
        round.finish()
    });
}

/// A target in the vantage's own network: no gateway stands between, so the target itself is dead.
#[test]
fn a_dead_neighbour_is_not_our_fault() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, SHORT)?;
        let lan = &chain.lan;
        let _service = rdp_confirm(&lan.n1, RDP)?;
        let _fault = lab.address_remove(&lan.target)?;
        let mut round = Round::default();
        for (family, target) in both(lan.target_at, RDP) {
            let title = format!("dead neighbour, {family}");
            round.ask(&title, check(&lan.n2, &target), |seen| seen.is("host_silent"))?;
        }
        // Nor without a neighbour to compare with: the kernel's routes know that it is on our link.
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("reachd.toml");
        let (v4, v6) = (lan.target_at.v4, lan.target_at.v6);
        let alone = |name: &str, host: String| {
            format!("[[target]]\nname = \"{name}\"\nhost = \"{host}\"\nsiblings = \"off\"\n")
        };
        let text = alone("four", v4.to_string()) + &alone("six", v6.to_string());
        std::fs::write(&config, text)?;
        for name in ["four", "six"] {
            let words = format!("{name} --config {}", config.display());
            let title = format!("dead neighbour, siblings off, {name}");
            round.ask(&title, check(&lan.n2, &words), |seen| seen.is("host_silent"))?;
        }
        for (family, target) in both(lan.n1_at, RDP) {
            let title = format!("healthy neighbour, {family}");
            round.ask(&title, check(&lan.n2, &target), |seen| seen.surely("reachable", 0.9))?;
        }
        for (family, target) in both(lan.n1_at, 4011) {
            let title = format!("closed port of a neighbour, {family}");
            round.ask(&title, check(&lan.n2, &target), |seen| seen.surely("port_closed", 0.9))?;
        }
        round.finish()
    });
}

/// One fault of ours and one of a target in one call: the exit code speaks for the target.
#[test]
fn exit_codes_of_several_targets() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, SHORT)?;
        let lan = &chain.lan;
        let _service = rdp_confirm(&lan.target, RDP)?;
        let _fault = lab.dead_end(&chain.v1, lan.n2_at, DeadEnd::NoRoute)?;
        let (up, closed, ours) = (lan.target_at.v4, lan.n1_at.v4, lan.n2_at.v4);
        let mut round = Round::default();
        let calls = [
            (format!("{up} {ours}"), vec!["reachable", "vantage_fault"], 3),
            (format!("{closed} {ours} {up}"), vec!["port_closed", "vantage_fault", "reachable"], 1),
        ];
        for (words, classes, code) in calls {
            round.ask_many(&words.clone(), check(&chain.v1, &words), move |seen| {
                let found: Vec<_> = seen.iter().map(Seen::class).collect();
                ensure!(found == classes, "{found:?}, expected {classes:?}");
                ensure!(seen.iter().all(|seen| seen.code == code), "exit {}", seen[0].code);
                Ok(())
            })?;
        }
        round.finish()
    });
}
