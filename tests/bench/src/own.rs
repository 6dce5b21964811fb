//! reachd's own sweep, as the bench drives it: the one place that knows the engine.
//!
//! [`run`] is called in a process of its own, in the prober's namespace and bound to processor 0
//! already. It need not measure the process: what it leaves zero is filled in by its caller.

use std::sync::mpsc::Sender;
use std::time::Duration;

use anyhow::{Context, Result};
use reachd_core::budget::Budgets;
use reachd_core::evidence::{InvalidReason, LossReason, Probe as Kind};
use reachd_core::monitor::{Flight, Input, Output, SendOrder, VantageState};
use reachd_core::plan::Budget;
use reachd_core::secret::Secret;
use reachd_core::snapshot::Snapshot;
use reachd_core::sweep::{LATENESS_CLASSES, LaneState, RowId, RowSpec, Sweep};
use reachd_core::time::Instant;
use reachd_core::vantage::{Means, Vantage, VantageId};
use reachd_core::wire::packet::{Checksums, Packet};
use reachd_net::engine::{Brain, EngineOptions, start_with};
use reachd_net::tap::TapOptions;
use serde::{Deserialize, Serialize};

use crate::cpu;
use crate::measured::Measured;
use crate::stage::Stage;

/// What each probe asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Probe {
    /// ICMP echo.
    Echo,
    /// TCP SYN to port 3389; the kernel's own reset closes.
    Syn,
}

/// How probes leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Transmit {
    /// The default: a raw socket that takes whole IP packets.
    Raw,
    /// The fast option: a packet socket.
    Packet,
}

/// What to run.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Load {
    /// What each probe asks.
    pub(crate) probe: Probe,
    /// How probes leave.
    pub(crate) transmit: Transmit,
    /// How many targets: [`Stage::target`] of 0 and on.
    pub(crate) targets: u32,
    /// Probes a second in all; `None` is flat out: the next probe leaves when there is room.
    pub(crate) rate: Option<f64>,
    /// For how long probes are sent. The run then waits for what is still under way.
    pub(crate) seconds: f64,
    /// Whether each round trip is to be reported, which costs time and memory.
    pub(crate) keep_rtts: bool,
}

