use std::collections::BTreeMap;

use super::*;
use crate::evidence::{Answer, Observation, TcpAnswer};
use crate::judge::sign::Family;
use crate::probe::flows::{FlowFate, FlowFates};
use crate::probe::large::{Packet, SizeFate};
use crate::probe::rates::{Counts, RateFates};
use crate::survey::Depth;
use crate::time::{Instant, Stamp, StampSource};

fn stamp(micros: u64) -> Stamp {
    let at = Instant::from_start(Duration::from_micros(micros));
    Stamp { at, source: StampSource::Capture }
}

/// Echoes with these round trips in milliseconds, and so many lost ones.
fn echoes(rtts: &[u64], lost: u64) -> Tally {
    let mut tally = Tally::default();
    for rtt in rtts {
        let (sent, arrived) = (Some(stamp(0)), Some(stamp(rtt * 1_000)));
        tally.absorb(&Observation { answer: Answer::EchoReply { ttl: Some(60) }, sent, arrived });
    }
    for _ in 0..lost {
        tally.absorb(&Observation { answer: Answer::Silence, sent: None, arrived: None });
    }
    tally
}

fn findings(echo: Tally) -> Findings {
    Findings {
        echo,
        packets: 1,
        ..Findings::nothing(
            "192.0.2.10".parse().unwrap(),
            (Instant::ZERO, Instant::ZERO),
            Depth::Full,
        )
    }
}

fn shown(findings: &Findings) -> Vec<Sign> {
    signs(findings, None).into_iter().map(|seen| seen.sign).collect()
}

#[test]
fn delay_speaks_only_where_something_is_lost() {
    let (flat, grown): (Vec<u64>, Vec<u64>) =
        ((10..20).map(|_| 10).collect(), (1..12).map(|n| n * 9).collect());
    assert_eq!(shown(&findings(echoes(&flat, 3))), [Sign::DelayFlat]);
    assert_eq!(shown(&findings(echoes(&grown, 3))), [Sign::DelayGrows]);
    assert_eq!(shown(&findings(echoes(&grown, 0))), []);
    assert_eq!(shown(&findings(echoes(&[10, 90, 10], 3))), [], "three answers are too few");
    // One slow answer of ten is a busy host.
    let busy = [&flat[..9], &[90]].concat();
    assert_eq!(shown(&findings(echoes(&busy, 3))), [Sign::DelayFlat]);
}

#[test]
fn flows_are_split_mixed_or_nothing_is_said() {
    let with = |rows: &[(u32, u32)]| {
        let fates =
            rows.iter().map(|(answered, lost)| FlowFate { answered: *answered, lost: *lost });
        let flows = FlowFates((61_000..).zip(fates).collect());
        signs(&Findings { flows: Some(flows), ..findings(echoes(&[10; 10], 0)) }, None)
    };
    let split = with(&[(0, 3), (3, 0), (3, 0), (3, 0), (3, 0), (3, 0), (3, 0)]);
    assert_eq!(split.first().map(|seen| seen.sign), Some(Sign::FlowsSplit));
    let detail = split.into_iter().find_map(|seen| seen.detail).unwrap().en;
    let told = "of 7 flows asked again 6 always answer, 1 never (source ports 61000)";
    assert_eq!(detail, told);
    let mixed = with(&[(1, 2), (2, 1), (3, 0), (2, 1), (3, 0), (3, 0), (3, 0)]);
    assert_eq!(mixed.first().map(|seen| seen.sign), Some(Sign::FlowsMixed));
    assert!(with(&[(3, 0), (3, 0)]).is_empty());
    assert!(with(&[(0, 3), (0, 3)]).is_empty(), "without a living flow nothing is split");
}

#[test]
fn rates_speak_only_where_something_is_lost() {
    let rates = RateFates {
        slow: Counts { answered: 20, lost: 0 },
        quick_before: Counts { answered: 5, lost: 5 },
        quick_after: Counts { answered: 5, lost: 5 },
    };
    let lossy = Findings { rates: Some(rates), ..findings(echoes(&[10; 30], 10)) };
    assert_eq!(shown(&lossy), [Sign::QuickLoses, Sign::DelayFlat]);
    let healed = Findings { rates: Some(rates), ..findings(echoes(&[10; 30], 0)) };
    assert_eq!(shown(&healed), []);
    let alike = RateFates { slow: Counts { answered: 10, lost: 10 }, ..rates };
    let chance = Findings { rates: Some(alike), ..findings(echoes(&[10; 30], 10)) };
    assert_eq!(shown(&chance), [Sign::RatesAlike, Sign::DelayFlat]);
}

/// SYNs that were all accepted.
fn accepted(count: u64) -> Tally {
    let mut tally = Tally::default();
    let facts = TcpAnswer { ttl: Some(60), window: None, ip_id: None };
    for _ in 0..count {
        let (sent, arrived) = (Some(stamp(0)), Some(stamp(10_000)));
        tally.absorb(&Observation { answer: Answer::SynAck(facts), sent, arrived });
    }
    tally
}

const PASSES: SizeFate = SizeFate { answered: 1, lost: 0, told: None };
const FAILS: SizeFate = SizeFate { answered: 0, lost: 3, told: None };

fn sizes(rows: &[(Packet, SizeFate)]) -> Option<SizeFates> {
    Some(SizeFates(rows.iter().copied().collect::<BTreeMap<_, _>>()))
}

