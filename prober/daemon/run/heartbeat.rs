//! A sign of life for somebody else, who raises the alarm when it stays away.
//!
//! It is sent only while everything moves that an alert needs: the engine that probes, the store
//! that keeps incidents, and the loop that owns them. One task, stopped when this is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use reachd_config::{Endpoint, Heartbeat as Wanted, Settings};
use reachd_exporters::carry::{Poster, Route};
use reachd_exporters::store::StoreHandle;
use reachd_exporters::webhook::delivery::Outcome;
use reachd_net::engine::EngineHandle;
use serde_json::json;
use tokio::task::JoinHandle;
use tracing::{debug, warn};

use crate::receiver::first_line;

/// How long the store may take to show that it is there.
const STORE_PATIENCE: Duration = Duration::from_secs(5);

/// What must move between two beats.
#[derive(Clone)]
pub(super) struct Pulse {
    pub(super) engine: EngineHandle,
    pub(super) store: StoreHandle,
    /// Counted by the loop that owns the daemon.
    pub(super) turns: Arc<AtomicU64>,
}

/// The heartbeat as the settings want it.
#[derive(Default)]
pub(super) struct Heartbeat {
    running: Option<(Wanted, JoinHandle<()>)>,
}

impl Heartbeat {
    /// Starts, keeps or stops it as the settings want.
    pub(super) fn apply(&mut self, settings: &Settings, pulse: &Pulse) -> Result<()> {
        let same = self.running.as_ref().map(|(running, _)| running) == settings.heartbeat.as_ref();
        if same {
            return Ok(());
        }
        let fresh = match &settings.heartbeat {
            Some(wanted) => {
                let poster = poster(wanted).context("start the [heartbeat]")?;
                let task = tokio::spawn(beat(poster, wanted.interval, pulse.clone()));
                Some((wanted.clone(), task))
            }
            None => None,
        };
        self.stop();
        self.running = fresh;
        Ok(())
    }

    fn stop(&mut self) {
        if let Some((_, task)) = self.running.take() {
            task.abort();
        }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Whether it could be started as the settings want it.
pub(super) fn check(settings: &Settings) -> Result<()> {
    settings
        .heartbeat
        .as_ref()
        .map_or(Ok(()), |wanted| poster(wanted).map(drop).context("start the [heartbeat]"))
}

fn poster(wanted: &Wanted) -> Result<Poster> {
    let url = match &wanted.endpoint {
        Endpoint::Url(url) => url.as_str().to_owned(),
        Endpoint::File(path) => first_line(path)?,
        Endpoint::None => String::new(),
    };
    Ok(Poster::new("heartbeat", &Route::to(&url))?)
}

/// Whether both the engine and the owner went on since the last beat.
fn has_moved(last: Option<(u64, u64)>, now: (u64, u64)) -> bool {
    last.is_none_or(|(engine, turns)| engine != now.0 && turns != now.1)
}

async fn beat(poster: Poster, interval: Duration, pulse: Pulse) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last = None;
    loop {
        ticks.tick().await;
        let now = (pulse.engine.progress(), pulse.turns.load(Ordering::Relaxed));
        let moved = has_moved(last.replace(now), now);
        let stored = tokio::time::timeout(STORE_PATIENCE, pulse.store.call(|_| Ok(()))).await;
        if !moved || !matches!(stored, Ok(Ok(()))) {
            warn!(moved, "No heartbeat: something stands still");
            continue;
        }
        let time = jiff::Timestamp::try_from(SystemTime::now()).map(|now| now.to_string());
        let body = json!({ "reachd": env!("CARGO_PKG_VERSION"), "alive": time.ok() });
        match poster.post(body.to_string().into()).await.outcome {
            Outcome::Accepted => debug!("The heartbeat was heard"),
            Outcome::Retry { why, .. } | Outcome::Refused { why } => {
                warn!(why, "The heartbeat was not heard");
            }
            Outcome::Gone => warn!("The heartbeat was not heard: 410 Gone"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::has_moved;

    #[test]
    fn one_that_stands_still_is_not_covered_for_by_the_other() {
        assert!(has_moved(None, (1, 1)), "nothing is known yet");
        assert!(has_moved(Some((1, 1)), (2, 2)));
        assert!(!has_moved(Some((1, 1)), (1, 2)), "the engine");
        assert!(!has_moved(Some((1, 1)), (2, 1)), "the owner");
    }
}