/// Runs one load and gives what the engine counted.
pub(crate) fn run(stage: &Stage, load: &Load) -> Result<Measured> {
    let (done, result) = std::sync::mpsc::channel();
    let options = EngineOptions {
        tap: TapOptions::for_rate(load.rate.unwrap_or(f64::INFINITY)),
        evidence_bytes: EVIDENCE,
        ..EngineOptions::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let driver = Driver::new(stage, *load, done);
    let (engine, _events) = start_with(driver, options, runtime.handle())?;
    let limit = Duration::from_secs_f64(load.seconds) + Duration::from_secs(30);
    let measured = result.recv_timeout(limit);
    runtime.block_on(engine.stop());
    measured.context("the engine gave nothing")?
}

/// What the daemon keeps of captured packets by default: its cost belongs to the figures.
const EVIDENCE: usize = 4 << 20;
/// The verdict timer and a little more, after the last probe.
const AFTER: Duration = Duration::from_millis(3_100);
/// Longer than any run: nothing is due any more.
const NEVER: Duration = Duration::from_secs(3_600);

/// The sweep alone in the real engine, without what the monitor does beside it.
struct Driver {
    load: Load,
    sweep: Sweep,
    budgets: Budgets,
    rows: Vec<RowId>,
    drops: u64,
    opened: bool,
    failure: Option<String>,
    begun: Option<(Instant, cpu::Process)>,
    ended: Option<Ended>,
    done: Option<Sender<Result<Measured>>>,
}

/// The end of sending.
struct Ended {
    at: Instant,
    ordered: u64,
    used: cpu::Process,
}

impl Driver {
    fn new(_stage: &Stage, load: Load, done: Sender<Result<Measured>>) -> Self {
        let unlimited = Budget {
            packets_per_second: 1e9,
            per_destination: 1e9,
            per_prefix: 1e9,
            ..Budget::default()
        };
        let mut budgets = Budgets::new(unlimited, Instant::ZERO);
        let mut sweep = Sweep::new(Secret::new([7, 11]));
        let interval = load.rate.map_or(1e-6, |rate| f64::from(load.targets) / rate);
        let rows = (0..load.targets).filter_map(|index| {
            let address = Stage::target(index).into();
            let (probe, port) = match load.probe {
                Probe::Echo => (Kind::Echo, 0),
                Probe::Syn => (Kind::Syn, 3389),
            };
            let lease = budgets.lease(address, Instant::ZERO);
            let interval = Duration::from_secs_f64(interval);
            let vantage = VantageId(0);
            let spec = RowSpec { vantage, address, probe, port, interval, owner: index, lease };
            // Spread over the interval, neighbours far apart.
            let share = f64::from(index.reverse_bits()) / f64::from(u32::MAX);
            sweep.add(Instant::ZERO, spec, Instant::ZERO + interval.mul_f64(share) + START)
        });
        let rows = rows.collect();
        let (opened, failure, drops) = (false, None, 0);
        let (begun, ended, done) = (None, None, Some(done));
        Self { load, sweep, budgets, rows, drops, opened, failure, begun, ended, done }
    }

    /// Ends the sending: what is under way is waited for.
    fn end(&mut self, now: Instant) {
        let Ok(used) = cpu::Process::ourselves() else { return };
        self.ended = Some(Ended { at: now, ordered: self.sweep.ordered(), used });
        for row in &self.rows {
            self.sweep.set_interval(now, *row, NEVER);
        }
    }

    fn report(&mut self) {
        let Some(done) = self.done.take() else { return };
        // Nobody listening is the end of the run.
        let _ = done.send(self.measured());
    }

    fn measured(&self) -> Result<Measured> {
        if let Some(failure) = &self.failure {
            anyhow::bail!("{failure}");
        }
        let (Some((begun, before)), Some(ended)) = (&self.begun, &self.ended) else {
            anyhow::bail!("the run did not begin");
        };
        let mut measured = Measured {
            sent: ended.ordered,
            seconds: ended.at.since(*begun).as_secs_f64(),
            cpu_user: ended.used.user - before.user,
            cpu_sys: ended.used.system - before.system,
            rss_bytes: ended.used.rss,
            rss_peak: ended.used.rss_peak,
            ..Measured::default()
        };
        for (index, row) in (0_u32..).zip(&self.rows) {
            let Some(cell) = self.sweep.cell(*row) else { continue };
            measured.received += cell.received();
            let lost = LossReason::ALL.into_iter().map(|reason| cell.lost(reason));
            measured.lost += lost.sum::<u64>();
            let invalid = InvalidReason::ALL.into_iter().map(|reason| cell.invalid(reason));
            measured.invalid += invalid.sum::<u64>();
            measured.late += cell.late();
            measured.duplicate += cell.duplicate();
            if self.load.keep_rtts && cell.rtt_count() == 1 {
                measured.rtts.push((index, cell.rtt_sum()));
            }
        }
        (measured.lag_p99, measured.lag_max) = lags(self.sweep.lateness_classes());
        Ok(measured)
    }
}

/// Upper bounds, in seconds, of the 99th percentile and of the largest lateness.
fn lags(classes: [u64; LATENESS_CLASSES]) -> (Option<f64>, Option<f64>) {
    let bound = |class: usize| 0.000_25 * f64::from(1_u32 << class);
    let total: u64 = classes.iter().sum();
    let mut seen = 0;
    let p99 = classes.iter().position(|count| {
        seen += count;
        seen * 100 >= total * 99
    });
    let most = classes.iter().rposition(|count| *count > 0);
    (p99.filter(|_| total > 0).map(bound), most.map(bound))
}

/// The vantage is open by then.
const START: Duration = Duration::from_millis(300);

impl Brain for Driver {
    fn handle(&mut self, now: Instant, input: Input<'_>) {
        match input {
            Input::Captured(captured) => {
                let verify = captured.checksums_final;
                let checksums = if verify { Checksums::Verify } else { Checksums::Skip };
                if let Ok(packet) = Packet::parse(captured.bytes, checksums) {
                    self.sweep.handle_packet(&captured, &packet);
                }
            }
            Input::Vantage(vantage, VantageState::Up { mode, tap }) => {
                let state = LaneState { mode: Some(mode), tap, believed: true };
                self.sweep.set_lane(now, vantage, state);
            }
            Input::Vantage(_, VantageState::Down { detail, .. }) => {
                self.failure = Some(detail.en);
            }
            Input::SendFailed { flight: Flight::Sweep(token), error } => {
                self.sweep.handle_send_failed(token, error);
            }
            Input::CaptureCounts { tap, drops, .. } if drops > self.drops => {
                self.drops = drops;
                self.sweep.note_drops(now, tap);
            }
            Input::Lag(lag) if lag > Duration::from_millis(50) => self.sweep.note_lag(now),
            _ => {}
        }
    }

    fn poll(&mut self) -> Output {
        if !std::mem::replace(&mut self.opened, true) {
            let transmit = match self.load.transmit {
                Transmit::Raw => Means::Raw,
                Transmit::Packet => Means::Packet,
            };
            let vantage = Vantage { transmit, ..Vantage::unbound("bench") };
            return Output::OpenVantage(VantageId(0), Box::new(vantage));
        }
        Output::Wait(None)
    }

    fn poll_burst(&mut self, now: Instant, burst: &mut Vec<SendOrder>) -> Option<Instant> {
        if self.failure.is_some() {
            self.report();
            return None;
        }
        if let Some((begun, _)) = &self.begun
            && self.ended.is_none()
            && now.since(*begun).as_secs_f64() >= self.load.seconds
        {
            self.end(now);
        }
        if let Some(ended) = &self.ended
            && now.since(ended.at) > AFTER
        {
            self.report();
            return None;
        }
        self.sweep.poll_burst(now, &mut self.budgets, burst);
        if self.begun.is_none() && !burst.is_empty() {
            self.begun = cpu::Process::ourselves().ok().map(|used| (now, used));
        }
        while self.sweep.poll_change().is_some() {}
        let soon = now + Duration::from_millis(20);
        Some(self.sweep.next_wake().map_or(soon, |at| at.min(soon)))
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::default()
    }
}
