//! The seam between the monitor's incidents and everybody who wants to hear of them.
//!
//! A step of an incident's life goes three ways, in this order: every exporter renders its message,
//! the store commits them with the step ([`Store::save_incident`](crate::store::Store)), and what
//! is committed is queued. Nothing is sent that is not known, nothing known is left unsaid.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reachd_core::incident::{IncidentState, IncidentUpdate};

use crate::receiver::Notice;
use crate::store::{MarkKey, OutboxRow, Rendered, Scribe};

/// An audience for incidents.
///
/// An exporter keeps what it is handed in a bounded queue of its own, counts what does not fit,
/// and never makes the caller wait.
pub trait Exporter: Send + Sync {
    /// The receiver's name, a metric label.
    fn name(&self) -> &str;

    /// The message about one step of an incident's life; `None` when the receiver is not to hear
    /// of it, which is the exporter's own routing.
    fn render(&self, update: &IncidentUpdate) -> Option<Rendered>;

    /// Who is told of what this receiver was not told.
    fn dead_letter_to(&self) -> Option<&str> {
        None
    }

    /// A message about messages; `None` for those who take none.
    fn render_notice(&self, _notice: &Notice) -> Option<Rendered> {
        None
    }

    /// Whether the receiver said that it is gone; a reload begins it anew.
    fn is_disabled(&self) -> bool {
        false
    }

    /// Whether the last message about an incident said that it fires.
    fn heard(&self, fingerprint: &str) -> bool;

    /// Hears of a step that is committed: for those who tell what is open instead of what happened.
    /// Others need not listen.
    fn note(&self, _update: &IncidentUpdate) {}

    /// Takes a message that is committed.
    fn queue(&self, incident: (&str, u64), message: &Rendered);

    /// The digest that tells a message of this incident is on the disk.
    fn settle_summed(&self, _incident: (&str, u64)) {}

    /// Takes a row of the outbox back: one that an earlier run left, or that a person revived.
    fn restore(&self, row: &OutboxRow);

    /// The same for many at once: after a start there may be thousands.
    fn restore_all(&self, rows: &[OutboxRow]) {
        rows.iter().for_each(|row| self.restore(row));
    }
}

/// All exporters of the running configuration.
#[derive(Default)]
pub struct Outbox {
    exporters: Vec<Arc<dyn Exporter>>,
    /// What is open and may be told, by fingerprint, as the last step left it.
    standing: Arc<Mutex<BTreeMap<String, IncidentUpdate>>>,
}

impl Outbox {
    /// An outbox with these exporters.
    pub fn new(exporters: Vec<Arc<dyn Exporter>>) -> Self {
        Self { exporters, standing: Arc::default() }
    }

    /// An outbox with other exporters, which knows what this one knows.
    pub fn successor(&self, exporters: Vec<Arc<dyn Exporter>>) -> Self {
        Self { exporters, standing: Arc::clone(&self.standing) }
    }

    /// The messages about a step, to be committed with it.
    pub fn render(&self, update: &IncidentUpdate) -> Vec<Rendered> {
        self.exporters.iter().filter_map(|exporter| exporter.render(update)).collect()
    }

    /// The messages about a step for those alone who were told that the incident fires.
    pub fn render_owed(&self, update: &IncidentUpdate) -> Vec<Rendered> {
        let heard = self.exporters.iter().filter(|exporter| exporter.heard(&update.fingerprint));
        heard.filter_map(|exporter| exporter.render(update)).collect()
    }

    /// What is open and may be told.
    pub fn standing(&self) -> Vec<IncidentUpdate> {
        self.lock().values().cloned().collect()
    }

    /// Remembers what is open, or forgets what is over.
    pub fn stand(&self, update: &IncidentUpdate) {
        match update.state {
            IncidentState::Pending => {}
            IncidentState::Firing => {
                self.lock().insert(update.fingerprint.clone(), update.clone());
            }
            IncidentState::Resolved => {
                self.lock().remove(&update.fingerprint);
            }
        }
    }

    /// No half-made change is ever behind the lock.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, IncidentUpdate>> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of a committed step all who listen, or only those who know the incident.
    pub fn note(&self, update: &IncidentUpdate, owed: bool) {
        self.stand(update);
        for exporter in &self.exporters {
            if !owed || exporter.heard(&update.fingerprint) {
                exporter.note(update);
            }
        }
    }

    /// Whether anybody was told that an incident fires.
    pub fn was_heard(&self, fingerprint: &str) -> bool {
        self.exporters.iter().any(|exporter| exporter.heard(fingerprint))
    }

    /// Hands committed messages about a step (incident and version) to their receivers.
    pub fn queue(&self, incident: (&str, u64), messages: &[Rendered]) {
        for message in messages {
            for exporter in self.of(&message.receiver) {
                exporter.queue(incident, message);
            }
        }
    }

    /// Hands a row that is owed to its receiver, if it is in the configuration.
    pub fn restore(&self, row: &OutboxRow) {
        for exporter in self.of(&row.receiver) {
            exporter.restore(row);
        }
    }

    /// Tells a receiver that the digest that it left a message to is on the disk.
    pub fn settle_summed(&self, (receiver, fingerprint, version): &MarkKey) {
        for exporter in self.of(receiver) {
            exporter.settle_summed((fingerprint, *version));
        }
    }

    fn of(&self, receiver: &str) -> impl Iterator<Item = &Arc<dyn Exporter>> {
        self.exporters.iter().filter(move |exporter| exporter.name() == receiver)
    }
}

impl Scribe for Outbox {
    fn heir(&self, receiver: &str) -> Option<String> {
        self.of(receiver).find_map(|exporter| exporter.dead_letter_to()).map(str::to_owned)
    }

    fn write(&self, receiver: &str, notice: &Notice) -> Option<Rendered> {
        self.of(receiver).find_map(|exporter| exporter.render_notice(notice))
    }
}
