//! What a vantage is bound to decides the way its packets go: source address, interface, mark.
//!
//! `v` has two ways to `t`, by `ra` and by `rb`; without more it uses `ra`. Each vantage has a
//! target address of its own, so that counters at the two routers say which way each one went.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reachd_lab::server::rdp_confirm;
use reachd_lab::{Addresses, Family, Lab, Node, Subnet, inside, test_name};

use super::books::{Aim, Gauge, agree, configuration, rest, start, swept};
use super::wires::{address, own_address, route, wire};

const RDP: u16 = 3389;
const SWEPT_WITHIN: Duration = Duration::from_secs(40);

struct Fork {
    v: Node,
    t: Node,
    ra: Node,
    rb: Node,
}

fn targets() -> Subnet {
    Subnet::lan(90, 0)
}

fn sources() -> Subnet {
    Subnet::lan(91, 0)
}

/// Builds both ways; everything goes by `ra` unless a vantage is bound.
fn build(lab: &mut Lab) -> Result<Fork> {
    let (v, t) = (lab.host("v")?, lab.host("t")?);
    let (ra, rb) = (lab.router("ra")?, lab.router("rb")?);
    for (router, near, far) in [(&ra, 92, 94), (&rb, 93, 95)] {
        let (near, far) = (Subnet::lan(near, 0), Subnet::lan(far, 0));
        let ours = format!("to-{router}");
        wire((&v, &ours), (router, "to-v"))?;
        wire((router, "to-t"), (&t, &ours))?;
        address(&v, &ours, near, 1)?;
        address(router, "to-v", near, 2)?;
        address(router, "to-t", far, 1)?;
        address(&t, &ours, far, 2)?;
        route(router, targets(), far.host(2), "")?;
        route(router, sources(), near.host(1), "")?;
        // Answers to an interface's own address come back by that interface's router.
        route(&t, near, far.host(1), "")?;
    }
    let (by_ra, by_rb) = (Subnet::lan(92, 0).host(2), Subnet::lan(93, 0).host(2));
    route(&t, sources(), Subnet::lan(94, 0).host(1), "")?;
    route(&v, targets(), by_ra, "metric 100")?;
    route(&v, targets(), by_rb, "metric 200")?;
    own_address(&v, sources().host(1))?;
    own_address(&v, sources().host(2))?;
    for (via, table, mark, source) in [(by_ra, 101, 7, 1), (by_rb, 102, 8, 2)] {
        route(&v, targets(), via, &format!("table {table}"))?;
        let source: Addresses = sources().host(source);
        for family in Family::BOTH {
            let from = source.of(family);
            let lines = [
                format!("rule add from {from} lookup {table}"),
                format!("rule add fwmark {mark} lookup {table}"),
            ];
            v.ip(family, &lines)?;
        }
    }
    Ok(Fork { v, t, ra, rb })
}

/// A vantage, what binds it, and whether `ra` or `rb` is its way; its target follows.
struct Bound {
    name: &'static str,
    binding: String,
    by_ra: bool,
    families: &'static [Family],
}

fn vantages() -> Vec<Bound> {
    let mut all = Vec::new();
    for (number, by_ra) in [(1, true), (2, false)] {
        let at = sources().host(number);
        let names = if by_ra { ["src-a4", "src-a6"] } else { ["src-b4", "src-b6"] };
        let families: [&[Family]; 2] = [&[Family::V4], &[Family::V6]];
        for ((name, families), family) in names.into_iter().zip(families).zip(Family::BOTH) {
            let binding = format!("source = \"{}\"", at.of(family));
            all.push(Bound { name, binding, by_ra, families });
        }
        let (device, mark) = if by_ra { ("to-ra", 7) } else { ("to-rb", 8) };
        let names = if by_ra { ["dev-a", "mark-a"] } else { ["dev-b", "mark-b"] };
        let bindings = [format!("interface = \"{device}\""), format!("mark = {mark}")];
        for (name, binding) in names.into_iter().zip(bindings) {
            all.push(Bound { name, binding, by_ra, families: &Family::BOTH });
        }
    }
    let binding = String::new();
    all.push(Bound { name: "free", binding, by_ra: true, families: &Family::BOTH });
    all
}

/// Nine vantages in one process: every packet of each goes its own way, full connections too.
#[test]
fn bindings_decide_the_way() {
    inside(test_name!(), |lab| {
        let fork = build(lab)?;
        lab.settle()?;
        let mut head = String::new();
        let (mut by_ra, mut by_rb) = (Vec::new(), Vec::new());
        for (number, bound) in (1..).zip(vantages()) {
            head += &format!("[[vantage]]\nname = \"{}\"\n{}\n", bound.name, bound.binding);
            let at = targets().host(number);
            own_address(&fork.t, at)?;
            for family in bound.families {
                let only = format!("vantages = [\"{}\"]", bound.name);
                let name = bound.name.replace('-', "_");
                let aim = Aim::new(&format!("{name}_"), at.of(*family)).with(&only);
                if bound.by_ra { by_ra.push(aim) } else { by_rb.push(aim) }
            }
        }
        let _service = rdp_confirm(&fork.t, RDP)?;
        let all = [by_ra.as_slice(), &by_rb].concat();
        let gauges = [Gauge::set(&fork.ra, 64, &all)?, Gauge::set(&fork.rb, 64, &all)?];
        let daemon = start(&fork.v, &configuration(&head, &all))?;
        daemon.until_page("all are swept", SWEPT_WITHIN, |page| swept(page, &all, 13, 6))?;
        let (page, [at_ra, at_rb]) = rest(&daemon, || Ok([gauges[0].read()?, gauges[1].read()?]))?;
        agree(&page, &at_ra, &by_ra)?;
        agree(&page, &at_rb, &by_rb)?;
        for (elsewhere, aims) in [(&at_rb, &by_ra), (&at_ra, &by_rb)] {
            for aim in aims {
                for probe in ["echo", "syn", "connect"] {
                    let strays = elsewhere.get(&format!("{}_{probe}", aim.name));
                    let strays = strays.context("no counter")?;
                    ensure!(*strays == 0, "{strays} {probe} of {} went the other way", aim.name);
                }
            }
        }
        daemon.stop().map(drop)
    });
}
