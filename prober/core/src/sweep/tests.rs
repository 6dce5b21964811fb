use super::*;
use crate::accounting::Counters;
use crate::evidence::{IcmpKind, LocalError};
use crate::monitor::{Captured, Direction, TapId};
use crate::plan::Budget;
use crate::time::{Stamp, StampSource};
use crate::vantage::Mode;
use crate::wire::packet::{Checksums, Packet, emit_rst};
use crate::wire::reply::{Stack, emit_echo_reply, emit_icmp_error, emit_rst_ack, emit_syn_ack};

const TAP: TapId = TapId(0);
const LANE: VantageId = VantageId(0);
const TARGET: &str = "192.0.2.1";
const SOURCE: &str = "198.51.100.1";

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Nobody's clock begins at zero.
const EPOCH: u64 = 1_000_000;

fn ms(millis: u64) -> Instant {
    Instant::from_start(Duration::from_millis(EPOCH + millis))
}

/// A sweep with one open vantage, and the packets that it sends.
struct Bench {
    sweep: Sweep,
    budgets: Budgets,
    now: u64,
}

impl Bench {
    fn new() -> Self {
        let mut sweep = Sweep::new(Secret::new([1, 2]));
        let state = LaneState { mode: Some(Mode::Raw), tap: Some(TAP), believed: true };
        sweep.set_lane(ms(0), LANE, state);
        let limits = Budget {
            packets_per_second: 1e9,
            per_destination: 1e6,
            per_prefix: 1e9,
            ..Budget::default()
        };
        Self { sweep, budgets: Budgets::new(limits, ms(0)), now: 0 }
    }

    fn row(&mut self, to: &str, probe: Probe) -> RowId {
        self.row_every(to, probe, 10_000)
    }

    fn row_every(&mut self, to: &str, probe: Probe, millis: u64) -> RowId {
        let lease = self.budgets.lease(address(to), ms(self.now));
        let spec = RowSpec {
            vantage: LANE,
            address: address(to),
            probe,
            port: if probe == Probe::Echo { 0 } else { 3389 },
            interval: Duration::from_millis(millis),
            owner: 7,
            lease,
        };
        self.sweep.add(ms(self.now), spec, ms(self.now)).unwrap()
    }

    /// Time passes up to this moment; gives the orders on the way, each captured as it leaves.
    fn pass(&mut self, until: u64) -> Vec<SendOrder> {
        let orders = self.pass_unseen(until);
        for order in &orders {
            self.leave(order);
        }
        orders
    }

    fn pass_unseen(&mut self, until: u64) -> Vec<SendOrder> {
        let mut orders = Vec::new();
        loop {
            let mut burst = Vec::new();
            self.sweep.poll_burst(ms(self.now), &mut self.budgets, &mut burst);
            assert!(burst.len() <= BURST);
            orders.append(&mut burst);
            let next = self
                .sweep
                .next_wake()
                .map_or(until, |at| at.as_nanos().div_ceil(1_000_000) - EPOCH);
            if next > until || self.sweep.next_wake().is_none() {
                self.now = until;
                return orders;
            }
            self.now = self.now.max(next);
        }
    }

    fn leave(&mut self, order: &SendOrder) {
        if let Some(bytes) = render(order) {
            self.capture(Direction::Sent, &bytes, 2);
        }
    }

    fn capture(&mut self, direction: Direction, bytes: &[u8], interface: u32) -> bool {
        self.capture_on(TAP, direction, bytes, interface)
    }

    fn capture_on(&mut self, tap: TapId, direction: Direction, bytes: &[u8], on: u32) -> bool {
        let at = Stamp { at: ms(self.now), source: StampSource::Capture };
        let captured =
            Captured { tap, interface: on, direction, at, checksums_final: false, bytes };
        let packet = Packet::parse(bytes, Checksums::Skip).unwrap();
        self.sweep.handle_packet(&captured, &packet) == Heard::Ours
    }

    fn hear(&mut self, bytes: &[u8]) -> bool {
        self.capture(Direction::Received, bytes, 2)
    }

