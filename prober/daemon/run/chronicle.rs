//! What the history is told: every change of a verdict, and each minute how targets fare.
//!
//! One task looks at the engine's numbers once a minute and hands over what has come together every
//! ten. Nothing waits for it, and what it cannot keep is lost.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle as Thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use reachd_core::judge::Class;
use reachd_core::report::TargetReport;
use reachd_core::snapshot::Snapshot;
use reachd_core::target::TargetName;
use reachd_exporters::clock::unix_millis;
use reachd_exporters::history::{Batch, Change, HistoryHandle, Hour, unix_hour};
use reachd_exporters::prometheus::SelfMetrics;
use reachd_net::engine::EngineHandle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tracing::{debug, warn};

/// How often the numbers are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Looks after which what came together is handed over.
const LOOKS: u32 = 10;
/// Changes that may wait; when a tenth does, they are handed over with the next look.
const CHANGES_MAX: usize = 50_000;
/// How long the last hand-over may take: history must not keep alerts from being drained.
const STOP_WITHIN: Duration = Duration::from_secs(1);

type Changes = Arc<Mutex<Vec<Change>>>;

/// The way to the history.
pub(super) struct Chronicle {
    changes: Changes,
    metrics: Arc<SelfMetrics>,
    /// Both are gone once it was stopped.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<Thread<()>>,
    task: JoinHandle<()>,
}

impl Chronicle {
    /// Begins to keep it in this file.
    pub(super) fn start(
        path: &Path,
        engine: EngineHandle,
        metrics: Arc<SelfMetrics>,
        full: Arc<AtomicBool>,
    ) -> Result<Self> {
        let started = HistoryHandle::start(path, Arc::clone(&metrics), full);
        let (history, thread) = started.context("start the thread of the history")?;
        let changes = Changes::default();
        let (stop, stopped) = oneshot::channel();
        let scribe =
            Scribe { engine, history, changes: Arc::clone(&changes), tally: Tally::default() };
        let task = tokio::spawn(scribe.run(stopped));
        Ok(Self { changes, metrics, stop: Some(stop), thread: Some(thread), task })
    }

    /// Notes that a target's class is another one.
    pub(super) fn note(&self, target: &TargetName, before: Class, report: &TargetReport) {
        let verdict = &report.verdict;
        let change = Change {
            target: target.to_string(),
            at_ms: unix_millis(SystemTime::now()),
            before: before.as_str().to_owned(),
            class: verdict.class.clone(),
            confidence: verdict.confidence,
            summary: verdict.summary.clone(),
        };
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if changes.len() < CHANGES_MAX {
            changes.push(change);
        } else {
            self.metrics.history_lost();
        }
    }

    /// Hands over what has come together, while the engine still answers, and waits until it is
    /// written.
    pub(super) async fn stop(&mut self) {
        let (stop, thread) = (self.stop.take(), self.thread.take());
        drop(stop);
        let ended = tokio::time::timeout(STOP_WITHIN, async {
            // Its own panic was logged, as was that of the thread.
            let _ = (&mut self.task).await;
            let _ = tokio::task::spawn_blocking(move || thread.map(Thread::join)).await;
        });
        if ended.await.is_err() {
            warn!("The last minutes of history were not written in time");
        }
    }
}

struct Scribe {
    engine: EngineHandle,
    history: HistoryHandle,
    changes: Changes,
    tally: Tally,
}

impl Scribe {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut count = 0;
        loop {
            let stop = tokio::select! {
                _ = looks.tick() => false,
                // The sender is dropped.
                _ = &mut stopped => true,
            };
            self.look().await;
            count += 1;
            let many = self.waiting() >= CHANGES_MAX / 10;
            if stop || many || count % LOOKS == 0 {
                self.hand_over();
            }
            if stop {
                return;
            }
        }
    }

    async fn look(&mut self) {
        let snapshot = match self.engine.snapshot().await {
            Ok(snapshot) => snapshot,
            Err(error) => return debug!(%error, "No numbers for the history"),
        };
        let mut tally = std::mem::take(&mut self.tally);
        let hour = unix_hour(SystemTime::now());
        // A hundred thousand targets take a moment.
        let taken = tokio::task::spawn_blocking(move || {
            tally.take(&snapshot, hour);
            tally
        });
        match taken.await {
            Ok(tally) => self.tally = tally,
            Err(error) => warn!(%error, "Some minutes of history are lost"),
        }
    }

    fn waiting(&self) -> usize {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn hand_over(&mut self) {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = std::mem::take(&mut *changes);
        let batch = Batch { hours: self.tally.hand_over(), changes };
        if !batch.is_empty() {
            self.history.add(batch);
        }
    }
}

/// The fate of all probes between two names, as counters that only grow.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Counts {
    sent: u64,
    received: u64,
    lost: u64,
    rtt_count: u64,
    rtt_seconds: f64,
}

