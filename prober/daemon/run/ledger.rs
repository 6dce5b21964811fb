//! Steps of incidents on their way into the store, and from there to the receivers.
//!
//! A step that cannot be saved now (a full disk, a store that is behind) waits here, and everything
//! later of its incident behind it. What waits is bounded: of an incident the newest steps are
//! kept, and nothing is told before it is saved.

use std::collections::{BTreeMap, VecDeque};

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
