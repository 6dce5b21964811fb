//! Part of the packets is lost.

use anyhow::{Result, ensure};
use reachd_lab::server::rdp_confirm;
use reachd_lab::{Chain, ChainSpec, Family, Hook, Lab, Match, inside, test_name};

use super::{LONG, RDP, SHORT, both};
use crate::support::{Round, Seen, check};

#[test]
fn loss_behind_three_routers() {
    inside(test_name!(), |lab| look_at_loss(lab, SHORT, "3 routers, TTL 128"));
}

#[test]
fn loss_behind_six_routers() {
    inside(test_name!(), |lab| look_at_loss(lab, LONG, "6 routers, TTL 64"));
}

/// Loss of 60 % is by chance, where chance cannot spare a whole check. At 30 % one check in a
/// hundred would lose nothing in its first look, so there the packets are counted off instead.
fn look_at_loss(lab: &mut Lab, spec: ChainSpec, variant: &str) -> Result<()> {
    let chain = Chain::build(lab, spec)?;
    let lan = &chain.lan;
    let _services =
        [rdp_confirm(&lan.target, RDP)?, rdp_confirm(&lan.n1, RDP)?, rdp_confirm(&lan.n2, RDP)?];
    // Each kind and family is counted off by itself: what else passes must not decide whose turn it
    // is.
    let three_of =
        |what: &str| format!("{what} numgen inc mod 10 {{ 0, 3, 7 }} counter name taken drop");
    let (echoes, syns) = ("meta l4proto { icmp, icmpv6 }", "tcp flags & (syn | rst) == syn");
    let toward_target = Match::all().to(lan.target_at);
    let from_n2 = Match::all().from(lan.n2_at);
    let mut faults = vec![lab.loss(chain.r(2), 60.0, &Match::all().to(lan.n1_at))?];
    for family in Family::BOTH {
        for what in [echoes, syns] {
            let (there, back) =
                (toward_target.clone().family(family), from_n2.clone().family(family));
            faults.push(lab.filter(chain.r(2), Hook::Forward, &there, &three_of(what))?);
            faults.push(lab.filter(chain.gateway(), Hook::Forward, &back, &three_of(what))?);
        }
    }
    let cases = [
        ("30 % lost on the way there", lan.target_at, 0.3),
        ("60 % lost on the way there", lan.n1_at, 0.6),
        ("30 % lost on the way back", lan.n2_at, 0.3),
    ];
    let mut round = Round::default();
    for (title, at, share) in cases {
        for (family, target) in both(at, RDP) {
            let title = format!("{title}, {family}, {variant}");
            round.ask(&title, check(&chain.v1, &target), move |seen| {
                seen.surely("packet_loss", 0.7)?;
                interval_holds(seen, share)
            })?;
        }
    }
    round.finish()
}

/// The summary gives a 95 % interval; the truth lies in it, or not far from it.
fn interval_holds(seen: &Seen, share: f64) -> Result<()> {
    let summary = seen.document["verdict"]["summary"].as_str().unwrap_or_default();
    let numbers: Vec<f64> = summary
        .split(|letter: char| !letter.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect();
    let [_, _, _, 95.0, low, high, ..] = numbers[..] else {
        anyhow::bail!("no interval in {summary:?}")
    };
    let percent = share * 100.0;
    let slack = 10.0;
    ensure!(low - slack <= percent && percent <= high + slack, "{percent} % is not in {summary:?}");
    Ok(())
}
