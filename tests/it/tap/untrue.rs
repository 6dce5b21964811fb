//! A far side in user space that repeats itself, comes late, lies and garbles, over TUN and TAP.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reachd_lab::{Family, Lab, Node, Subnet, inside, test_name};

use super::books::{Aim, Books, configuration, nothing_broke, rest, start};
use super::responder::{Habit, Ledger, Ledgers, Responder};
use super::wires::address;
use crate::daemon::harness::{Daemon, until};
use crate::daemon::page::Page;
use reachd_lab::tun::{self, Kind};

const FIRST_VERDICT: Duration = Duration::from_secs(20);
/// Sweeping a second apart, surveys besides: some come soon.
const PHASE: Duration = Duration::from_secs(20);
const KINDS: [&str; 2] = ["echo", "syn"];
const SERVICE: &str = "port = 443\nservice = \"tcp\"";
const FAR_MAC: &str = "02:00:00:00:00:02";

/// A TUN device with a far host behind it, at one address of each family.
fn tun(v: &Node, block: u8) -> Result<(Responder, Vec<Aim>)> {
    let device = tun::open(v, "tun0", Kind::Tun)?;
    v.ip(Family::V4, &["link set tun0 up".into()])?;
    let subnet = Subnet::lan(block, 0);
    address(v, "tun0", subnet, 1)?;
    let aims = subnet.host(2).both().map(|at| Aim::new("tun", at).with(SERVICE));
    Ok((Responder::start(device, Kind::Tun)?, aims.into()))
}

/// The same behind a bridge whose port is a TAP device: each packet is seen twice.
fn bridged(v: &Node, block: u8) -> Result<(Responder, Vec<Aim>)> {
    let device = tun::open(v, "tap0", Kind::Tap)?;
    let lines = [
        "link add br0 type bridge stp_state 0 mcast_snooping 0",
        "link set tap0 master br0",
        "link set tap0 up",
        "link set br0 up",
    ];
    v.ip(Family::V4, &lines.map(str::to_owned))?;
    let subnet = Subnet::lan(block, 0);
    address(v, "br0", subnet, 1)?;
    for at in subnet.host(2).both() {
        let line = format!("neigh add {at} lladdr {FAR_MAC} dev br0 nud permanent");
        v.ip(Family::of(at), &[line])?;
    }
    let aims = subnet.host(2).both().map(|at| Aim::new("tap", at).with(SERVICE));
    Ok((Responder::start(device, Kind::Tap)?, aims.into()))
}

/// Waits until every ledger of these targets has grown by so much.
fn grown(responder: &Responder, aims: &[Aim], (what, by): (fn(&Ledger) -> u64, u64)) -> Result<()> {
    let before = responder.ledgers();
    let of = |all: &Ledgers, aim: &Aim, kind| all.get(&(aim.at, kind)).map_or(0, what);
    until("probes come", PHASE, || {
        let now = responder.ledgers();
        let has =
            |aim| KINDS.iter().all(|kind| of(&now, aim, *kind) >= of(&before, aim, *kind) + by);
        Ok(aims.iter().all(has).then_some(()))
    })
}

/// What the daemon must say, by the responder's ledger.
fn expected(ledger: &Ledger) -> Books {
    let lost = ledger.asked - ledger.answered;
    Books {
        sent: ledger.asked,
        received: ledger.answered,
        lost,
        silent: lost,
        invalid: 0,
        late: ledger.late,
        duplicate: ledger.again,
    }
}

fn compare(page: &Page, ledgers: &Ledgers, aims: &[Aim]) -> Result<()> {
    let mut wrong = String::new();
    for Aim { name, at, .. } in aims {
        for kind in KINDS {
            let there = ledgers.get(&(*at, kind)).context("nothing was asked")?;
            let (here, expected) = (Books::of(page, name, kind), expected(there));
            println!("{name} {kind}: there {there:?}\n    here {here:?}");
            if here != expected {
                let _ = writeln!(wrong, "{name} {kind}: {here:?}\n    expected {expected:?}");
            }
        }
    }
    ensure!(wrong.is_empty(), "the books differ:\n{wrong}");
    nothing_broke(page)
}

/// Round-trip times hold what the far side held back, and little besides.
fn times_are_true(page: &Page, ledgers: &Ledgers, aims: &[Aim]) -> Result<()> {
    for Aim { name, at, .. } in aims {
        for kind in KINDS {
            let labels = [("target", name.as_str()), ("probe", kind)];
            let sum = page.sum("reachd_probe_rtt_seconds_sum", &labels);
            let count = page.sum("reachd_probe_rtt_seconds_count", &labels);
            let ledger = ledgers.get(&(*at, kind)).context("nothing was asked")?;
            let held = ledger.held.as_secs_f64();
            let more = (sum - held) / count * 1e6;
            println!("{name} {kind}: {count} answers, {more:.0} us over what was held back");
            ensure!(count as u64 == ledger.answered, "{count} times of {}", ledger.answered);
            ensure!(sum >= held, "{name} {kind}: faster than the far side: {sum} of {held}");
        }
    }
    Ok(())
}