    fn counters(&self, row: RowId) -> Counters {
        let (mut counters, mut rtt) = Default::default();
        self.sweep.cell(row).unwrap().add_to(&mut counters, &mut rtt);
        assert!(counters.adds_up());
        counters
    }

    fn changes(&mut self) -> Vec<What> {
        std::iter::from_fn(|| self.sweep.poll_change()).map(|change| change.what).collect()
    }
}

fn render(order: &SendOrder) -> Option<Vec<u8>> {
    let source = if order.to.is_ipv4() { SOURCE } else { "2001:db8:9::1" };
    order.emit(address(source))
}

fn answer(order: &SendOrder) -> Vec<u8> {
    let request = render(order).unwrap();
    let stack = Stack::default();
    match order.what {
        ProbePacket::Echo { .. } => emit_echo_reply(&request, &stack),
        _ => emit_syn_ack(&request, 99, &stack),
    }
    .unwrap()
}

#[test]
fn an_answer_is_received_once_and_repeated_after_that() {
    for (to, probe) in [
        (TARGET, Probe::Echo),
        (TARGET, Probe::Syn),
        ("2001:db8::1", Probe::Echo),
        ("2001:db8::1", Probe::Syn),
    ] {
        let mut bench = Bench::new();
        let row = bench.row(to, probe);
        let orders = bench.pass(0);
        assert_eq!(orders.len(), 1);
        bench.now = 12;
        let reply = answer(&orders[0]);
        assert!(bench.hear(&reply));
        // A copy of the same packet on a lower device, and then a real repetition.
        assert!(bench.capture(Direction::Received, &reply, 3));
        bench.now = 40;
        assert!(bench.hear(&reply));
        let counters = bench.counters(row);
        assert_eq!((counters.sent, counters.received, counters.duplicate), (1, 1, 1));
        let cell = bench.sweep.cell(row).unwrap();
        assert_eq!((cell.bucket(7), cell.rtt_sum()), (1, Duration::from_millis(12)));
        assert!(bench.sweep.standing(row).ever);
        assert!(bench.changes().is_empty(), "all is well");
    }
}

#[test]
fn silence_is_lost_after_the_verdict_timer_and_late_answers_stay_lost() {
    let mut bench = Bench::new();
    let row = bench.row(TARGET, Probe::Echo);
    let orders = bench.pass(0);
    bench.pass(2_990);
    assert_eq!(bench.counters(row).sent, 0, "its fate is not known yet");
    bench.pass(3_050);
    assert_eq!(bench.counters(row).lost_total(), 1);
    assert_eq!(bench.changes(), [What::Missed(1)]);
    let reply = answer(&orders[0]);
    bench.pass(30_000);
    assert!(bench.hear(&reply));
    assert!(bench.capture(Direction::Received, &reply, 3), "a copy");
    bench.now += 50;
    assert!(bench.hear(&reply));
    assert!(bench.capture(Direction::Received, &reply, 3), "a copy of the repetition");
    let counters = bench.counters(row);
    assert_eq!((counters.late, counters.duplicate, counters.received), (1, 1, 0));
}

#[test]
fn four_probes_may_be_in_flight_and_each_has_its_own_time() {
    let mut bench = Bench::new();
    let row = bench.row_every(TARGET, Probe::Syn, 700);
    let orders = bench.pass(2_500);
    assert_eq!(orders.len(), 4);
    for order in orders.iter().rev() {
        assert!(bench.hear(&answer(order)));
    }
    let counters = bench.counters(row);
    assert_eq!((counters.sent, counters.received), (4, 4));
    bench.pass_unseen(60_000);
    let silent = bench.counters(row);
    assert!(silent.invalid_total() > 30 && silent.lost_total() == 0, "none was seen leaving");
}

#[test]
fn an_interval_below_the_verdict_timer_holds_while_a_target_is_silent() {
    let mut bench = Bench::new();
    let row = bench.row_every(TARGET, Probe::Echo, 1_000);
    let mut asked = 0;
    for second in 1..=60 {
        asked += bench.pass(second * 1_000).len();
    }
    assert!((57..=64).contains(&asked), "{asked} probes in a minute");
    let lost = bench.counters(row).lost_total();
    assert!((54..=60).contains(&lost), "{lost} lost");
}

