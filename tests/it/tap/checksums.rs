//! Checksums are judged where they are final, and only there.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reachd_lab::server::{self, TcpServer};
use reachd_lab::{Lab, Node, Subnet, inside, test_name};

use super::books::{Aim, Books, Gauge, agree, configuration, nothing_broke, rest, start, swept};
use super::wires::{address, route, warm, wire};
use crate::daemon::page::Page;

const SWEPT_WITHIN: Duration = Duration::from_secs(40);
const RDP: u16 = 3389;

struct Pair {
    /// Where probes are counted: the target, or the router before it.
    counted: Node,
    aims: Vec<Aim>,
    _server: TcpServer,
}

fn set_offload(node: &Node, device: &str, wanted: bool) -> Result<()> {
    let word = if wanted { "on" } else { "off" };
    if !wanted {
        node.run(&["ethtool", "-K", device, "tx", word])?;
    }
    let features = node.run(&["ethtool", "-k", device])?;
    let is_so = features.contains(&format!("tx-checksum-ip-generic: {word}"));
    ensure!(is_so, "{device} of {node} is not so: {features}");
    Ok(())
}

/// A target on a wire of its own; with or without offload at both ends.
fn pair(lab: &mut Lab, v: &Node, (name, block): (&str, u8), offload: bool) -> Result<Pair> {
    let t = lab.host(name)?;
    let ours = format!("to-{name}");
    wire((v, &ours), (&t, "e0"))?;
    set_offload(v, &ours, offload)?;
    set_offload(&t, "e0", offload)?;
    let subnet = Subnet::lan(block, 0);
    address(v, &ours, subnet, 1)?;
    let aims: Vec<_> = address(&t, "e0", subnet, 2)?.both().map(|at| Aim::new(name, at)).into();
    let server = server::rdp_confirm(&t, RDP)?;
    warm(v, aims.iter().map(|aim| aim.at))?;
    Ok(Pair { counted: t, aims, _server: server })
}

/// A target behind a router that garbles its answers on the way and mends no checksum.
///
/// Without offload, for with it nobody has computed a checksum that could be wrong by then.
fn garbled(lab: &mut Lab, v: &Node) -> Result<Pair> {
    let (t, router) = (lab.host("t")?, lab.router("r")?);
    wire((v, "to-r"), (&router, "to-v"))?;
    wire((&router, "to-t"), (&t, "e0"))?;
    let devices = [(v, "to-r"), (&router, "to-v"), (&router, "to-t"), (&t, "e0")];
    devices.iter().try_for_each(|(node, device)| set_offload(node, device, false))?;
    let (near, far) = (Subnet::lan(83, 0), Subnet::lan(84, 0));
    address(v, "to-r", near, 1)?;
    let via = address(&router, "to-v", near, 2)?;
    let back = address(&router, "to-t", far, 1)?;
    let at = address(&t, "e0", far, 2)?;
    route(v, far, via, "")?;
    route(&t, near, back, "")?;
    warm(v, at.both())?;
    router.nft(
        "table inet garble {\n  counter garbled { }\n  chain garble {\n    \
         type filter hook forward priority 0;\n    \
         tcp sport 3389 tcp checksum set 0x1234 counter name garbled\n    \
         icmp type echo-reply icmp checksum set 0x1234 counter name garbled\n    \
         icmpv6 type echo-reply icmpv6 checksum set 0x1234 counter name garbled\n  }\n}\n",
    )?;
    let aims = at.both().map(|at| Aim::new("garbled", at)).into();
    Ok(Pair { counted: router, aims, _server: server::rdp_confirm(&t, RDP)? })
}

fn probes(aims: &[Aim]) -> impl Iterator<Item = (&str, &'static str)> {
    aims.iter().flat_map(|aim| ["echo", "syn"].map(|probe| (aim.name.as_str(), probe)))
}

/// With offload, segments travel with a checksum that nobody has computed: none may be taken for
/// corrupt. Without it, every checksum is judged: none is wrong, and those that are wrong count as
/// no answer.
#[test]
fn offload_is_not_corruption_and_corruption_is_no_answer() {
    inside(test_name!(), |lab| {
        let v = lab.host("v")?;
        let with = pair(lab, &v, ("with", 81), true)?;
        let without = pair(lab, &v, ("without", 82), false)?;
        let garbled = garbled(lab, &v)?;
        let aims = [with.aims.as_slice(), &without.aims].concat();
        let gauges = [
            Gauge::set(&with.counted, 64, &with.aims)?,
            Gauge::set(&without.counted, 64, &without.aims)?,
            Gauge::set(&garbled.counted, 64, &garbled.aims)?,
        ];
        let all = [aims.as_slice(), &garbled.aims].concat();
        let daemon = start(&v, &configuration("", &all))?;
        let page =
            daemon.until_page("all are swept", SWEPT_WITHIN, |page| swept(page, &aims, 16, 9))?;
        for (name, probe) in probes(&garbled.aims) {
            let here = Books::of(&page, name, probe);
            let all_lost =
                Books { sent: here.sent, lost: here.sent, silent: here.sent, ..Books::default() };
            ensure!(here == all_lost && here.sent > 5, "{name} {probe} was believed: {here:?}");
        }
        garbled.counted.nft("delete table inet garble")?;
        let healed = |page: &Page| swept(page, &all, 16, 9);
        daemon.until_page("all are well", SWEPT_WITHIN, healed)?;
        let (page, wire) = rest(&daemon, || {
            let mut wire = gauges[0].read()?;
            wire.extend(gauges[1].read()?);
            wire.extend(gauges[2].read()?);
            Ok(wire)
        })?;
        agree(&page, &wire, &aims)?;
        for (name, probe) in probes(&garbled.aims) {
            let there = *wire.get(&format!("{name}_{probe}")).context("no counter")?;
            let here = Books::of(&page, name, probe);
            println!("{name} {probe}: {there} on the wire, {here:?}");
            // Our kernel refused the garbled acceptances too, so the target repeats them, and the
            // first one that passes is late. Nobody repeats an echo reply.
            let late = if probe == "syn" { here.late.min(here.lost) } else { 0 };
            let (lost, silent) = (here.lost, here.lost);
            let received = there - lost;
            let silent = Books { sent: there, received, lost, silent, late, ..Books::default() };
            ensure!(here == silent, "{name} {probe}: {there} on the wire, {here:?}");
        }
        nothing_broke(&page)?;
        daemon.stop().map(drop)
    });
}