fn unmatched(page: &Page) -> u64 {
    page.sum("reachd_unmatched_answers_total", &[]) as u64
}

fn all_in(page: &Page, aims: &[Aim], classes: &[&str]) -> bool {
    aims.iter().all(|aim| page.class(&aim.name).is_some_and(|now| classes.contains(&now.as_str())))
}

fn begin(lab: &mut Lab, aims: &[Aim], v: &Node) -> Result<Daemon> {
    lab.settle()?;
    let daemon = start(v, &configuration("", aims))?;
    daemon.until_page("reachable", FIRST_VERDICT, |page| all_in(page, aims, &["reachable"]))?;
    Ok(daemon)
}

/// Held-back answers, answers that come three times, and late ones, straight and over a bridge.
#[test]
fn repeated_and_late_answers_are_counted_for_what_they_are() {
    inside(test_name!(), |lab| {
        let v = lab.host("v")?;
        let (far, aims) = tun(&v, 71)?;
        let (far_bridged, aims_bridged) = bridged(&v, 72)?;
        let all = [aims.as_slice(), &aims_bridged].concat();
        let daemon = begin(lab, &all, &v)?;
        let sides = [(&far, aims.as_slice()), (&far_bridged, aims_bridged.as_slice())];
        let ledgers = || {
            let mut both = far.ledgers();
            both.extend(far_bridged.ledgers());
            both
        };
        type Step = (Habit, fn(&Ledger) -> u64, u64);
        let steps: [Step; 3] = [
            (Habit::Thrice, |ledger| ledger.again, 6),
            (Habit::Tardy, |ledger| ledger.late, 3),
            (Habit::Honest, |ledger| ledger.answered, 3),
        ];
        for (habit, what, by) in steps {
            sides.iter().for_each(|(far, _)| far.be(habit));
            for (far, aims) in sides {
                grown(far, aims, (what, by))?;
            }
        }
        let (page, ledgers) = rest(&daemon, || Ok(ledgers()))?;
        compare(&page, &ledgers, &all)?;
        times_are_true(&page, &ledgers, &all)?;
        daemon.stop().map(drop)
    });
}

/// Forged answers are believed nowhere: neither before the true answer nor instead of it.
#[test]
fn lies_and_garbled_answers_are_believed_nowhere() {
    inside(test_name!(), |lab| {
        let v = lab.host("v")?;
        let (far, aims) = tun(&v, 73)?;
        let daemon = begin(lab, &aims, &v)?;
        let before = unmatched(&daemon.metrics()?);
        ensure!(before == 0, "{before} answers proved nothing before the first lie");
        far.be(Habit::Outrun);
        grown(&far, &aims, (|ledger| ledger.answered, 3))?;
        let page = daemon.metrics()?;
        ensure!(all_in(&page, &aims, &["reachable"]), "lies were believed: {:#?}", page.story());
        far.be(Habit::Corrupt);
        grown(&far, &aims, (|ledger| ledger.corrupt, 3))?;
        far.be(Habit::Lying);
        // Nothing true comes any more: silence is what there is to say, never what the lies say.
        let silence = ["host_silent", "blackhole", "unknown"];
        let page = daemon.until_page("silent", PHASE, |page| all_in(page, &aims, &silence))?;
        let lost = page.sum("reachd_probe_packets_lost_total", &[]);
        let silent = page.sum("reachd_probe_packets_lost_total", &[("reason", "silent")]);
        ensure!(lost == silent && silent > 0.0, "{silent} of {lost} losses are silent");
        far.be(Habit::Honest);
        daemon.until_page("reachable again", PHASE, |page| all_in(page, &aims, &["reachable"]))?;
        let (page, ledgers) = rest(&daemon, || Ok(far.ledgers()))?;
        compare(&page, &ledgers, &aims)?;
        let forged: u64 = ledgers.values().map(|ledger| ledger.forged).sum();
        let corrupt: u64 = ledgers.values().map(|ledger| ledger.corrupt).sum();
        println!("{forged} lies and {corrupt} spoilt answers, {} unmatched", unmatched(&page));
        ensure!(forged > 0 && corrupt > 0, "nothing was forged");
        // Those beside a probe are counted where they reach for a port of the sweep's.
        let aside: u64 = ledgers.values().map(|ledger| ledger.aside).sum();
        let counted = unmatched(&page);
        ensure!(counted == forged + aside, "{counted} unmatched of {forged} and {aside} lies");
        daemon.stop().map(drop)
    });
}
