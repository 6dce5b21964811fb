//! The sweep behind a default-drop stateful input, with and without the shipped notrack rules.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reachd_lab::server::rdp_confirm;
use reachd_lab::{Lab, Node, Subnet, inside, test_name};

use super::books::{Aim, Books, configuration, counters, start};
use super::wires::{address, warm, wire};

const RDP: u16 = 3389;
const CLOSED: u16 = 4001;
const VERDICT_WITHIN: Duration = Duration::from_secs(40);
/// Probes that must have gone by: the books are then worth reading.
const ENOUGH: u64 = 12;

/// The operator's own input chain, with the accept that the notrack rules need in its place.
fn firewall(node: &Node, accept: &str) -> Result<()> {
    // The test's own requests to the daemon are not what is counted here.
    node.nft(
        "table inet own {\n  chain out { type filter hook output priority raw; oif lo notrack; }\n  \
         chain in { type filter hook prerouting priority raw; iif lo notrack; }\n}\n",
    )?;
    node.nft(&format!(
        "table inet filter {{\n  chain input {{\n    \
         type filter hook input priority filter; policy drop;\n    iif lo accept\n\
         {accept}\n    ct state invalid drop\n    ct state established,related accept\n    \
         icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert }} accept\n  \
         }}\n}}\n"
    ))
}

fn shipped(name: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/nftables").join(name);
    fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
}

/// Resets that arrive at the far side, from the ports of SYN probes.
fn count_resets(node: &Node) -> Result<()> {
    node.nft(
        "table inet seen {\n  counter resets { }\n  chain seen {\n    \
         type filter hook prerouting priority -300;\n    \
         tcp sport >= 61000 tcp flags & rst == rst counter name resets\n  }\n}\n",
    )
}

fn half_open(node: &Node) -> Result<usize> {
    let table = node.run(&["cat", "/proc/net/tcp", "/proc/net/tcp6"])?;
    // 03 is SYN_RECV (Linux include/net/tcp_states.h).
    Ok(table.lines().filter(|line| line.split_whitespace().nth(3) == Some("03")).count())
}

fn watch(lab: &mut Lab, notrack: bool) -> Result<()> {
    let (v, t) = (lab.host("v")?, lab.host("t")?);
    wire((&v, "e0"), (&t, "e0"))?;
    let subnet = Subnet::lan(91, 0);
    address(&v, "e0", subnet, 1)?;
    let at = address(&t, "e0", subnet, 2)?;
    warm(&v, at.both())?;
    let _server = rdp_confirm(&t, RDP)?;
    count_resets(&t)?;
    if notrack {
        firewall(&v, &shipped("reachd-accept.nft")?)?;
        v.nft(&shipped("reachd-notrack.nft")?)?;
    } else {
        firewall(&v, "")?;
    }
    let more = |port: u16, service: &str| format!("port = {port}\nservice = \"{service}\"");
    let mut aims = Vec::new();
    for at in at.both() {
        aims.push(Aim::new("open", at).with(&more(RDP, "rdp")));
        aims.push(Aim::new("closed", at).with(&more(CLOSED, "tcp")));
    }
    let daemon = start(&v, &configuration("", &aims))?;
    let page = daemon.until_page("classes and probes enough", VERDICT_WITHIN, |page| {
        aims.iter().all(|aim| {
            let class = if aim.name.starts_with("open") { "reachable" } else { "port_closed" };
            let enough = |probe| Books::of(page, &aim.name, probe).sent >= ENOUGH;
            page.class(&aim.name).as_deref() == Some(class) && enough("echo") && enough("syn")
        })
    })?;
    for Aim { name, .. } in &aims {
        for probe in ["echo", "syn"] {
            let books = Books::of(&page, name, probe);
            println!("{name} {probe}: {books:?}");
            ensure!(books.received == books.sent, "{name} {probe}: {books:?}");
        }
    }
    let tracked = v.run(&["cat", "/proc/sys/net/netfilter/nf_conntrack_count"])?;
    let tracked: u64 = tracked.trim().parse().context("read the tracking table's size")?;
    let resets = counters(&t)?.get("resets").copied().unwrap_or(0);
    let waiting = half_open(&t)?;
    println!("{tracked} connections tracked, {resets} resets arrived, {waiting} half open");
    // Each SYN-ACK of both families is answered by the kernel's reset.
    ensure!(resets >= ENOUGH * 2, "{resets} resets");
    ensure!(waiting <= 2, "{waiting} connections were left half open");
    if notrack {
        // Full connections are tracked as everybody's are; probes are not.
        ensure!(tracked < 2 * ENOUGH, "{tracked} entries: probes are tracked");
    }
    daemon.stop().map(drop)
}

/// With the notrack rules and their accept, probes pass a default-drop stateful input untracked.
#[test]
fn probes_pass_a_stateful_input_untracked() {
    inside(test_name!(), |lab| watch(lab, true));
}

/// Without them connection tracking lets the answers in: dearer, and as true.
#[test]
fn probes_pass_a_stateful_input_tracked() {
    inside(test_name!(), |lab| watch(lab, false));
}