#[test]
fn what_was_our_own_fault_is_invalid() {
    type Disturb = fn(&mut Bench);
    let cases: [(Disturb, InvalidReason); 4] = [
        (|bench| bench.sweep.note_drops(ms(1_000), TAP), InvalidReason::CaptureDrop),
        (|bench| bench.sweep.note_lag(ms(1_000)), InvalidReason::Lag),
        (|bench| bench.sweep.note_clock_step(ms(1_000)), InvalidReason::ClockStep),
        (
            |bench| {
                let state = LaneState { mode: Some(Mode::Raw), tap: Some(TAP), believed: false };
                bench.sweep.set_lane(ms(1_000), LANE, state);
            },
            InvalidReason::Canary,
        ),
    ];
    for (disturb, reason) in cases {
        let mut bench = Bench::new();
        let row = bench.row(TARGET, Probe::Syn);
        bench.pass(500);
        disturb(&mut bench);
        bench.pass(3_100);
        let counters = bench.counters(row);
        assert_eq!(counters.invalid.get(&reason), Some(&1), "{reason:?}: {counters:?}");
        assert_eq!((counters.sent, bench.sweep.standing(row).misses), (1, 0));
    }
}

#[test]
fn a_disturbance_before_the_probe_excuses_nothing_and_answers_count_all_the_same() {
    let mut bench = Bench::new();
    bench.sweep.note_lag(ms(0));
    bench.now = 10;
    let (lost, heard) = (bench.row(TARGET, Probe::Echo), bench.row("192.0.2.9", Probe::Echo));
    let orders = bench.pass(10);
    bench.sweep.note_lag(ms(10));
    let of = |to: &str| orders.iter().find(|order| order.to == address(to)).unwrap();
    assert!(bench.hear(&answer(of("192.0.2.9"))));
    bench.pass(3_100);
    assert_eq!(bench.counters(heard).received, 1);
    assert_eq!(bench.counters(lost).invalid_total(), 1, "disturbed at the very moment");
    let again = bench.pass(13_000);
    bench.hear(&answer(again.iter().find(|order| order.to == address("192.0.2.9")).unwrap()));
    bench.pass(17_000);
    assert_eq!(bench.counters(lost).lost_total(), 1);
}

#[test]
fn a_refused_send_is_invalid_for_its_reason() {
    let mut bench = Bench::new();
    let row = bench.row(TARGET, Probe::Echo);
    bench.sweep.set_usual(row, Some(AnswerKind::EchoReply));
    let orders = bench.pass_unseen(0);
    let Flight::Sweep(token) = orders[0].flight else { panic!("a survey's flight") };
    bench.sweep.handle_send_failed(token, LocalError::NoPrivilege);
    bench.sweep.handle_send_failed(token, LocalError::Exhausted);
    assert_eq!(bench.counters(row).invalid.get(&InvalidReason::NoPrivilege), Some(&1));
    let told = bench.changes();
    assert!(matches!(told[..], [What::Surprise(Answer::Invalid(InvalidReason::NoPrivilege))]));
}

#[test]
fn another_kind_of_answer_is_a_surprise() {
    let mut bench = Bench::new();
    let row = bench.row(TARGET, Probe::Syn);
    bench.sweep.set_usual(row, Some(AnswerKind::SynAck));
    let orders = bench.pass(0);
    let refused = emit_rst_ack(&render(&orders[0]).unwrap(), &Stack::default()).unwrap();
    assert!(bench.hear(&refused));
    assert!(matches!(bench.changes()[..], [What::Surprise(Answer::Reset(_))]));
    assert_eq!(bench.counters(row).received, 1, "a reset of its own is an answer");
}

