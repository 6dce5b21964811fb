//! A namespace that is deleted and made again under the same name is noticed and reopened.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reachd_lab::server::rdp_confirm;
use reachd_lab::{Family, Lab, Node, Subnet, inside, test_name, wait_until};

use super::books::{Aim, Books, Gauge, agree, configuration, rest, resume, start, swept};
use super::wires::{address, warm, wire};
use crate::daemon::harness::{Daemon, SOON};

const RDP: u16 = 3389;
const SWEPT_WITHIN: Duration = Duration::from_secs(40);

fn netns(verb: &str, node: &Node) -> Result<()> {
    let output = Command::new("ip").args(["netns", verb, node.name()]).output();
    let output = output.context("start ip")?;
    ensure!(output.status.success(), "{verb}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Gives the vantage its wire to the target, and its addresses.
fn equip(v: &Node, t: &Node) -> Result<Vec<Aim>> {
    wire((v, "up0"), (t, "e0"))?;
    v.ip(Family::V4, &["link set lo up".into()])?;
    let subnet = Subnet::lan(97, 0);
    address(v, "up0", subnet, 1)?;
    let at = address(t, "e0", subnet, 2)?;
    warm(v, at.both())?;
    Ok(at.both().map(|at| Aim::new("t", at)).into())
}

/// Takes the namespace and its wire away. The daemon still holds the old one open, so the wire does
/// not go by itself.
fn take_away(v: &Node, t: &Node) -> Result<()> {
    t.ip(Family::V4, &["link del e0".into()])?;
    netns("del", v)
}

fn health(daemon: &Daemon, healthy: f64) -> Result<()> {
    daemon
        .until_page("the vantage's health", SOON, |page| {
            page.value("reachd_vantage_healthy", &[("vantage", "there")]) == Some(healthy)
        })
        .map(drop)
}

fn build(lab: &mut Lab) -> Result<(Node, Node, Node)> {
    Ok((lab.host("m")?, lab.host("v")?, lab.host("t")?))
}

/// Deleted for a while, then made again; and then replaced at once, so that only the inode tells.
/// No probe is blamed on the target, and the books agree to the packet over all three namespaces.
#[test]
fn a_namespace_made_again_is_noticed_and_reopened() {
    inside(test_name!(), |lab| {
        let (m, v, t) = build(lab)?;
        let aims = equip(&v, &t)?;
        let _service = rdp_confirm(&t, RDP)?;
        let gauge = Gauge::set(&t, 64, &aims)?;
        let head = "[[vantage]]\nname = \"there\"\nnetns = \"v\"\n";
        let daemon = start(&m, &configuration(head, &aims))?;
        daemon.until_page("swept", SWEPT_WITHIN, |page| swept(page, &aims, 12, 5))?;
        let (page, wire) = rest(&daemon, || gauge.read())?;
        agree(&page, &wire, &aims)?;

        take_away(&v, &t)?;
        health(&daemon, 0.0)?;
        let says = |word: &str| daemon.log().contains(word);
        ensure!(says("namespace v was deleted or replaced"), "the log does not say so");
        netns("add", &v)?;
        equip(&v, &t)?;
        health(&daemon, 1.0)?;
        again(&daemon, &gauge, &aims)?;

        let noticed = || daemon.log().matches("deleted or replaced").count();
        let before = noticed();
        take_away(&v, &t)?;
        netns("add", &v)?;
        equip(&v, &t)?;
        // The sweep rests: what it sent before this would go into a namespace without a wire.
        wait_until(SOON, || noticed() > before).context("the replacement went unnoticed")?;
        again(&daemon, &gauge, &aims)?;
        daemon.stop().map(drop)
    });
}

/// Probes come over the new wire, and every one of them is on both books.
fn again(daemon: &Daemon, gauge: &Gauge, aims: &[Aim]) -> Result<()> {
    let page = daemon.metrics()?;
    let echoes = aims.iter().map(|aim| Books::of(&page, &aim.name, "echo").sent).max();
    let syns = aims.iter().map(|aim| Books::of(&page, &aim.name, "syn").sent).max();
    resume(daemon)?;
    let more = (echoes.unwrap_or(0) + 4, syns.unwrap_or(0) + 3);
    daemon.until_page("swept again", SWEPT_WITHIN, |page| swept(page, aims, more.0, more.1))?;
    let (page, wire) = rest(daemon, || gauge.read())?;
    agree(&page, &wire, aims)
}
