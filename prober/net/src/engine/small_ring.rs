//! A ring that is too small, and a reader that dozes: invalid samples, never loss.

use std::collections::BTreeMap;
use std::time::Duration;

use reachd_core::evidence::InvalidReason;
use reachd_core::monitor::{Input, Monitor, Output, Purpose, SendOrder};
use reachd_core::plan::{Budget, Plan};
use reachd_core::snapshot::Snapshot;
use reachd_core::target::{Service, Siblings, Target};
use reachd_core::time::Instant;
use reachd_core::vantage::Vantage;

use super::{Brain, EngineOptions, start_with};
use crate::tap::TapOptions;
use crate::testing::{in_namespace, runtime};

/// Targets that are asked every second: the loopback interface answers for all of 127/8.
const TARGETS: u8 = 200;
const NAP: Duration = Duration::from_millis(150);

/// The real monitor, which sleeps now and then where it should read.
struct Drowsy {
    monitor: Monitor,
    turns: u32,
}

impl Brain for Drowsy {
    fn handle(&mut self, now: Instant, input: Input<'_>) {
        self.monitor.handle(now, input);
    }

    fn poll(&mut self) -> Output {
        self.monitor.poll()
    }

    fn poll_burst(&mut self, now: Instant, burst: &mut Vec<SendOrder>) -> Option<Instant> {
        self.turns += 1;
        if self.turns.is_multiple_of(8) {
            std::thread::sleep(NAP);
        }
        self.monitor.poll_burst(now, burst)
    }

    fn snapshot(&self) -> Snapshot {
        self.monitor.snapshot()
    }
}

fn plan() -> Plan {
    let targets = (0..10).flat_map(|third| (1..=TARGETS).map(move |last| (third, last)));
    let target = |(third, last)| {
        let mut target = Target::new(&format!("127.1.{third}.{last}"), 0, Service::Ping);
        (target.siblings, target.echo_interval) = (Siblings::Off, Duration::from_secs(1));
        target
    };
    let budget = Budget { packets_per_second: 1e6, per_prefix: 1e5, ..Budget::default() };
    let (targets, vantages) = (targets.map(target).collect(), vec![Vantage::unbound("v")]);
    Plan { targets, vantages, budget, ..Plan::default() }
}

#[test]
fn what_a_small_ring_drops_is_invalid_and_not_lost() {
    if !in_namespace("engine::small_ring::what_a_small_ring_drops_is_invalid_and_not_lost") {
        return;
    }
    let runtime = runtime();
    let mut monitor = Monitor::new(Purpose::Watch, [5, 6]);
    monitor.handle(Instant::ZERO, Input::Plan(Box::new(plan())));
    let tap = TapOptions { blocks: 2, block_size: 65_536, ..TapOptions::default() };
    let options = EngineOptions { tap, ..EngineOptions::default() };
    let brain = Drowsy { monitor, turns: 0 };
    let (engine, _events) = start_with(brain, options, runtime.handle()).unwrap();
    runtime.block_on(async {
        let deadline = engine.now() + Duration::from_secs(40);
        loop {
            let snapshot = engine.snapshot().await.unwrap();
            let mut received = 0;
            let mut lost = BTreeMap::new();
            let mut invalid: BTreeMap<_, u64> = BTreeMap::new();
            for row in snapshot.probes.iter() {
                let counters = row.counters();
                assert!(counters.adds_up());
                received += counters.received;
                lost.extend(counters.lost);
                for (reason, count) in counters.invalid {
                    *invalid.entry(reason).or_default() += count;
                }
            }
            assert!(lost.is_empty(), "everything answers, and {lost:?} is called lost");
            let dropped = invalid.get(&InvalidReason::CaptureDrop).copied().unwrap_or(0);
            if dropped > 100 && received > 2_000 {
                assert!(snapshot.vantages.iter().any(|vantage| vantage.capture_drops > 0));
                break;
            }
            assert!(engine.now() < deadline, "{received} received, {invalid:?} in 40 s");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        engine.stop().await;
    });
}
