//! Baselines on their way into the store: the newest of each target and vantage, many at once, so
//! that they neither hold up the owner's loop nor the steps of incidents.

use std::collections::BTreeMap;

use reachd_exporters::chain;
use reachd_exporters::store::{BaselineRow, StoreHandle};
use tokio::task::JoinHandle;
use tracing::warn;

/// Baselines that wait to be saved; no more than there are targets and vantages.
#[derive(Debug, Default)]
pub(super) struct Baselines {
    waiting: BTreeMap<(String, String), BaselineRow>,
    saving: Option<JoinHandle<()>>,
}

impl Baselines {
    /// Takes one, in place of an older one.
    pub(super) fn take(&mut self, row: BaselineRow) {
        self.waiting.insert((row.target.clone(), row.vantage.clone()), row);
    }

    /// Begins to save what waits, unless that is under way. What cannot be saved is learnt anew.
    pub(super) fn save(&mut self, store: &StoreHandle) {
        let busy = self.saving.as_ref().is_some_and(|saving| !saving.is_finished());
        if busy || self.waiting.is_empty() {
            return;
        }
        let rows: Vec<_> = std::mem::take(&mut self.waiting).into_values().collect();
        let count = rows.len();
        let saved =
            store.begin(move |store| store.save_baselines(&rows, std::time::SystemTime::now()));
        self.saving = Some(tokio::spawn(async move {
            if let Err(error) = saved.await {
                warn!(error = chain(&error), count, "Baselines were not saved");
            }
        }));
    }
}
