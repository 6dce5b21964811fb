//! Counts are exact whatever the packets pass: `lo`, a bridge, a device on a lower device, one on
//! a bridge, and a way back that is not the way out.
//!
//! The device on a lower one is a VLAN where the kernel has 802.1Q. Where it has not (the kernels
//! this was written on), it is a macvlan in passthru mode, which does to a capture the same as a
//! VLAN: each packet passes the upper and the lower device under one hardware address, so the ring
//! sees two copies that leave and two that come to us.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reachd_lab::server::{self, TcpServer};
use reachd_lab::{Addresses, Family, Lab, Node, Subnet, inside, test_name};

use super::books::{
    Aim, Books, Gauge, agree, configuration, counters, nothing_broke, rest, start, swept,
};
use super::wires::{address, own_address, route, warm, wire};
use crate::daemon::harness::Ground;

const RDP: u16 = 3389;
const SWEPT_WITHIN: Duration = Duration::from_secs(40);

/// The devices of one vantage, a target behind each.
struct Place {
    v: Node,
    aims: Vec<Aim>,
    /// Where the probes toward each pair of targets are counted, and with what hop limit.
    gauges: Vec<(Node, u8, Vec<Aim>)>,
    servers: Vec<TcpServer>,
}

impl Place {
    fn target(&mut self, name: &str, node: &Node, ttl: u8, at: Addresses) -> Result<()> {
        let aims: Vec<_> = at.both().map(|at| Aim::new(name, at)).into();
        self.aims.extend(aims.clone());
        self.gauges.push((node.clone(), ttl, aims));
        self.servers.push(server::rdp_confirm(node, RDP)?);
        Ok(())
    }
}

fn build(lab: &mut Lab) -> Result<Place> {
    let v = lab.host("v")?;
    let mut place =
        Place { v: v.clone(), aims: Vec::new(), gauges: Vec::new(), servers: Vec::new() };
    let own = Subnet::lan(60, 0).host(1);
    own_address(&v, own)?;
    place.target("lo", &v, 64, own)?;
    behind_bridge(lab, &mut place)?;
    behind_upper(lab, &mut place)?;
    behind_upper_on_bridge(lab, &mut place)?;
    asymmetric(lab, &mut place)?;
    warm(&v, place.aims.iter().map(|aim| aim.at))?;
    Ok(place)
}

fn bridge(v: &Node, name: &str, port: &str) -> Result<()> {
    let lines = [
        format!("link add {name} type bridge stp_state 0 mcast_snooping 0"),
        format!("link set {port} master {name}"),
        format!("link set {name} up"),
    ];
    v.ip(Family::V4, &lines)
}

/// Lays a device over another: a VLAN, or what is nearest to it on this kernel.
///
/// Says whether frames on the lower device are tagged, so that the far side must untag them.
fn upper(v: &Node, lower: &str, name: &str) -> Result<bool> {
    let add = |kind: &str| format!("link add link {lower} name {name} type {kind}");
    let up = format!("link set {name} up");
    let vlan = v.ip(Family::V4, &[add("vlan id 5"), up.clone()]);
    match vlan {
        Ok(()) => return Ok(true),
        Err(error) if format!("{error:#}").contains("Unknown device type") => {}
        Err(error) => return Err(error),
    }
    println!("this kernel has no 802.1Q: {name} is a macvlan in passthru mode");
    v.ip(Family::V4, &[add("macvlan mode passthru"), up])?;
    Ok(false)
}

fn behind_bridge(lab: &mut Lab, place: &mut Place) -> Result<()> {
    let t = lab.host("tb")?;
    wire((&place.v, "pb"), (&t, "e0"))?;
    bridge(&place.v, "br0", "pb")?;
    let subnet = Subnet::lan(61, 0);
    address(&place.v, "br0", subnet, 1)?;
    let at = address(&t, "e0", subnet, 2)?;
    place.target("bridge", &t, 64, at)
}

fn behind_upper(lab: &mut Lab, place: &mut Place) -> Result<()> {
    let t = lab.host("tv")?;
    wire((&place.v, "pv"), (&t, "e0"))?;
    far_side(place, &t, ("pv", "up0"), 62, "upper")
}

fn behind_upper_on_bridge(lab: &mut Lab, place: &mut Place) -> Result<()> {
    let t = lab.host("ts")?;
    wire((&place.v, "ps"), (&t, "e0"))?;
    bridge(&place.v, "br1", "ps")?;
    far_side(place, &t, ("br1", "up1"), 63, "stack")
}

fn far_side(
    place: &mut Place,
    t: &Node,
    (lower, name): (&str, &str),
    block: u8,
    target: &str,
) -> Result<()> {
    let tagged = upper(&place.v, lower, name)?;
    let device = if tagged { "e0.5" } else { "e0" };
    if tagged {
        upper(t, "e0", device)?;
    }
    let subnet = Subnet::lan(block, 0);
    address(&place.v, name, subnet, 1)?;
    let at = address(t, device, subnet, 2)?;
    place.target(target, t, 64, at)
}

