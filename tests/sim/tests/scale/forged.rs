//! A million forgeries against a hundred thousand rows: all refused, while the truth counts.

use std::net::IpAddr;
use std::time::Duration;

use reachd_core::budget::Budgets;
use reachd_core::evidence::Probe;
use reachd_core::monitor::{Captured, Direction, Flight, ProbePacket, SendOrder, TapId};
use reachd_core::secret::Secret;
use reachd_core::sweep::{Heard, LaneState, RowId, RowSpec, SWEEP_PORT, Sweep};
use reachd_core::time::{Instant, Stamp, StampSource};
use reachd_core::vantage::{Mode, VantageId};
use reachd_core::wire::packet::{Checksums, Packet, emit_rst};
use reachd_core::wire::reply::{
    Stack, emit_echo_reply, emit_icmp_error, emit_rst_ack, emit_syn_ack,
};
use reachd_sim::Random;

use reachd_sim::healthy::{WITHOUT_LIMIT, address};

const TARGETS: u32 = 53_000;
const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1));
const ROUTER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 1));

struct Field {
    sweep: Sweep,
    budgets: Budgets,
    rows: Vec<RowId>,
    now: Instant,
}

impl Field {
    fn new() -> Self {
        let now = Instant::from_nanos(1_000_000_000);
        let mut field = Self {
            sweep: Sweep::new(Secret::new([0x5eed, 0xfeed])),
            budgets: Budgets::new(WITHOUT_LIMIT, now),
            rows: Vec::new(),
            now,
        };
        let state = LaneState { mode: Some(Mode::Raw), tap: Some(TapId(0)), believed: true };
        field.sweep.set_lane(now, VantageId(0), state);
        for index in 0..TARGETS {
            for (probe, port) in [(Probe::Echo, 0), (Probe::Syn, 3389)] {
                let lease = field.budgets.lease(address(index), now);
                let spec = RowSpec {
                    vantage: VantageId(0),
                    address: address(index),
                    probe,
                    port,
                    interval: Duration::from_secs(10),
                    owner: index,
                    lease,
                };
                field.rows.extend(field.sweep.add(now, spec, now));
            }
        }
        field
    }

    fn capture(&mut self, direction: Direction, bytes: &[u8]) -> bool {
        let at = Stamp { at: self.now, source: StampSource::Capture };
        let (tap, interface, checksums_final) = (TapId(0), 2, false);
        let captured = Captured { tap, interface, direction, at, checksums_final, bytes };
        let packet = Packet::parse(bytes, Checksums::Verify).expect("a whole packet");
        self.sweep.handle_packet(&captured, &packet) == Heard::Ours
    }
}

/// The packet of a probe between these addresses.
fn render(order: &SendOrder, source: IpAddr, dest: IpAddr) -> Vec<u8> {
    let order = SendOrder { to: dest, ..order.clone() };
    order.emit(source).expect("both are of one family")
}

/// The order as somebody guesses it who knows everything but the secrets.
fn guessed(order: &SendOrder, random: &mut Random) -> SendOrder {
    let guess = random.next().to_le_bytes();
    let [a, b, c, d, e, f, ..] = guess;
    let ip_id = u16::from_le_bytes([e, f]);
    let what = match order.what {
        ProbePacket::Echo { id, seq, mut payload } => {
            payload[..8].copy_from_slice(&guess);
            ProbePacket::Echo { id, seq, payload }
        }
        ProbePacket::Syn { dest_port, timestamp, seq, .. } => {
            let source_port = SWEEP_PORT + u16::from_le_bytes([a, b]) % 3_536;
            let guess = u32::from_le_bytes([a, b, c, d]);
            let seq = if guess == seq { guess ^ 1 } else { guess };
            ProbePacket::Syn { source_port, dest_port, seq, timestamp }
        }
        ref other => other.clone(),
    };
    let ip_id = if ip_id == order.ip_id { ip_id ^ 1 } else { ip_id };
    SendOrder { ip_id, what, ..order.clone() }
}

