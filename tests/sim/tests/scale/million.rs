//! A million rows: each is asked in its interval, none is asked twice, every fate is counted.

use std::time::Duration;

use reachd_core::budget::{Budgets, Lease};
use reachd_core::evidence::{Answer, Observation, Probe};
use reachd_core::monitor::{Flight, SendOrder};
use reachd_core::secret::Secret;
use reachd_core::sweep::{BURST, LaneState, ROW_BYTES, RowId, RowSpec, Sweep};
use reachd_core::time::{Instant, Stamp, StampSource};
use reachd_core::vantage::{Mode, VantageId};
use reachd_sim::healthy::{WITHOUT_LIMIT, address};

const ROWS: u32 = 1_000_000;
const INTERVAL: Duration = Duration::from_secs(10);

fn rows(sweep: &mut Sweep, lease: Lease, start: Instant) -> Vec<RowId> {
    let add = |index: u32| {
        let spec = RowSpec {
            vantage: VantageId(0),
            address: address(index),
            probe: Probe::Echo,
            port: 0,
            interval: INTERVAL,
            owner: index,
            lease,
        };
        let first = start + INTERVAL.mul_f64(f64::from(index) / f64::from(ROWS));
        sweep.add(start, spec, first).expect("there is room for a million rows")
    };
    (0..ROWS).map(add).collect()
}

#[test]
fn a_million_rows_are_asked_in_their_interval_and_counted() {
    let mut now = Instant::from_nanos(1_000_000_000);
    let mut budgets = Budgets::new(WITHOUT_LIMIT, now);
    let mut sweep = Sweep::new(Secret::new([1, 2]));
    sweep.set_lane(
        now,
        VantageId(0),
        LaneState { mode: Some(Mode::Sockets), tap: None, believed: true },
    );
    let lease = budgets.lease(address(0), now);
    let rows = rows(&mut sweep, lease, now);
    assert_eq!((sweep.len(), ROW_BYTES), (1_000_000, 192));
    let end = now + Duration::from_secs(24);
    let mut burst: Vec<SendOrder> = Vec::new();
    let mut sent = 0_u64;
    while now < end {
        sweep.poll_burst(now, &mut budgets, &mut burst);
        assert!(burst.len() <= BURST);
        for order in burst.drain(..) {
            sent += 1;
            let Flight::Sweep(token) = order.flight else { panic!("a survey's flight") };
            let stamp = |at| Stamp { at, source: StampSource::Kernel };
            let arrived = stamp(now + Duration::from_millis(30));
            // Every thousandth is lost.
            if sent.is_multiple_of(1_000) {
                continue;
            }
            let answer = Answer::EchoReply { ttl: Some(60) };
            let seen = Observation { answer, sent: Some(stamp(now)), arrived: Some(arrived) };
            sweep.handle_answer(token, seen);
        }
        while sweep.poll_change().is_some() {}
        let wake = sweep.next_wake().expect("there is always a next probe");
        now = now.max(wake);
    }
    // A hundred thousand a second, for 24 s less the first phase of each.
    assert!((2_250_000..2_450_000).contains(&sent), "{sent} probes");
    let cells = || rows.iter().filter_map(|row| sweep.cell(*row));
    let (received, lost): (u64, u64) = cells().fold((0, 0), |(received, lost), cell| {
        assert!((1..=3).contains(&cell.sent()), "{} probes of one row", cell.sent());
        (received + cell.received(), lost + cell.sent() - cell.received())
    });
    assert_eq!(received, sent - sent / 1_000);
    // Those of the last three seconds are still awaited.
    assert!((1_950..=2_400).contains(&lost), "{lost} lost");
    assert!(sweep.lateness() <= Duration::from_millis(2), "{:?}", sweep.lateness());
}
