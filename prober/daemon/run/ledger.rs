//! Steps of incidents on their way into the store, and from there to the receivers.
//!
//! Whoever brings a step never waits for the disk: one batch at a time is saved beside the owner's
//! loop, and what comes meanwhile makes the next. A step that cannot be saved now (a full disk, a
//! store that is behind) waits here, and everything later of its incident behind it. What waits is
//! bounded: of an incident the newest steps are kept, and nothing is told before it is saved.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use reachd_core::incident::IncidentUpdate;
use reachd_exporters::chain;
use reachd_exporters::outbox::Outbox;
use reachd_exporters::prometheus::SelfMetrics;
use reachd_exporters::store::{Rendered, StepRow, StoreError};
use tracing::error;

/// Steps of one incident that wait at most: more often than this it flapped on a broken disk.
const STEPS_MAX: usize = 8;

/// Steps in one transaction at most: a commit more or less is nothing beside so many rows.
const BATCH: usize = 256;

/// A step and what is to be said of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    pub(super) saved: StepRow,
    /// The step itself, for those who keep what is open; and whether only those are to hear of it
    /// who know the incident.
    pub(super) update: Option<(Box<IncidentUpdate>, bool)>,
}

/// What waits to be saved.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    waiting: BTreeMap<String, VecDeque<Step>>,
    /// Those that are being saved now, the older ones of an incident before the newer.
    saving: Vec<Step>,
    /// The incident whose steps were saved last: the next batch goes on behind it.
    last: String,
}

impl Ledger {
    /// Takes a step. It replaces a waiting one of the same state whose receivers it tells as well.
    pub(super) fn take(&mut self, step: Step) {
        let steps = self.waiting.entry(step.saved.row.fingerprint.clone()).or_default();
        if steps.back().is_some_and(|last| step.says_all_of(last)) {
            steps.pop_back();
        }
        steps.push_back(step);
        shorten(steps);
    }

    /// Steps that wait, those that are being saved among them.
    pub(super) fn len(&self) -> usize {
        self.waiting.values().map(VecDeque::len).sum::<usize>() + self.saving.len()
    }

    /// What is to be saved next, in one transaction; `None` while a batch is under way, or when
    /// nothing waits. [`Ledger::saved`] must be told what came of it.
    pub(super) fn batch(&mut self) -> Option<Arc<[StepRow]>> {
        if !self.saving.is_empty() || self.waiting.is_empty() {
            return None;
        }
        let behind = (Bound::Excluded(self.last.clone()), Bound::Unbounded);
        let names = self.waiting.range::<String, _>(behind).chain(&self.waiting);
        let names: Vec<String> = names.map(|(name, _)| name.clone()).take(BATCH).collect();
        for name in names {
            if self.saving.len() >= BATCH {
                break;
            }
            self.saving.extend(self.waiting.remove(&name).unwrap_or_default());
            self.last = name;
        }
        Some(self.saving.iter().map(|step| step.saved.clone()).collect())
    }

    /// Queues the messages of what was saved; what was not waits on. Whether the next batch may be
    /// tried at once.
    pub(super) fn saved(
        &mut self,
        result: Result<Vec<bool>, StoreError>,
        outbox: &Outbox,
        metrics: &SelfMetrics,
    ) -> bool {
        let steps = std::mem::take(&mut self.saving);
        let is_saved = result.is_ok();
        match result {
            Ok(saved) => {
                for (step, is_new) in steps.iter().zip(saved) {
                    step.queue(is_new, outbox);
                }
            }
            Err(error) => {
                metrics.save_failed();
                for step in steps.into_iter().rev() {
                    let name = step.saved.row.fingerprint.clone();
                    let later = self.waiting.entry(name).or_default();
                    later.push_front(step);
                    shorten(later);
                }
                let (error, steps) = (chain(&error), self.len());
                error!(error, steps, "Incidents were not saved; they are told once they are");
            }
        }
        metrics.unsaved(self.len());
        is_saved
    }
}

/// Leaves out the oldest of too many. Whoever was to hear of it hears it from its successor.
fn shorten(steps: &mut VecDeque<Step>) {
    while steps.len() > STEPS_MAX {
        let Some(gone) = steps.pop_front() else { return };
        let version = gone.saved.row.version;
        error!(version, "The store fails for long: a step of an incident is left out");
        let Some(heir) = steps.front_mut() else { return };
        if heir.saved.row.state == gone.saved.row.state {
            let messages = gone.saved.messages.into_iter();
            let unsaid = messages.filter(|message| !heir.tells(&message.receiver));
            let unsaid: Vec<_> = unsaid.collect();
            heir.saved.messages.extend(unsaid);
        }
    }
}

