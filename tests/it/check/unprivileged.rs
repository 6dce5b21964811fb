//! Without CAP_NET_RAW: what is still named, and what is honestly not.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use reachd_lab::server::{self, dns, rdp_confirm};
use reachd_lab::{Addresses, Chain, DeadEnd, Fault, Match, Node, With, inside, test_name};

use super::sources::config;
use super::{LONG, RDP, SHORT, both};
use crate::support::{Round, Seen, check_unprivileged, run};

type Expectation = fn(&Seen) -> Result<()>;

/// What every verdict without capture says.
fn is_modest(seen: &Seen) -> Result<()> {
    seen.notes("no_capture")?;
    let mode = &seen.vantage()["mode"];
    ensure!(mode == "sockets", "mode {mode}");
    Ok(())
}

fn look(v1: &Node, cases: &[(&str, Addresses, u16, Expectation)]) -> Result<()> {
    let mut round = Round::default();
    for (title, at, port, expect) in cases {
        for (family, target) in both(*at, *port) {
            let command = check_unprivileged(v1, &format!("{target} --service rdp"));
            round.ask(&format!("no capability, {title}, {family}"), command, |seen| {
                is_modest(seen)?;
                expect(seen)
            })?;
        }
    }
    round.finish()
}

/// What is told by the kernel's own connect and error queue.
#[test]
fn port_classes_without_capability() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, SHORT)?;
        let (target, at) = (&chain.lan.target, chain.lan.target_at);
        let _servers = [
            rdp_confirm(target, RDP)?,
            rdp_confirm(target, 4001)?,
            rdp_confirm(target, 4021)?,
            server::silent(target, 4041)?,
            server::ssh_banner(target, 4044)?,
        ];
        let packets = |port| Match::tcp(port).to(at);
        let _faults = [
            lab.drop_forward(chain.gateway(), &packets(4001))?,
            lab.reject_forward(chain.gateway(), &packets(4021), With::TcpReset)?,
            lab.reject_forward(chain.r(1), &packets(4022), With::TcpReset)?,
            lab.reject_forward(chain.gateway(), &packets(4031), With::AdminProhibited)?,
            lab.reject_input(target, &packets(4033), With::PortUnreachable)?,
        ];
        let closed: Expectation = |seen| {
            seen.is("port_closed")?;
            ensure!(seen.confidence() <= 0.8, "port_closed with {}", seen.confidence());
            Ok(())
        };
        look(
            &chain.v1,
            &[
                ("healthy", at, RDP, |seen| seen.surely("reachable", 0.9)),
                ("dropped at the gateway", at, 4001, |seen| seen.surely("security_group", 0.9)),
                ("nothing listens", at, 4011, closed),
                ("reset by the gateway", at, 4021, closed),
                ("reset by the first router", at, 4022, closed),
                ("prohibited by the gateway", at, 4031, |seen| seen.surely("rejected", 0.7)),
                ("port unreachable from the host", at, 4033, |seen| seen.surely("rejected", 0.7)),
                ("accepts and says nothing", at, 4041, |seen| seen.surely("service_hung", 0.8)),
                ("SSH instead of RDP", at, 4044, |seen| seen.surely("wrong_service", 0.8)),
            ],
        )
    });
}

/// Faults of a whole address.
#[test]
fn address_classes_without_capability() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, LONG)?;
        let (v1, lan) = (&chain.v1, &chain.lan);
        let (target, n1, n2) = (lan.target_at, lan.n1_at, lan.n2_at);
        let _service = rdp_confirm(&lan.n1, RDP)?;
        let faults = [
            lab.blackhole_route(chain.r(2), target)?,
            lab.drop_input(&lan.n1, &Match::all().from(chain.v1_at))?,
            lab.unreachable_route(chain.r(2), n2)?,
        ];
        look(
            v1,
            &[
                ("blackhole at hop 2", target, RDP, |seen| seen.surely("blackhole", 0.8)),
                ("all dropped by the host", n1, RDP, |seen| {
                    seen.is_spread_over(&["host_silent", "security_group"], 0.1)
                }),
                ("unreachable at hop 2", n2, RDP, |seen| seen.surely("no_route", 0.7)),
            ],
        )?;
        faults.into_iter().try_for_each(Fault::heal)?;

        let _faults = [
            lab.loop_between(chain.r(5), chain.r(6), target)?,
            lab.loss(chain.r(2), 60.0, &Match::all().to(n1))?,
            lab.dead_end(v1, n2, DeadEnd::NoRoute)?,
        ];
        look(
            v1,
            &[
                ("loop before the gateway", target, RDP, |seen| seen.surely("routing_loop", 0.8)),
                ("60 % lost on the way there", n1, RDP, |seen| seen.surely("packet_loss", 0.5)),
                ("no route of our own", n2, RDP, |seen| seen.surely("vantage_fault", 0.8)),
            ],
        )
    });
}

/// Two sources, and names: neither asks for a capability.
#[test]
fn sources_and_names_without_capability() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, SHORT)?;
        let lan = &chain.lan;
        let _service = rdp_confirm(&lan.target, RDP)?;
        let _server = dns(&lan.n2, &[("good.test", &lan.target_at.both())])?;
        lab.set_nameserver(lan.n2_at.v4.into())?;
        let _fault = lab.drop_input(&lan.target, &Match::all().from(chain.v1_at))?;
        let binding = |source: Ipv4Addr| format!("source = \"{source}\"");
        let vantages = [("one", binding(chain.v1_at.v4)), ("two", binding(chain.v1_second.v4))];
        let (_folder, path) = config(&vantages, &[("host", lan.target_at)])?;
        let mut round = Round::default();
        let words = format!("host4 --config {}", path.display());
        let command = check_unprivileged(&chain.v1, &words);
        round.ask("no capability, source blocked", command, |seen| {
            is_modest(seen)?;
            seen.surely("source_blocked", 0.5)
        })?;
        let command = check_unprivileged(&chain.v1, "gone.test");
        round.ask("no capability, name that does not exist", command, |seen| {
            seen.surely("dns_failure", 0.8)
        })?;
        round.finish()
    });
}

/// The report for a person says in its first line what it cannot know.
#[test]
fn the_report_says_first_what_it_cannot_know() {
    inside(test_name!(), |lab| {
        let chain = Chain::build(lab, SHORT)?;
        let _service = rdp_confirm(&chain.lan.target, RDP)?;
        let target = chain.lan.target_at.v4.to_string();
        let ran = run(check_unprivileged(&chain.v1, &target))?;
        ran.says(0, &["reachable"])?;
        let first = ran.stdout.lines().next().unwrap_or_default();
        ensure!(first.starts_with("No CAP_NET_RAW"), "first line: {first}");
        let ran = run(check_unprivileged(&chain.v1, &format!("{target} --lang zh")))?;
        let first = ran.stdout.lines().next().unwrap_or_default();
        ensure!(first.starts_with("没有 CAP_NET_RAW"), "first line: {first}");
        Ok(())
    });
}