#[test]
fn icmp_errors_settle_and_those_that_come_late_are_facts() {
    let mut bench = Bench::new();
    let (early, late) = (bench.row(TARGET, Probe::Syn), bench.row("192.0.2.9", Probe::Echo));
    let orders = bench.pass(0);
    let errors: Vec<_> = orders
        .iter()
        .map(|order| {
            let quoted = render(order).unwrap();
            emit_icmp_error(address("203.0.113.1"), address(SOURCE), 3, 1, &quoted, 60).unwrap()
        })
        .collect();
    let of = |to: &str| orders.iter().position(|order| order.to == address(to)).unwrap();
    assert!(bench.hear(&errors[of(TARGET)]));
    bench.pass(25_000);
    assert!(bench.hear(&errors[of("192.0.2.9")]));
    let unreachable = crate::evidence::LossReason::IcmpUnreachable;
    assert_eq!(bench.counters(early).lost.get(&unreachable), Some(&1));
    assert_eq!(bench.counters(late).late, 0, "a router is not the target");
    let fact = bench.changes().into_iter().find_map(|what| match what {
        What::Fact(seen) => Some(seen),
        _ => None,
    });
    let fact = fact.unwrap();
    assert!(matches!(fact.answer, Answer::Icmp(icmp) if icmp.kind == IcmpKind::HostUnreachable));
    let rtt = fact.rtt().unwrap();
    assert!(rtt.abs_diff(Duration::from_secs(25)) < Duration::from_micros(1), "{rtt:?}");
}

/// Everything an attacker can write who knows addresses, ports and echo numbers.
fn forgeries(order: &SendOrder) -> Vec<Vec<u8>> {
    let stack = Stack::default();
    let mut forged = Vec::new();
    let guessed = SendOrder {
        ip_id: order.ip_id ^ 1,
        what: match order.what {
            ProbePacket::Echo { id, seq, mut payload } => {
                payload[3] ^= 1;
                ProbePacket::Echo { id, seq, payload }
            }
            ProbePacket::Syn { source_port, dest_port, seq, timestamp } => {
                ProbePacket::Syn { source_port, dest_port, seq: seq ^ 0x10, timestamp }
            }
            ref other => other.clone(),
        },
        ..order.clone()
    };
    let request = render(&guessed).unwrap();
    forged.extend(emit_echo_reply(&request, &stack));
    forged.extend(emit_syn_ack(&request, 5, &stack));
    forged.extend(emit_rst_ack(&request, &stack));
    for (ty, code) in [(3, 1), (3, 3), (3, 13), (11, 0)] {
        let router = address("203.0.113.1");
        forged.extend(emit_icmp_error(router, address(SOURCE), ty, code, &request, 60));
    }
    // The right secret from the wrong address.
    let elsewhere = SendOrder { to: address("192.0.2.77"), ..order.clone() };
    let request = render(&elsewhere).unwrap();
    forged.extend(emit_echo_reply(&request, &stack));
    forged.extend(emit_syn_ack(&request, 5, &stack));
    forged.extend(emit_rst_ack(&request, &stack));
    forged
}

#[test]
fn forgeries_are_refused_and_counted_while_the_truth_counts() {
    let mut bench = Bench::new();
    let rows = [bench.row(TARGET, Probe::Echo), bench.row(TARGET, Probe::Syn)];
    for row in rows {
        bench.sweep.set_usual(row, Some(AnswerKind::Silence));
    }
    let orders = bench.pass(0);
    for order in &orders {
        for forged in forgeries(order) {
            assert!(!bench.hear(&forged), "{order:?}");
        }
        let bare = (address(TARGET), 3389).into();
        if let ProbePacket::Syn { source_port, seq, .. } = order.what {
            let ours = (address(SOURCE), source_port).into();
            assert!(
                !bench.hear(&emit_rst(bare, ours, seq, 64).unwrap()),
                "it acknowledges nothing"
            );
        }
    }
    assert!(bench.changes().is_empty());
    assert!(bench.sweep.unmatched() >= 12, "{} counted", bench.sweep.unmatched());
    for order in &orders {
        assert!(!bench.capture_on(TapId(1), Direction::Received, &answer(order), 2), "elsewhere");
        assert!(bench.hear(&answer(order)));
    }
    assert!(rows.iter().all(|row| bench.counters(*row).received == 1));
}

