//! What an attacker, a broken network or a broken driver may hand in.

use std::time::Duration;

use reachd_core::accounting::Counters;
use reachd_core::evidence::{
    Answer, ConnectReport, ConnectResult, IcmpAnswer, IcmpKind, LocalError, Probe, ServiceAnswer,
    TcpAnswer,
};
use reachd_core::incident::AlertKind;
use reachd_core::judge::Class;
use reachd_core::monitor::{
    Baseline, Captured, Direction, Event, Flight, Input, Purpose, QueryId, Resolution, TapId,
    VantageState,
};
use reachd_core::target::TargetName;
use reachd_core::time::{Instant, Stamp, StampSource};
use reachd_core::vantage::{Mode, VantageId};
use reachd_core::wording::Wording;
use reachd_sim::{Cloud, Random, Run, World, address, address6};

use crate::scene::{plan, rdp, s};

fn counters(run: &Run) -> Counters {
    let mut all = Counters::default();
    run.monitor.snapshot().probes.iter().for_each(|row| all.merge(&row.counters()));
    all
}

fn watch(world: World, tweak: impl Fn(&mut Run)) -> Run {
    let plan = plan(&world, vec![rdp(address(0, 10)), rdp(address6(0, 11))]);
    let mut run = Run::new(Purpose::Watch, 3, world);
    tweak(&mut run);
    run.plan(&plan);
    run.pass(s(120));
    run
}

#[test]
fn forgeries_prove_nothing_about_a_dead_host() {
    let mut world = Cloud::default().build(1);
    world.host("10.0.0.10").alive = false;
    world.host("2001:db8::b").alive = false;
    let run = watch(world, |run| run.forgeries = 1.0);
    let all = counters(&run);
    assert_eq!(all.received, 0, "{all:?}");
    assert!(all.lost.keys().all(|reason| matches!(reason.as_str(), "silent" | "foreign_reset")));
    assert!(run.monitor.snapshot().unmatched > 100);
    for row in &run.monitor.snapshot().targets {
        assert_eq!(row.class, Class::HostSilent, "{}", row.target.name);
    }
}

#[test]
fn forgeries_prove_nothing_about_a_living_host() {
    let run = watch(Cloud::default().build(1), |run| run.forgeries = 1.0);
    let all = counters(&run);
    assert_eq!((all.lost_total(), all.invalid_total()), (0, 0), "{all:?}");
    assert!(run.monitor.snapshot().targets.iter().all(|row| row.class == Class::Reachable));
}

#[test]
fn copies_on_lower_devices_count_once() {
    let run = watch(Cloud::default().build(1), |run| run.copies = true);
    let all = counters(&run);
    assert_eq!((all.duplicate, all.late, all.lost_total()), (0, 0, 0), "{all:?}");
}

#[test]
fn duplicates_are_counted_beside() {
    let mut world = Cloud::default().build(1);
    world.duplicates = 1.0;
    let run = watch(world, |_| {});
    assert_eq!(counters(&run).lost_total(), 0);
    // Connections and what is said on them have no copies of their own.
    let mut all = Counters::default();
    let snapshot = run.monitor.snapshot();
    let raw = snapshot.probes.iter().filter(|row| matches!(row.probe, Probe::Echo | Probe::Syn));
    raw.for_each(|row| all.merge(&row.counters()));
    assert!(all.duplicate + 10 >= all.received * 9 / 10, "{all:?}");
}

#[test]
fn what_comes_after_twenty_seconds_is_late() {
    let mut world = Cloud::default().build(1);
    for at in ["10.0.0.10", "2001:db8::b"] {
        world.host(at).slow = s(20);
    }
    let run = watch(world, |run| run.copies = true);
    let all = counters(&run);
    assert_eq!(all.received, 0, "late is lost: {all:?}");
    assert!(all.late > 50 && all.late <= all.lost_total(), "{all:?}");
}

#[test]
fn a_lossy_ring_is_not_a_lossy_network() {
    for loss in [0.02, 0.3] {
        let mut run = watch(Cloud::default().build(1), |run| run.capture_loss = loss);
        // At two in a hundred the answers that are dropped take their time to come.
        run.pass(s(600));
        let all = counters(&run);
        assert!(all.invalid_total() > 0 && all.lost_total() == 0, "{all:?}");
        assert!(run.incidents(Instant::ZERO).is_empty());
    }
}

#[test]
fn a_stalled_driver_and_a_stepped_clock_blame_nobody() {
    let mut run = watch(Cloud::default().build(1), |_| {});
    let began = run.now;
    run.input(Input::Lag(s(5)));
    run.input(Input::ClockStep(s(3_600)));
    run.pass(s(60));
    assert!(run.incidents(began).is_empty());
}

#[test]
fn a_connection_whose_end_is_never_told_is_given_up() {
    let world = Cloud::default().build(1);
    let plan = plan(&world, vec![rdp(address(0, 10))]);
    let mut run = Run::new(Purpose::Once, 1, world);
    run.audits = false;
    run.forgets_connects = true;
    run.plan(&plan);
    assert!(run.wait(s(13), |event| matches!(event, Event::Judged { .. })).is_some());
    assert_eq!(run.monitor.snapshot().targets[0].class, Class::Reachable);
    assert_eq!(run.monitor.snapshot().bugs.get("connect_lost"), Some(&1));
}