impl Counts {
    /// What came since an earlier look; all of it where counting began anew.
    fn since(self, earlier: Self) -> Self {
        let grew = [
            self.sent >= earlier.sent,
            self.received >= earlier.received,
            self.lost >= earlier.lost,
            self.rtt_count >= earlier.rtt_count,
        ];
        if grew.contains(&false) {
            return self;
        }
        Self {
            sent: self.sent - earlier.sent,
            received: self.received - earlier.received,
            lost: self.lost - earlier.lost,
            rtt_count: self.rtt_count - earlier.rtt_count,
            rtt_seconds: (self.rtt_seconds - earlier.rtt_seconds).max(0.0),
        }
    }
}

type Pair = (Arc<str>, TargetName);

/// What came together between two hand-overs.
#[derive(Debug, Default)]
struct Tally {
    /// The counters of the last look, by vantage and target.
    earlier: BTreeMap<Pair, Counts>,
    hours: BTreeMap<(i64, Pair), Hour>,
}

impl Tally {
    fn take(&mut self, snapshot: &Snapshot, hour: i64) {
        let mut now: BTreeMap<Pair, Counts> = BTreeMap::new();
        for row in snapshot.probes.iter() {
            let (counters, rtt) = row.numbers();
            let counts = now.entry((Arc::clone(&row.vantage), row.target.clone())).or_default();
            counts.sent += counters.sent;
            counts.received += counters.received;
            counts.lost += counters.lost_total();
            counts.rtt_count += rtt.count;
            counts.rtt_seconds += rtt.sum;
        }
        for (pair, counts) in &now {
            let more = counts.since(self.earlier.get(pair).copied().unwrap_or_default());
            if more.sent > 0 || more.rtt_count > 0 {
                let row = self.row(hour, pair);
                row.sent = row.sent.saturating_add(low(more.sent));
                row.received = row.received.saturating_add(low(more.received));
                row.lost = row.lost.saturating_add(low(more.lost));
                row.rtt_count = row.rtt_count.saturating_add(low(more.rtt_count));
                let micros = Duration::try_from_secs_f64(more.rtt_seconds).unwrap_or_default();
                row.rtt_micros += i64::try_from(micros.as_micros()).unwrap_or_default();
            }
        }
        self.earlier = now;
        for view in &snapshot.views {
            let Some(reachable) = view.reachable else { continue };
            let row = self.row(hour, &(Arc::clone(&view.vantage), view.target.clone()));
            row.looks += 1;
            row.reachable += u32::from(reachable);
        }
    }

    fn row(&mut self, hour: i64, pair: &Pair) -> &mut Hour {
        let (vantage, target) = pair;
        self.hours.entry((hour, pair.clone())).or_insert_with(|| Hour {
            target: target.to_string(),
            hour,
            vantage: vantage.to_string(),
            ..Hour::default()
        })
    }

    fn hand_over(&mut self) -> Vec<Hour> {
        std::mem::take(&mut self.hours).into_values().collect()
    }
}

fn low(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use reachd_core::accounting::{Counters, Histogram};
    use reachd_core::evidence::{LossReason, Probe};
    use reachd_core::snapshot::{ProbeRow, ViewRow};
    use reachd_core::sweep::Cell;

    use super::*;

    fn snapshot(received: u64, lost: u64, reachable: Option<bool>) -> Snapshot {
        let (vantage, target): Pair = ("v".into(), TargetName::new("t"));
        let counters = Counters {
            sent: received + lost,
            received,
            lost: BTreeMap::from([(LossReason::Silent, lost)]),
            ..Counters::default()
        };
        let mut rtt = Histogram::default();
        (0..received).for_each(|_| rtt.observe(Duration::from_millis(2)));
        let row = |probe| ProbeRow {
            vantage: Arc::clone(&vantage),
            target: target.clone(),
            probe,
            cell: Cell::fixed(&counters, &rtt),
            others: Vec::new(),
        };
        let view = ViewRow {
            vantage: Arc::clone(&vantage),
            target: target.clone(),
            reachable,
            path_hops: None,
            path_changes: 0,
            rdp: None,
            rdp_names: false,
        };
        let probes = [row(Probe::Echo), row(Probe::Syn)].into();
        Snapshot { probes, views: vec![view], ..Snapshot::default() }
    }

    #[test]
    fn what_came_between_two_looks_is_counted_once() {
        let mut tally = Tally::default();
        tally.take(&snapshot(10, 0, Some(true)), 5);
        tally.take(&snapshot(13, 2, Some(false)), 5);
        tally.take(&snapshot(13, 2, None), 5);
        tally.take(&snapshot(20, 2, Some(true)), 6);
        // Counting began anew.
        tally.take(&snapshot(1, 0, Some(true)), 6);
        let told = tally.hand_over();
        let numbers = |hour: &Hour| {
            let Hour { sent, received, lost, rtt_count, .. } = *hour;
            (hour.hour, hour.looks, hour.reachable, [sent, received, lost, rtt_count])
        };
        let told: Vec<_> = told.iter().map(numbers).collect();
        assert_eq!(told, [(5, 2, 1, [30, 26, 4, 26]), (6, 2, 2, [16, 16, 0, 16])]);
        assert_eq!(tally.hand_over(), []);
    }
}