#[test]
fn the_kernels_reset_is_awaited_and_replaced_where_it_does_not_come() {
    let mut bench = Bench::new();
    let row = bench.row(TARGET, Probe::Syn);
    let orders = bench.pass(0);
    assert!(bench.hear(&answer(&orders[0])));
    let ProbePacket::Syn { source_port, dest_port, seq, .. } = orders[0].what else { panic!() };
    let kernels = emit_rst(
        (address(SOURCE), source_port).into(),
        (address(TARGET), dest_port).into(),
        seq.wrapping_add(1),
        64,
    );
    let again = bench.pass(1);
    assert!(again.is_empty());
    assert!(bench.capture(Direction::Sent, &kernels.unwrap(), 2));
    assert!(bench.pass(2_000).is_empty(), "the kernel's reset was seen");
    // From now on it does not come: each SYN-ACK draws one of ours, and it is seen leaving.
    let mut ours = 0;
    for _ in 0..2_100 {
        for order in &bench.pass(bench.now + 100) {
            match order.what {
                ProbePacket::Syn { .. } => assert!(bench.hear(&answer(order))),
                ProbePacket::Reset { .. } => ours += 1,
                _ => panic!("{order:?}"),
            }
        }
    }
    assert!((19..=22).contains(&ours), "{ours} resets of ours");
    let counters = bench.counters(row);
    assert_eq!(counters.received, counters.sent);
}

#[test]
fn where_resets_cannot_be_seen_none_is_missed() {
    let mut bench = Bench::new();
    let state = LaneState { mode: Some(Mode::RawErrqueue), tap: Some(TAP), believed: true };
    bench.sweep.set_lane(ms(0), LANE, state);
    let row = bench.row_every(TARGET, Probe::Syn, 1_000);
    let mut answered = 0;
    for _ in 0..400 {
        for order in &bench.pass(bench.now + 50) {
            let is_syn = matches!(order.what, ProbePacket::Syn { .. });
            assert!(is_syn, "no reset of ours, no connect: {order:?}");
            assert!(bench.hear(&answer(order)));
            answered += 1;
        }
    }
    assert!(answered >= 19, "{answered}");
    assert_eq!(bench.counters(row).received, answered);
}

#[test]
fn where_no_reset_leaves_connects_stand_in_and_raw_probes_are_tried_again() {
    let mut bench = Bench::new();
    bench.row_every(TARGET, Probe::Syn, 1_000);
    let (mut raw, mut connects, mut first_connect) = (0, 0, None);
    for step in 0..2_400_u64 {
        for order in bench.pass_unseen(step * 50) {
            match order.what {
                ProbePacket::Syn { .. } => {
                    raw += 1;
                    bench.leave(&order);
                    bench.hear(&answer(&order));
                }
                // Our own firewall eats it: nobody sees it leave.
                ProbePacket::Reset { .. } => {}
                ProbePacket::Connect { .. } => {
                    first_connect.get_or_insert(raw);
                    connects += 1;
                    let Flight::Sweep(token) = order.flight else { panic!() };
                    let answer = Answer::SynAck(crate::evidence::TcpAnswer {
                        ttl: None,
                        window: None,
                        ip_id: None,
                    });
                    let seen = Observation { answer, sent: None, arrived: None };
                    bench.sweep.handle_answer(token, seen);
                }
                ProbePacket::Echo { .. }
                | ProbePacket::SizedEcho { .. }
                | ProbePacket::Segment { .. } => panic!("{order:?}"),
            }
        }
    }
    assert!(first_connect.is_some_and(|raw| (8..=10).contains(&raw)), "{first_connect:?}");
    assert!(connects > 85, "{connects} of {raw} raw ones and these");
    assert!((16..=30).contains(&raw), "tried again each minute: {raw}");
}

