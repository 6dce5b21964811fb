//! An own firewall that eats what the ring has seen is our fault, never the target's.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reachd_core::monitor::FIRST_PORT;
use reachd_lab::server::rdp_confirm;
use reachd_lab::{Hook, Match, Node, Subnet, inside, test_name, wait_until};

use super::books::{Aim, Books, configuration, start};
use super::wires::{address, warm, wire};
use crate::daemon::harness::SOON;

/// Connections at a node that a probe of ours began and nobody ended.
fn half_open_probes(node: &Node) -> Result<usize> {
    let table = node.run(&["cat", "/proc/net/tcp", "/proc/net/tcp6"])?;
    let is_probe = |line: &&str| {
        let mut words = line.split_whitespace().skip(2);
        let port = words.next().and_then(|peer| peer.rsplit_once(':')).map(|(_, port)| port);
        let port = port.and_then(|port| u16::from_str_radix(port, 16).ok());
        // 03 is SYN_RECV (Linux include/net/tcp_states.h).
        words.next() == Some("03") && port.is_some_and(|port| port >= FIRST_PORT)
    };
    Ok(table.lines().filter(is_probe).count())
}

const RDP: u16 = 3389;
const VERDICT_WITHIN: Duration = Duration::from_secs(40);

/// SYN-ACKs dropped in input, or already in prerouting: the ring reads before both, so SYN probes
/// are answered while full connections fail.
#[test]
fn eaten_answers_are_a_vantage_fault() {
    inside(test_name!(), |lab| {
        let v = lab.host("v")?;
        let (mut aims, mut targets) = (Vec::new(), Vec::new());
        let mut kept = Vec::new();
        for (name, block, hook) in
            [("input", 86, Hook::Input), ("prerouting", 87, Hook::Prerouting)]
        {
            let t = lab.host(&format!("t-{}", &name[..3]))?;
            let ours = format!("to-{name}");
            wire((&v, &ours), (&t, "e0"))?;
            let subnet = Subnet::lan(block, 0);
            address(&v, &ours, subnet, 1)?;
            let at = address(&t, "e0", subnet, 2)?;
            warm(&v, at.both())?;
            aims.extend(at.both().map(|at| Aim::new(name, at)));
            let answers = Match::tcp_from(RDP).from(at);
            let answers = answers.and("tcp flags & (syn | ack) == syn | ack");
            kept.push((rdp_confirm(&t, RDP)?, lab.filter(&v, hook, &answers, "drop")?));
            targets.push(t);
        }
        let daemon = start(&v, &configuration("", &aims))?;
        let page = daemon.until_page("our fault", VERDICT_WITHIN, |page| {
            let ours = |aim: &Aim| page.class(&aim.name).as_deref() == Some("vantage_fault");
            aims.iter().all(ours)
        })?;
        for (_, fault) in &kept {
            let eaten = fault.counters()?.taken;
            println!("{eaten} answers eaten");
            ensure!(eaten > 0, "nothing was eaten");
        }
        for Aim { name, .. } in &aims {
            let [syn, connect] = ["syn", "connect"].map(|probe| Books::of(&page, name, probe));
            println!("{name}: {syn:?} {connect:?}");
            ensure!(syn.received == syn.sent && syn.received > 2, "{name}: syn {syn:?}");
            ensure!(connect.received == 0 && connect.sent > 0, "{name}: connect {connect:?}");
        }
        // Our kernel, which never saw the acceptances, resets nothing: probes are reset by us.
        for target in &targets {
            wait_until(SOON, || half_open_probes(target).is_ok_and(|count| count <= 1))
                .with_context(|| format!("{:?} half open", half_open_probes(target)))?;
        }
        let firing = page.sum("reachd_incidents", &[("class", "security_group")]);
        ensure!(firing == 0.0, "a target was blamed");
        daemon.stop().map(drop)
    });
}

/// What our own firewall drops or refuses on its way out is nobody's loss: not the SYNs, not the
/// full connections, which the kernel itself takes for timed out or refused by the target.
#[test]
fn packets_refused_here_are_neither_lost_nor_answered() {
    inside(test_name!(), |lab| {
        let (v, t) = (lab.host("v")?, lab.host("t")?);
        wire((&v, "e0"), (&t, "e0"))?;
        let subnet = Subnet::lan(88, 0);
        address(&v, "e0", subnet, 1)?;
        let at = address(&t, "e0", subnet, 2)?;
        warm(&v, at.both())?;
        let mut aims = Vec::new();
        let mut kept = Vec::new();
        for (name, port, verdict) in
            [("dropped", 4001, "drop"), ("refused", 4002, "reject with tcp reset")]
        {
            let outgoing = Match::tcp(port).to(at);
            kept.push((rdp_confirm(&t, port)?, lab.filter(&v, Hook::Output, &outgoing, verdict)?));
            let more = format!("port = {port}\nservice = \"tcp\"\nconnect_interval = \"5s\"");
            aims.extend(at.both().map(|at| Aim::new(name, at).with(&more)));
        }
        let daemon = start(&v, &configuration("", &aims))?;
        let page = daemon.until_page("connections tried", VERDICT_WITHIN, |page| {
            let tried = |aim: &Aim, probe| Books::of(page, &aim.name, probe).sent >= 2;
            aims.iter().all(|aim| tried(aim, "connect") && tried(aim, "syn"))
        })?;
        for Aim { name, .. } in &aims {
            for probe in ["syn", "connect"] {
                let books = Books::of(&page, name, probe);
                println!("{name} {probe}: {books:?}");
                let fault = Books { sent: books.sent, invalid: books.sent, ..Books::default() };
                ensure!(books == fault, "{name} {probe}: {books:?}");
            }
        }
        for (_, fault) in &kept {
            ensure!(fault.counters()?.taken > 0, "nothing was refused");
        }
        daemon.stop().map(drop)
    });
}