fn any_answer(random: &mut Random) -> Answer {
    let byte = |random: &mut Random| random.next().to_le_bytes()[0];
    let tcp = TcpAnswer { ttl: Some(byte(random)), window: Some(0), ip_id: None };
    let (ty, code) = (byte(random) % 13, byte(random) % 16);
    match random.below(7) {
        0 => Answer::EchoReply { ttl: Some(byte(random)) },
        1 => Answer::SynAck(tcp),
        2 => Answer::Reset(tcp),
        3 => Answer::BareReset(tcp),
        4 => Answer::ChallengeAck(tcp),
        5 => Answer::Silence,
        _ => Answer::Icmp(IcmpAnswer {
            from: address(byte(random), byte(random)),
            kind: IcmpKind::from_v4(ty, code).unwrap_or(IcmpKind::Other),
            ty,
            code,
            ttl: None,
        }),
    }
}

fn any_report(random: &mut Random) -> ConnectReport {
    let result = match random.below(4) {
        0 => ConnectResult::Connected,
        1 => ConnectResult::Refused,
        2 => ConnectResult::TimedOut,
        _ => ConnectResult::Local(LocalError::Exhausted),
    };
    let service = match random.below(4) {
        0 => None,
        1 => Some(ServiceAnswer::Silent),
        2 => Some(ServiceAnswer::Foreign { hint: Wording::same("\u{0}") }),
        _ => Some(ServiceAnswer::Refused { code: 77 }),
    };
    let (handshake, retransmits) = (Some(Duration::from_millis(1)), None);
    ConnectReport { result, handshake, retransmits, service, service_time: None, local_port: None }
}

/// A captured packet: noise, or a real one with some bytes changed.
fn any_packet(random: &mut Random, real: &[Vec<u8>]) -> Vec<u8> {
    if real.is_empty() || random.chance(0.3) {
        let length = usize::from(random.next().to_le_bytes()[0]);
        let mut bytes = random.bytes(length);
        if let Some(first) = bytes.first_mut() {
            *first = if random.chance(0.5) { 0x45 } else { 0x60 };
        }
        return bytes;
    }
    let mut bytes = random.pick(real).clone();
    for _ in 0..random.below(4) {
        let at: usize = random.draw(bytes.len() as u64);
        bytes[at] = random.next().to_le_bytes()[0];
    }
    let keep = bytes.len() - random.draw::<usize>(8);
    bytes.truncate(keep);
    bytes
}

fn any_number(random: &mut Random) -> u32 {
    random.draw(4_000)
}

fn assault(run: &mut Run, random: &mut Random, real: &[Vec<u8>]) {
    let name = TargetName::new("10.0.0.10:3389");
    let flight = Flight::Survey(any_number(random));
    let at = Stamp { at: run.now, source: StampSource::User };
    let vantage = VantageId(random.draw(3));
    let bytes = any_packet(random, real);
    let input = match random.below(14) {
        0..=4 => Input::Captured(Captured {
            tap: TapId(random.draw(2)),
            interface: 1,
            direction: if random.chance(0.2) { Direction::Sent } else { Direction::Received },
            at,
            checksums_final: random.chance(0.5),
            bytes: &bytes,
        }),
        5 => Input::Answered { flight, sent: Some(at), answer: any_answer(random), at },
        6 => Input::SendFailed { flight, error: LocalError::Other(5) },
        7 => Input::Connected { flight, report: Box::new(any_report(random)) },
        8 => Input::Resolved { query: QueryId(any_number(random)), result: Resolution::Timeout },
        9 => Input::CaptureCounts { tap: TapId(0), packets: random.next(), drops: random.next() },
        10 => Input::Lag(Duration::from_millis(random.below(9_000))),
        11 => Input::Vantage(
            vantage,
            if random.chance(0.5) {
                VantageState::Up { mode: Mode::Raw, tap: Some(TapId(0)) }
            } else {
                let (error, detail) = (LocalError::NoRoute, Wording::same(""));
                VantageState::Down { error, detail }
            },
        ),
        12 => Input::Baseline {
            target: name,
            vantage: "a".to_owned(),
            baseline: Baseline { distance: Some(255), ..Baseline::default() },
        },
        _ if random.chance(0.5) => Input::Conclude,
        _ => Input::Firing {
            target: name,
            kind: AlertKind::Exposed,
            class: Class::Reachable,
            version: random.below(9),
            opening: Box::default(),
        },
    };
    run.monitor.handle(run.now, input);
}

#[test]
fn nothing_handed_in_breaks_it() {
    for seed in 0..20 {
        let purpose = if seed % 3 == 0 { Purpose::Once } else { Purpose::Watch };
        let world = Cloud { canaries: 1, ..Cloud::default() }.build(seed);
        let plan = plan(&world, vec![rdp(address(0, 10)), rdp(address6(0, 11))]);
        let mut run = Run::new(purpose, seed, world);
        run.audits = false;
        run.checked = false;
        run.plan(&plan);
        run.kept = Some(Vec::new());
        run.pass(s(1));
        let mut random = Random::new(seed);
        for _ in 0..2_000 {
            let real = run.kept.clone().unwrap_or_default();
            assault(&mut run, &mut random, &real);
            run.pass(Duration::from_millis(random.below(30)));
        }
        let snapshot = run.monitor.snapshot();
        assert!(snapshot.probes.iter().all(|row| row.counters().adds_up()));
    }
}
