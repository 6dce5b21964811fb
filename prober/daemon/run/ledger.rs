//! Steps of incidents on their way into the store, and from there to the receivers.
//!
//! A step that cannot be saved now (a full disk, a store that is behind) waits here, and everything
//! later of its incident behind it. What waits is bounded: of an incident the newest steps are
//! kept, and nothing is told before it is saved.

use std::collections::{BTreeMap, VecDeque};

use reachd_core::incident::IncidentUpdate;
use reachd_exporters::outbox::Outbox;
use reachd_exporters::prometheus::SelfMetrics;
use reachd_exporters::store::{IncidentRow, Rendered, StoreHandle};
use tracing::error;

/// Steps of one incident that wait at most: more often than this it flapped on a broken disk.
const STEPS_MAX: usize = 8;

/// A step and what is to be said of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    pub(super) row: IncidentRow,
    pub(super) messages: Vec<Rendered>,
    /// The step itself, for those who keep what is open; and whether only those are to hear of it
    /// who know the incident.
    pub(super) update: Option<(Box<IncidentUpdate>, bool)>,
}

/// What waits to be saved.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    waiting: BTreeMap<String, VecDeque<Step>>,
}

impl Ledger {
    /// Takes a step. It replaces a waiting one of the same state whose receivers it tells as well.
    pub(super) fn take(&mut self, step: Step) {
        let steps = self.waiting.entry(step.row.fingerprint.clone()).or_default();
        if steps.back().is_some_and(|last| step.says_all_of(last)) {
            steps.pop_back();
        }
        steps.push_back(step);
        if steps.len() > STEPS_MAX {
            let lost = steps.pop_front().map(|step| step.row.version);
            error!(version = lost, "The store fails for long: a step of an incident is left out");
        }
    }

    /// Steps that wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.values().map(VecDeque::len).sum()
    }

    /// Saves what it can, and queues the messages of what was saved. The first failure ends it:
    /// the next would fail as well.
    pub(super) async fn settle(
        &mut self,
        store: &StoreHandle,
        outbox: &Outbox,
        metrics: &SelfMetrics,
    ) {
        while let Some(mut entry) = self.waiting.first_entry() {
            let Some(step) = entry.get().front().cloned() else {
                entry.remove();
                continue;
            };
            let (row, messages) = (step.row.clone(), step.messages.clone());
            match store.save_incident(row, messages).await {
                Ok(true) => {
                    outbox.queue((&step.row.fingerprint, step.row.version), &step.messages);
                    if let Some((update, owed)) = &step.update {
                        outbox.note(update, *owed);
                    }
                }
                Ok(false) => error!(version = step.row.version, "A step was saved before"),
                Err(error) => {
                    metrics.save_failed();
                    metrics.unsaved(self.len());
                    error!(%error, "Incident was not saved; it is told once it is");
                    return;
                }
            }
            entry.get_mut().pop_front();
        }
        metrics.unsaved(0);
    }
}

impl Step {
    fn says_all_of(&self, older: &Self) -> bool {
        let told = |message: &Rendered| {
            self.messages.iter().any(|other| other.receiver == message.receiver)
        };
        self.row.state == older.row.state && older.messages.iter().all(told)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use reachd_exporters::clock::WallClock;
    use reachd_exporters::store::{SubjectRow, TextRow};

    use super::*;

    fn step(version: u64, state: &str, receivers: &[&str]) -> Step {
        let text = || TextRow { en: String::new(), zh: String::new() };
        let clock = WallClock::anchored(reachd_core::time::Instant::ZERO, SystemTime::UNIX_EPOCH);
        let row = IncidentRow {
            fingerprint: "a".to_owned(),
            version,
            state: state.to_owned(),
            alertname: "ReachdVantageFault".to_owned(),
            subject: SubjectRow::Vantage { name: "here".to_owned() },
            severity: "critical".to_owned(),
            class: "vantage_fault".to_owned(),
            class_now: "vantage_fault".to_owned(),
            started: clock.rfc3339(reachd_core::time::Instant::ZERO),
            ended: None,
            resolution: None,
            flaps: 0,
            summary: text(),
            next_step: text(),
            member: false,
            report: None,
        };
        let message = |receiver: &&str| Rendered {
            receiver: (*receiver).to_owned(),
            resolved: state == "resolved",
            body: bytes::Bytes::new(),
        };
        Step { row, messages: receivers.iter().map(message).collect(), update: None }
    }

    fn versions(ledger: &Ledger) -> Vec<u64> {
        ledger.waiting.values().flatten().map(|step| step.row.version).collect()
    }

    #[test]
    fn a_step_replaces_one_that_says_no_more() {
        let mut ledger = Ledger::default();
        ledger.take(step(1, "firing", &[]));
        ledger.take(step(2, "firing", &["ops"]));
        assert_eq!(versions(&ledger), [2]);
        // Nobody else tells what version 2 tells.
        ledger.take(step(3, "firing", &[]));
        ledger.take(step(4, "resolved", &["ops"]));
        assert_eq!(versions(&ledger), [2, 3, 4]);
    }

    #[test]
    fn what_waits_is_bounded_and_the_newest_stays() {
        let mut ledger = Ledger::default();
        for version in 0..100 {
            let state = if version % 2 == 0 { "firing" } else { "resolved" };
            ledger.take(step(version, state, &["ops"]));
        }
        assert_eq!(versions(&ledger), (92..100).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn nothing_is_queued_before_it_is_saved() {
        struct Ear(std::sync::Mutex<Vec<u64>>);
        impl reachd_exporters::outbox::Exporter for Ear {
            fn name(&self) -> &str {
                "ops"
            }
            fn render(&self, _: &IncidentUpdate) -> Option<Rendered> {
                None
            }
            fn heard(&self, _: &str) -> bool {
                false
            }
            fn queue(&self, (_, version): (&str, u64), _: &Rendered) {
                self.0.lock().unwrap().push(version);
            }
            fn restore(&self, _: &reachd_exporters::store::OutboxRow) {}
        }
        let ear = std::sync::Arc::new(Ear(std::sync::Mutex::default()));
        let outbox = Outbox::new(vec![std::sync::Arc::clone(&ear) as _]);
        let metrics = SelfMetrics::new("1").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let (store, thread, _) = StoreHandle::start(&path).unwrap();
        // Another process holds the file for longer than the store waits.
        let other = rusqlite::Connection::open(&path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut ledger = Ledger::default();
        ledger.take(step(1, "firing", &["ops"]));
        ledger.take(step(2, "resolved", &["ops"]));
        ledger.settle(&store, &outbox, &metrics).await;
        assert_eq!((ledger.len(), ear.0.lock().unwrap().len()), (2, 0));
        other.execute_batch("ROLLBACK").unwrap();
        ledger.settle(&store, &outbox, &metrics).await;
        assert_eq!((ledger.len(), &ear.0.lock().unwrap()[..]), (0, &[1, 2][..]));
        let owed = store.call(|store| store.outbox_of("ops")).await.unwrap();
        assert_eq!(owed.len(), 2);
        drop(store);
        thread.join().unwrap();
    }
}