fn forge(order: &SendOrder, random: &mut Random) -> Vec<Vec<u8>> {
    let stack = Stack::default();
    let lie = guessed(order, random);
    let request = render(&lie, SOURCE, order.to);
    let mut forged = Vec::new();
    forged.extend(emit_echo_reply(&request, &stack));
    forged.extend(emit_syn_ack(&request, 7, &stack));
    forged.extend(emit_rst_ack(&request, &stack));
    if let ProbePacket::Syn { source_port, dest_port, seq, .. } = lie.what {
        let (theirs, ours) = ((order.to, dest_port).into(), (SOURCE, source_port).into());
        forged.extend(emit_rst(theirs, ours, seq, 60));
    }
    for (ty, code) in [(3, 1), (3, 3), (3, 13), (11, 0)] {
        forged.extend(emit_icmp_error(ROUTER, SOURCE, ty, code, &request, 60));
    }
    // The right secret from the wrong source.
    let elsewhere = render(order, SOURCE, ROUTER);
    forged.extend(emit_echo_reply(&elsewhere, &stack));
    forged.extend(emit_syn_ack(&elsewhere, 7, &stack));
    forged.extend(emit_rst_ack(&elsewhere, &stack));
    for (ty, code) in [(3, 1), (11, 0)] {
        forged.extend(emit_icmp_error(ROUTER, SOURCE, ty, code, &elsewhere, 60));
    }
    forged
}

#[test]
fn a_million_forgeries_are_refused_while_the_truth_counts() {
    let mut field = Field::new();
    let mut random = Random::new(4);
    let mut burst = Vec::new();
    let (mut forged, mut probes) = (0_u64, 0_u32);
    while probes < TARGETS * 2 {
        field.now = field.now + Duration::from_millis(1);
        let now = field.now;
        field.sweep.poll_burst(now, &mut field.budgets, &mut burst);
        for order in std::mem::take(&mut burst) {
            // The kernel of this test sends no resets, so the sweep does.
            if matches!(order.what, ProbePacket::Reset { .. }) {
                continue;
            }
            probes += 1;
            assert!(matches!(order.flight, Flight::Sweep(_)));
            let request = render(&order, SOURCE, order.to);
            assert!(field.capture(Direction::Sent, &request));
            for lie in forge(&order, &mut random) {
                forged += 1;
                assert!(!field.capture(Direction::Received, &lie), "believed a lie of {order:?}");
            }
            // Every fourth target is dead: the lies must not revive it.
            if !probes.is_multiple_of(4) {
                let stack = Stack::default();
                let truth = emit_echo_reply(&request, &stack);
                let truth = truth.or_else(|| emit_syn_ack(&request, 7, &stack)).expect("an answer");
                assert!(field.capture(Direction::Received, &truth));
            }
        }
    }
    assert!(forged >= 1_000_000, "{forged} forgeries");
    // Past every verdict, before the second round of most.
    for _ in 0..3_200 {
        field.now = field.now + Duration::from_millis(1);
        field.sweep.poll_burst(field.now, &mut field.budgets, &mut burst);
        burst.clear();
    }
    let mut counts = (0, 0, 0);
    for cell in field.rows.iter().filter_map(|row| field.sweep.cell(*row)) {
        let again = cell.late() + cell.duplicate();
        counts = (counts.0 + cell.received(), counts.1 + cell.sent(), counts.2 + again);
    }
    let (received, sent, again) = counts;
    assert_eq!(received, u64::from(TARGETS) * 2 * 3 / 4);
    assert_eq!(sent, u64::from(TARGETS) * 2, "the others are lost, and nothing else");
    assert_eq!(again, 0, "no lie is late or a repetition");
    assert!(field.sweep.unmatched() > forged / 2, "{} are counted", field.sweep.unmatched());
}
