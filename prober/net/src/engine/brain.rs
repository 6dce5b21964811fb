//! What the engine needs of the monitor; tests put something simpler in its place, and the bench a
//! sweep alone.

use reachd_core::monitor::{Input, Monitor, Output, SendOrder};
use reachd_core::snapshot::Snapshot;
use reachd_core::time::Instant;

/// The monitor, or a stand-in.
pub trait Brain: Send + 'static {
    /// Takes what happened.
    fn handle(&mut self, now: Instant, input: Input<'_>);
    /// Gives what is to be done.
    fn poll(&mut self) -> Output;
    /// Appends the probes of the sweep that are due, a burst at most; gives when to ask again.
    fn poll_burst(&mut self, now: Instant, burst: &mut Vec<SendOrder>) -> Option<Instant>;
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

    fn poll_burst(&mut self, now: Instant, burst: &mut Vec<SendOrder>) -> Option<Instant> {
        Self::poll_burst(self, now, burst)
    }

    fn snapshot(&self) -> Snapshot {
        Self::snapshot(self)
    }
}
