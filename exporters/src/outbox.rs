//! The seam between the monitor's incidents and everybody who wants to hear of them.
//!
//! A step of an incident's life goes three ways, in this order: every exporter renders its message,
//! the store commits them with the step ([`Store::save_incident`](crate::store::Store)), and what
//! is committed is queued. Nothing is sent that is not known, nothing known is left unsaid.

use std::sync::Arc;

use reachd_core::incident::IncidentUpdate;

use crate::store::{OutboxRow, Rendered};

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

    /// Whether the last message about an incident said that it fires.
    fn heard(&self, fingerprint: &str) -> bool;

    /// Hears of a step that is committed: for those who tell what is open instead of what happened.
    /// Others need not listen.
    fn note(&self, _update: &IncidentUpdate) {}

    /// Takes a message that is committed.
    fn queue(&self, incident: (&str, u64), message: &Rendered);

    /// Takes a row of the outbox back: one that an earlier run left, or that a person revived.
    fn restore(&self, row: &OutboxRow);
}

/// All exporters of the running configuration.
#[derive(Default)]
pub struct Outbox {
    exporters: Vec<Arc<dyn Exporter>>,
}

impl Outbox {
    /// An outbox with these exporters.
    pub fn new(exporters: Vec<Arc<dyn Exporter>>) -> Self {
        Self { exporters }
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

    /// Tells of a committed step all who listen, or only those who know the incident.
    pub fn note(&self, update: &IncidentUpdate, owed: bool) {
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

    fn of(&self, receiver: &str) -> impl Iterator<Item = &Arc<dyn Exporter>> {
        self.exporters.iter().filter(move |exporter| exporter.name() == receiver)
    }
}
