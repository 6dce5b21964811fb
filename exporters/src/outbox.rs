//! The seam between the monitor's incidents and everybody who wants to hear of them.

use std::sync::Arc;

use reachd_core::incident::IncidentUpdate;

/// An audience for incidents.
///
/// An exporter keeps what it is offered in a bounded queue of its own, counts what does not fit,
/// and never makes the caller wait.
pub trait Exporter: Send + Sync {
    /// The receiver's name, a metric label.
    fn name(&self) -> &str;

    /// Takes one step of an incident's life; whether it is told is the exporter's own routing.
    fn offer(&self, update: &IncidentUpdate);
}

/// All exporters of the running configuration.
#[derive(Default)]
pub struct Outbox {
    exporters: Vec<Arc<dyn Exporter>>,
}

impl Outbox {
    /// An outbox with these exporters, told in this order.
    pub fn new(exporters: Vec<Arc<dyn Exporter>>) -> Self {
        Self { exporters }
    }

    /// Offers an update to everybody. To be called after the store has committed it.
    pub fn publish(&self, update: &IncidentUpdate) {
        for exporter in &self.exporters {
            exporter.offer(update);
        }
    }
}