#[test]
fn a_size_that_vanishes_is_told_by_its_direction() {
    let (small, large) = (Packet::Segment(80), Packet::Segment(1_500));
    let told = SizeFate { answered: 0, lost: 0, told: "192.0.2.1".parse().ok() };
    let echo = |fate| {
        vec![
            (Packet::Echo(1_280), PASSES),
            (Packet::Echo(1_400), PASSES),
            (Packet::Echo(1_500), fate),
        ]
    };
    let with = |more: &[(Packet, SizeFate)]| [echo(FAILS), more.to_vec()].concat();
    let cases = [
        (echo(PASSES), Some(Sign::LargePasses)),
        (echo(told), Some(Sign::LargeTold)),
        (echo(FAILS), Some(Sign::LargeLost)),
        (with(&[(small, FAILS), (large, FAILS)]), Some(Sign::LargeLost)),
        (with(&[(small, PASSES), (large, FAILS)]), Some(Sign::LargeForwardLost)),
        (with(&[(small, PASSES), (large, PASSES)]), Some(Sign::LargeReplyLost)),
        (vec![(small, PASSES), (large, FAILS)], Some(Sign::LargeForwardLost)),
        (vec![(small, PASSES), (large, PASSES)], None),
        // All echoes but small ones are filtered: the path carries large segments.
        (vec![(Packet::Echo(1_280), FAILS), (small, PASSES), (large, PASSES)], None),
        (vec![(Packet::Echo(1_280), FAILS)], None),
        // A path between 1100 and 1280 bytes; a filter of echoes begins below.
        (
            vec![
                (Packet::Echo(1_100), PASSES),
                (Packet::Echo(1_280), FAILS),
                (small, PASSES),
                (large, PASSES),
            ],
            Some(Sign::LargeReplyLost),
        ),
        (vec![(Packet::Echo(1_100), PASSES), (Packet::Echo(1_280), FAILS)], Some(Sign::LargeLost)),
        (vec![(Packet::Echo(1_100), FAILS), (Packet::Echo(1_280), FAILS)], None),
    ];
    for (rows, expected) in cases {
        let syn = Some(accepted(12));
        let found = Findings { large: sizes(&rows), syn, ..findings(echoes(&[10; 12], 0)) };
        assert_eq!(shown(&found).first().copied(), expected, "{rows:?}");
    }
}

#[test]
fn much_loss_may_take_large_packets_by_chance() {
    let rows = [(Packet::Echo(1_280), PASSES), (Packet::Echo(1_500), FAILS)];
    let lossy = Findings { large: sizes(&rows), ..findings(echoes(&[10; 8], 12)) };
    assert!(!shown(&lossy).contains(&Sign::LargeLost));
    // A host that echoes nothing is asked by segments alone.
    let rows = [(Packet::Segment(80), PASSES), (Packet::Segment(1_500), FAILS)];
    let (large, syn) = (sizes(&rows), Some(accepted(12)));
    let deaf = Findings { large, syn, ..findings(echoes(&[], 17)) };
    assert_eq!(shown(&deaf), [Sign::LargeForwardLost]);
}

#[test]
fn syns_lost_beside_clean_echoes_are_lost_alone() {
    let with = |(lost, answered): (u64, u64), echoes_lost: u64, segments: SizeFate| {
        let mut syn = Tally::default();
        let answer = Answer::SynAck(TcpAnswer { ttl: Some(60), window: None, ip_id: None });
        for at in 0..lost + answered {
            let answer = if at < lost { Answer::Silence } else { answer };
            let arrived = (at >= lost).then(|| stamp(10_000));
            syn.absorb(&Observation { answer, sent: Some(stamp(0)), arrived });
        }
        let echo = echoes(&[10; 20], echoes_lost);
        let large = Some(SizeFates([(Packet::Segment(80), segments)].into()));
        let found = Findings { syn: Some(syn), port: Some(3_389), large, ..findings(echo) };
        let seen = signs(&found, None);
        let family = seen.iter().filter(|seen| seen.sign.family() == Family::SynLoss);
        family.map(|seen| seen.sign).next()
    };
    let told = None;
    let spared = SizeFate { answered: 8, lost: 0, told };
    let struck = SizeFate { answered: 4, lost: 4, told };
    let unheard = SizeFate { answered: 0, lost: 8, told };
    assert_eq!(with((14, 6), 0, spared), Some(Sign::SynLossAlone));
    assert_eq!(with((14, 6), 1, spared), Some(Sign::SynLossAlone));
    assert_eq!(with((14, 6), 0, struck), None, "a path that loses TCP only");
    assert_eq!(with((14, 6), 0, unheard), None, "a firewall swallows segments");
    assert_eq!(with((4, 16), 0, spared), None, "that may be chance");
    assert_eq!(with((8, 12), 7, spared), Some(Sign::SynLossShared));
    assert_eq!(with((0, 20), 7, spared), None, "echoes alone are limited");
    assert_eq!(with((20, 0), 0, spared), None, "a filter loses everything");
}

#[test]
fn a_queue_that_is_always_full_shows_beside_what_was_learnt() {
    let flat = findings(echoes(&[112; 20], 8));
    let read = |rtt| {
        let baseline = Baseline { rtt, ..Baseline::default() };
        let seen = signs(&flat, Some(&baseline));
        seen.into_iter().map(|seen| seen.sign).next()
    };
    let millis = |millis| Some(Duration::from_millis(millis));
    assert_eq!(read(None), Some(Sign::DelayFlat));
    assert_eq!(read(millis(12)), Some(Sign::DelayGrows));
    assert_eq!(read(millis(100)), Some(Sign::DelayFlat), "a little more is no queue");
}
