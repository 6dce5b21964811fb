//! The few inner loops worth a microscope: one frame, one outcome, one turn of the wheel, one page.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use divan::{Bencher, black_box};
use reachd_core::accounting::Fate;
use reachd_core::budget::Budgets;
use reachd_core::evidence::Probe;
use reachd_core::monitor::{Captured, Direction, SendOrder, TapId};
use reachd_core::plan::Budget;
use reachd_core::secret::Secret;
use reachd_core::snapshot::{ProbeRow, Snapshot};
use reachd_core::sweep::{LaneState, RowId, RowSpec, Sweep};
use reachd_core::target::TargetName;
use reachd_core::time::{Instant, Stamp, StampSource};
use reachd_core::vantage::{Mode, VantageId};
use reachd_core::wire::packet::{Checksums, Packet};
use reachd_core::wire::reply::{Stack, emit_echo_reply, emit_icmp_error};
use reachd_exporters::prometheus::{Detail, Exposition, Format, SelfMetrics};

const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1));

fn main() {
    divan::main();
}

fn address(index: u32) -> IpAddr {
    IpAddr::from((0x0a40_0000 + index).to_be_bytes())
}

fn at(millis: u64) -> Instant {
    Instant::from_start(Duration::from_millis(1_000 + millis))
}

/// A sweep of so many echoes, one every `interval`.
fn sweep(count: u32, interval: Duration) -> (Sweep, Budgets, Vec<RowId>) {
    let limits = Budget {
        packets_per_second: 1e9,
        per_destination: 1e9,
        per_prefix: 1e9,
        ..Budget::default()
    };
    let mut budgets = Budgets::new(limits, at(0));
    let mut sweep = Sweep::new(Secret::new([1, 2]));
    let state = LaneState { mode: Some(Mode::Raw), tap: Some(TapId(0)), believed: true };
    sweep.set_lane(at(0), VantageId(0), state);
    let rows = (0..count).filter_map(|owner| {
        let lease = budgets.lease(address(owner), at(0));
        let (vantage, address, probe, port) = (VantageId(0), address(owner), Probe::Echo, 0);
        let spec = RowSpec { vantage, address, probe, port, interval, owner, lease };
        sweep.add(at(0), spec, at(0) + interval.mul_f64(f64::from(owner) / f64::from(count)))
    });
    let rows = rows.collect();
    (sweep, budgets, rows)
}

fn packet(order: &SendOrder) -> Vec<u8> {
    order.emit(SOURCE).unwrap_or_default()
}

fn capture(sweep: &mut Sweep, now: Instant, direction: Direction, bytes: &[u8]) {
    let stamp = Stamp { at: now, source: StampSource::Capture };
    let (tap, interface, checksums_final) = (TapId(0), 2, false);
    let captured = Captured { tap, interface, direction, at: stamp, checksums_final, bytes };
    if let Ok(packet) = Packet::parse(bytes, Checksums::Skip) {
        black_box(sweep.handle_packet(&captured, &packet));
    }
}

#[divan::bench(args = ["reply", "error"])]
fn parse_one_frame(bencher: Bencher<'_, '_>, kind: &str) {
    let (mut sweep, mut budgets, _) = sweep(1, Duration::from_secs(10));
    let mut burst = Vec::new();
    sweep.poll_burst(at(0), &mut budgets, &mut burst);
    let request = burst.first().map(packet).unwrap_or_default();
    let bytes = match kind {
        "reply" => emit_echo_reply(&request, &Stack::default()),
        _ => emit_icmp_error(address(9), SOURCE, 3, 1, &request, 60),
    };
    let bytes = bytes.unwrap_or_default();
    bencher.bench(|| Packet::parse(black_box(&bytes), Checksums::Verify).is_ok());
}

/// From the order to the counted answer: one probe of 10,000 rows, its packets ready.
#[divan::bench]
fn settle_one_outcome(bencher: Bencher<'_, '_>) {
    let (mut sweep, mut budgets, _) = sweep(10_000, Duration::from_micros(1));
    let (mut burst, mut now) = (Vec::new(), 0);
    let next = std::cell::RefCell::new((&mut sweep, &mut budgets, &mut burst, &mut now));
    bencher
        .with_inputs(|| {
            let mut next = next.borrow_mut();
            let (sweep, budgets, burst, now) = &mut *next;
            while burst.is_empty() {
                **now += 1;
                sweep.poll_burst(at(**now), budgets, burst);
            }
            let request = burst.pop().as_ref().map(packet).unwrap_or_default();
            let reply = emit_echo_reply(&request, &Stack::default()).unwrap_or_default();
            (at(**now), request, reply)
        })
        .bench_local_values(|(now, request, reply)| {
            let mut next = next.borrow_mut();
            capture(next.0, now, Direction::Sent, &request);
            capture(next.0, now, Direction::Received, &reply);
        });
}

/// One millisecond of 100,000 rows: ten are due.
#[divan::bench]
fn advance_the_wheel(bencher: Bencher<'_, '_>) {
    let (mut sweep, mut budgets, _) = sweep(100_000, Duration::from_secs(10));
    let (mut burst, mut now) = (Vec::new(), 0);
    bencher.bench_local(|| {
        now += 1;
        sweep.poll_burst(at(now), &mut budgets, &mut burst);
        burst.clear();
        while sweep.poll_change().is_some() {}
    });
}

/// 10,000 rows into a page.
#[divan::bench(args = [Detail::Compact, Detail::Full])]
fn encode_ten_thousand_rows(bencher: Bencher<'_, '_>, detail: Detail) {
    let (mut sweep, _, rows) = sweep(10_000, Duration::from_secs(10));
    let mut probes = Vec::new();
    for (index, row) in rows.iter().enumerate() {
        sweep.book(*row, Fate::Received, Some(Duration::from_micros(250)));
        let Some(cell) = sweep.cell(*row) else { continue };
        let target = TargetName::new(&format!("10.64.0.{index}:3389"));
        let (vantage, probe) = ("default".into(), Probe::Echo);
        probes.push(ProbeRow { vantage, target, probe, cell, others: Vec::new() });
    }
    let snapshot = Arc::new(Snapshot { probes: probes.into(), ..Snapshot::default() });
    let Ok(own) = SelfMetrics::new("0") else { return };
    let own = Arc::new(own);
    let mut out = Vec::new();
    bencher.bench_local(|| {
        let (snapshot, own) = (Arc::clone(&snapshot), Arc::clone(&own));
        let mut page = Exposition::new(snapshot, own, Format::Text, detail);
        out.clear();
        while page.fill(&mut out, usize::MAX) {}
        black_box(out.len())
    });
}