/// `v - ra - ta` is the way out, `ta - rb - v` the way back.
fn asymmetric(lab: &mut Lab, place: &mut Place) -> Result<()> {
    let t = lab.host("ta")?;
    let (out, back) = (lab.router("ra")?, lab.router("rb")?);
    let v = place.v.clone();
    wire((&v, "out"), (&out, "to-v"))?;
    wire((&v, "back"), (&back, "to-v"))?;
    wire((&out, "to-t"), (&t, "out"))?;
    wire((&back, "to-t"), (&t, "back"))?;
    let [v_out, v_back, t_out, t_back] = [64, 65, 66, 67].map(|block| Subnet::lan(block, 0));
    address(&v, "out", v_out, 1)?;
    address(&v, "back", v_back, 1)?;
    address(&out, "to-v", v_out, 2)?;
    address(&back, "to-v", v_back, 2)?;
    address(&out, "to-t", t_out, 1)?;
    address(&back, "to-t", t_back, 1)?;
    let at = address(&t, "out", t_out, 2)?;
    address(&t, "back", t_back, 2)?;
    route(&v, t_out, v_out.host(2), "")?;
    route(&t, v_out, t_back.host(1), "")?;
    route(&back, v_out, v_back.host(1), "")?;
    place.target("asym", &t, 63, at)
}

/// Counts echo replies that come to us on each of these devices, before the ring sees them or just
/// after: this shows that copies were there to be mistaken.
fn count_copies(v: &Node, devices: &[&str]) -> Result<()> {
    let mut script = String::from("table netdev copies {\n");
    for device in devices {
        script += &format!("  counter on_{device} {{ }}\n");
    }
    for device in devices {
        script += &format!(
            "  chain {device} {{\n    type filter hook ingress device {device} priority 0;\n    \
             meta pkttype host meta l4proto {{ icmp, ipv6-icmp }} counter name on_{device}\n  }}\n"
        );
    }
    v.nft(&(script + "}\n"))
}

/// Reads the counters of every place probes pass.
fn read(gauges: &[Gauge]) -> Result<BTreeMap<String, u64>> {
    let mut all = BTreeMap::new();
    for gauge in gauges {
        all.extend(gauge.read()?);
    }
    Ok(all)
}

/// Each packet counts once: on `lo`, over a bridge, over a device on a lower device (two copies),
/// over one on a bridge (three copies), and when the answer comes back elsewhere.
#[test]
fn every_device_counts_once() {
    inside(test_name!(), |lab| {
        let place = build(lab)?;
        let upper_lower = ["br0", "pb", "up0", "pv", "up1", "br1", "ps", "out", "back"];
        count_copies(&place.v, &upper_lower)?;
        let gauges = place.gauges.iter().map(|(node, ttl, aims)| Gauge::set(node, *ttl, aims));
        let gauges = gauges.collect::<Result<Vec<_>>>()?;
        let daemon = start(&place.v, &configuration("", &place.aims))?;
        daemon.until_page("all are swept", SWEPT_WITHIN, |page| swept(page, &place.aims, 16, 9))?;
        let (page, wire) = rest(&daemon, || read(&gauges))?;
        agree(&page, &wire, &place.aims)?;
        ensure!(page.sum("reachd_unmatched_answers_total", &[]) == 0.0, "answers proved nothing");
        let copies = counters(&place.v)?;
        println!("echo replies and other ICMP to us, by device: {copies:?}");
        let on = |device: &str| copies.get(&format!("on_{device}")).copied().context("no counter");
        for (above, below) in [("br0", "pb"), ("up0", "pv"), ("up1", "br1"), ("br1", "ps")] {
            ensure!(
                on(above)? >= 32 && on(below)? >= on(above)?,
                "no copies of {above} on {below}"
            );
        }
        // What came on the way out is neighbour discovery at most.
        ensure!(on("back")? >= 32 && on("out")? < 16, "the way back is not another");
        daemon.stop().map(drop)
    });
}

/// A vantage without the right to open a ring still counts each packet once on the same devices.
#[test]
fn sockets_count_once_too() {
    inside(test_name!(), |lab| {
        let place = build(lab)?;
        let configuration = configuration("", &place.aims);
        let ground = Ground::new(&place.v, &configuration)?;
        let words = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"];
        let daemon = ground.below(&words).start()?;
        daemon.until_page("all are swept", SWEPT_WITHIN, |page| swept(page, &place.aims, 16, 9))?;
        let (page, ()) = rest(&daemon, || Ok(()))?;
        ensure!(page.count("reachd_vantage_info", &[("mode", "sockets")]) == 1, "has a ring");
        for aim in &place.aims {
            for probe in ["echo", "syn", "connect"] {
                let books = Books::of(&page, &aim.name, probe);
                if books != Books::clean(books.sent) {
                    bail!("{} {probe}: {books:?}", aim.name);
                }
            }
        }
        nothing_broke(&page)?;
        daemon.stop().map(drop)
    });
}
