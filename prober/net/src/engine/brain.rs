//! What the engine needs of the monitor; tests put something simpler in its place.

use reachd_core::monitor::{Input, Monitor, Output};
use reachd_core::snapshot::Snapshot;
use reachd_core::time::Instant;

/// The monitor, or a stand-in.
pub(crate) trait Brain: Send + 'static {
    /// Takes what happened.
    fn handle(&mut self, now: Instant, input: Input<'_>);
    /// Gives what is to be done.
    fn poll(&mut self) -> Output;
    /// Copies all numbers.
    fn snapshot(&self) -> Snapshot;
}

impl Brain for Monitor {
    fn handle(&mut self, now: Instant, input: Input<'_>) {
        Self::handle(self, now, input);
    }

    fn poll(&mut self) -> Output {
        Self::poll(self)
    }

    fn snapshot(&self) -> Snapshot {
        Self::snapshot(self)
    }
}