#[test]
fn phases_spread_and_bursts_are_small() {
    let mut bench = Bench::new();
    for host in 0..20_000_u32 {
        let to = IpAddr::from((0x0a00_0000 + host).to_be_bytes());
        let lease = bench.budgets.lease(to, ms(0));
        let spec = RowSpec {
            vantage: LANE,
            address: to,
            probe: Probe::Echo,
            port: 0,
            interval: Duration::from_secs(10),
            owner: host,
            lease,
        };
        let first = ms(u64::from(host) / 2);
        bench.sweep.add(ms(0), spec, first).unwrap();
    }
    let mut most = 0;
    let mut asked = 0;
    for step in 0..6_000 {
        let orders = bench.pass_unseen(step * 5);
        if step > 2_100 {
            most = most.max(orders.len());
            asked += orders.len();
        }
    }
    // Two thousand a second are ten in five milliseconds.
    assert!(most <= 40, "{most} in one step");
    assert!((38_000..=40_500).contains(&asked), "{asked} in 19.5 s");
}

#[test]
fn slots_are_used_again_after_a_rest_and_old_answers_fit_nobody() {
    let mut bench = Bench::new();
    let row = bench.row(TARGET, Probe::Echo);
    let orders = bench.pass(0);
    let cell = bench.sweep.cell(row).unwrap();
    assert!(bench.hear(&answer(&orders[0])));
    bench.sweep.remove(ms(10), row);
    assert!(!bench.hear(&answer(&orders[0])));
    assert_eq!((cell.received(), bench.sweep.len()), (1, 0), "whoever reads it still may");
    let other = bench.row(TARGET, Probe::Echo);
    assert_ne!(other, row, "not yet");
    bench.now = 61_000;
    let third = bench.row(TARGET, Probe::Echo);
    assert_eq!(third, row);
    assert_eq!(bench.counters(third).sent, 0);
    assert!(!bench.hear(&answer(&orders[0])), "another generation");
}

#[test]
fn a_vantage_that_goes_down_leaves_its_rows_idle_until_it_is_back() {
    let mut bench = Bench::new();
    let row = bench.row(TARGET, Probe::Echo);
    bench.pass(0);
    bench.sweep.set_lane(ms(100), LANE, LaneState::default());
    assert_eq!(bench.counters(row).invalid.get(&InvalidReason::SendError), Some(&1));
    assert!(bench.pass(60_000).is_empty());
    let state = LaneState { mode: Some(Mode::Raw), tap: Some(TapId(5)), believed: true };
    bench.sweep.set_lane(ms(60_000), LANE, state);
    assert_eq!(bench.pass_unseen(70_100).len(), 1);
}

#[test]
fn the_budget_delays_and_leaves_nothing_out() {
    let mut bench = Bench::new();
    let limits = Budget {
        packets_per_second: 100.0,
        per_destination: 50.0,
        per_prefix: 100.0,
        ..Budget::default()
    };
    bench.budgets = Budgets::new(limits, ms(0));
    let rows: Vec<_> = (0..400)
        .map(|host| {
            let to = format!("10.0.{}.{}", host / 100, host % 100);
            bench.row(&to, Probe::Echo)
        })
        .collect();
    let sent = bench.pass(2_000).len();
    assert!(
        (380..=400).contains(&sent),
        "{sent} in two seconds, of which two seconds are saved up"
    );
    bench.pass(20_000);
    assert!(rows.iter().all(|row| bench.counters(*row).sent >= 1));
}

#[test]
fn a_chart_tells_of_partial_loss() {
    let mut bench = Bench::new();
    let row = bench.row_every(TARGET, Probe::Echo, 5_000);
    let mut told = Vec::new();
    let mut asked = 0;
    for _ in 0..10_000 {
        for order in bench.pass(bench.now + 100) {
            asked += 1;
            if asked % 3 != 0 {
                bench.hear(&answer(&order));
            }
        }
        told.extend(bench.changes());
    }
    let alarms = told.iter().filter(|what| matches!(what, What::Loss { .. })).count();
    assert!(alarms >= 2, "{alarms} alarms at a third lost");
    assert!(bench.counters(row).received > 100);
}

mod fair;
