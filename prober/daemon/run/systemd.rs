//! The service manager: readiness, reloads, and a watchdog tied to the engine's progress.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::warn;

/// Tells the manager; without one this does nothing.
pub(super) fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "Notifying the service manager failed");
    }
}

/// A reload begins; the manager wants the monotonic time with it.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => warn!(%error, "Reading the monotonic clock failed"),
    }
}

/// How often the watchdog is petted: a third of its limit, so that a late one still comes within
/// the half that the manager asks for; `None` when nobody watches.
pub(super) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 3)
}

/// Pets the watchdog only when the engine's loop has moved since the last time.
#[derive(Debug, Default)]
pub(super) struct Watchdog {
    last: Option<u64>,
}

impl Watchdog {
    /// Whether the watchdog was petted.
    pub(super) fn pet(&mut self, progress: u64) -> bool {
        let moved = self.last != Some(progress);
        self.last = Some(progress);
        if moved {
            tell(&[NotifyState::Watchdog]);
        } else {
            warn!("The engine's loop stands still");
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standing_loop_is_not_covered_for() {
        let mut watchdog = Watchdog::default();
        assert!(watchdog.pet(1));
        assert!(watchdog.pet(2));
        assert!(!watchdog.pet(2));
    }
}