impl Step {
    fn says_all_of(&self, older: &Self) -> bool {
        let mut messages = older.saved.messages.iter();
        self.saved.row.state == older.saved.row.state
            && messages.all(|message| self.tells(&message.receiver))
    }

    fn tells(&self, receiver: &str) -> bool {
        self.saved.messages.iter().any(|message: &Rendered| message.receiver == receiver)
    }

    fn queue(&self, is_new: bool, outbox: &Outbox) {
        let StepRow { row, messages } = &self.saved;
        if !is_new {
            error!(row.fingerprint, row.version, "A step was saved before");
            return;
        }
        outbox.queue((&row.fingerprint, row.version), messages);
        if let Some((update, owed)) = &self.update {
            outbox.note(update, *owed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use reachd_exporters::clock::WallClock;
    use reachd_exporters::store::{IncidentRow, StoreHandle, SubjectRow, TextRow};

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
            opened: String::new(),
            resolved: state == "resolved",
            body: bytes::Bytes::new(),
        };
        let messages = receivers.iter().map(message).collect();
        Step { saved: StepRow { row, messages }, update: None }
    }

    fn versions(ledger: &Ledger) -> Vec<u64> {
        ledger.waiting.values().flatten().map(|step| step.saved.row.version).collect()
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

    #[test]
    fn what_is_left_out_is_said_by_its_successor() {
        let mut ledger = Ledger::default();
        ledger.take(step(1, "firing", &["ops", "boss"]));
        for version in 2..=STEPS_MAX as u64 + 1 {
            let receiver = format!("{version}");
            ledger.take(step(version, "firing", &[&receiver]));
        }
        let steps = &ledger.waiting["a"];
        assert_eq!((steps.len(), steps[0].saved.row.version), (STEPS_MAX, 2));
        assert!(steps[0].tells("2") && steps[0].tells("ops") && steps[0].tells("boss"));
    }

    #[test]
    fn a_batch_goes_on_where_the_last_one_ended() {
        let (outbox, metrics) = (Outbox::default(), SelfMetrics::new("1").unwrap());
        let mut ledger = Ledger::default();
        let mut seen = std::collections::BTreeSet::new();
        let fill = |ledger: &mut Ledger| {
            for number in 0..2 * BATCH {
                let mut step = step(1, "firing", &[]);
                step.saved.row.fingerprint = format!("{number:04}");
                ledger.take(step);
            }
        };
        fill(&mut ledger);
        for _ in 0..2 {
            let batch = ledger.batch().unwrap();
            assert_eq!(batch.len(), BATCH);
            seen.extend(batch.iter().map(|step| step.row.fingerprint.clone()));
            assert!(ledger.saved(Ok(vec![true; batch.len()]), &outbox, &metrics));
            // The first come again before the last had their turn.
            fill(&mut ledger);
        }
        assert_eq!(seen.len(), 2 * BATCH);
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
        let ear = Arc::new(Ear(std::sync::Mutex::default()));
        let outbox = Outbox::new(vec![Arc::clone(&ear) as _]);
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
        let batch = ledger.batch().unwrap();
        assert!(ledger.batch().is_none(), "one at a time");
        // It comes while the others are being saved.
        ledger.take(step(3, "firing", &["ops"]));
        let result = store.save_steps(batch).await;
        let error = chain(result.as_ref().unwrap_err());
        assert!(error.ends_with("database is locked"), "{error}");
        assert!(!ledger.saved(result, &outbox, &metrics));
        assert_eq!((ledger.len(), ear.0.lock().unwrap().len()), (3, 0));
        assert_eq!(versions(&ledger), [1, 2, 3]);
        other.execute_batch("ROLLBACK").unwrap();
        let result = store.save_steps(ledger.batch().unwrap()).await;
        assert!(ledger.saved(result, &outbox, &metrics));
        assert_eq!((ledger.len(), &ear.0.lock().unwrap()[..]), (0, &[1, 2, 3][..]));
        let owed = store.call(|store| store.outbox_of("ops")).await.unwrap();
        assert_eq!(owed.len(), 3);
        drop(store);
        thread.join().unwrap();
    }
}
