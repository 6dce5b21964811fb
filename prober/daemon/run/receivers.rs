//! Receivers: from their spelling in the configuration to running tasks.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use reachd_config::{Receiver, ReceiverKind, Settings};
use reachd_core::incident::{IncidentState, IncidentUpdate};
use reachd_exporters::alertmanager::{self, Alertmanager};
use reachd_exporters::clock::WallClock;
use reachd_exporters::outbox::{Exporter, Outbox};
use reachd_exporters::prometheus::SelfMetrics;
use reachd_exporters::store::StoreHandle;
use reachd_exporters::webhook::{self, Surroundings};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::receiver::spell;

/// How long undelivered messages are tried on when the daemon stops.
const DRAIN: Duration = Duration::from_secs(3);

/// The running receivers.
pub(super) struct Receivers {
    pub(super) outbox: Outbox,
    running: Vec<Running>,
}

struct Running {
    receiver: Receiver,
    exporter: Arc<dyn Exporter>,
    /// The same, for those that tell states.
    cluster: Option<Arc<Alertmanager>>,
    stop: watch::Sender<()>,
    task: JoinHandle<usize>,
}

impl Receivers {
    /// Nobody is told yet.
    pub(super) fn none() -> Self {
        Self { outbox: Outbox::default(), running: Vec::new() }
    }

    /// Starts, keeps and stops receivers as the settings want. One that cannot be started is an
    /// error and changes nothing.
    pub(super) fn apply(
        &mut self,
        settings: &Settings,
        (metrics, clock, store): (&Arc<SelfMetrics>, WallClock, &StoreHandle),
    ) -> Result<()> {
        let wanted: Vec<&Receiver> = settings.receivers.iter().collect();
        let mut fresh = Vec::new();
        for receiver in &wanted {
            if !self.running.iter().any(|running| running.receiver == **receiver) {
                fresh.push(start(receiver, settings, (metrics, clock, store))?);
            }
        }
        for Running { receiver, cluster, .. } in &fresh {
            let elder = self.running.iter().find(|elder| elder.receiver.name == receiver.name);
            let elder = elder.and_then(|elder| elder.cluster.as_ref());
            if let (Some(heir), Some(elder)) = (cluster, elder) {
                heir.inherit(elder);
            }
        }
        let kept = |running: &Running| wanted.iter().any(|receiver| **receiver == running.receiver);
        for gone in self.running.extract_if(.., |running| !kept(running)) {
            let name = gone.receiver.name.clone();
            drop(gone.stop);
            if !wanted.iter().any(|receiver| receiver.name == name) {
                metrics.forget_receiver(&name);
            }
        }
        self.running.extend(fresh);
        let exporters = self.running.iter().map(|running| Arc::clone(&running.exporter)).collect();
        self.outbox = Outbox::new(exporters);
        Ok(())
    }

    /// Tells each receiver what an earlier run saved and could not deliver to it any more: that an
    /// incident fires, unless that was the last it heard, and that one is over that it heard of.
    pub(super) async fn catch_up(&self, saved: &[IncidentUpdate], store: &StoreHandle) {
        for exporter in self.running.iter().map(|running| &running.exporter) {
            for update in saved {
                let (name, id) = (exporter.name().to_owned(), update.fingerprint.clone());
                let last = store.call(move |store| store.last_delivered(&name, &id)).await;
                let last = last.unwrap_or_else(|error| {
                    warn!(%error, "What was delivered is not known; it is told again");
                    None
                });
                let owed = match update.state {
                    IncidentState::Firing => last.as_deref() != Some("firing"),
                    IncidentState::Resolved => last.as_deref() == Some("firing"),
                    IncidentState::Pending => false,
                };
                if owed {
                    info!(receiver = exporter.name(), id = update.fingerprint, "Told late");
                    exporter.offer(update);
                }
            }
        }
    }

    /// Stops them all and waits for what is still to be delivered, within a limit.
    pub(super) async fn stop(self) {
        let mut tasks = Vec::new();
        for Running { receiver, stop, task, .. } in self.running {
            drop(stop);
            tasks.push((receiver.name, task));
        }
        for (receiver, task) in tasks {
            match task.await {
                Ok(0) => {}
                Ok(left) => warn!(receiver, left, "Notifications were not delivered"),
                Err(error) => warn!(receiver, %error, "Receiver ended badly"),
            }
        }
    }
}

fn start(
    receiver: &Receiver,
    settings: &Settings,
    (metrics, clock, store): (&Arc<SelfMetrics>, WallClock, &StoreHandle),
) -> Result<Running> {
    let store = store.clone();
    let surroundings = Surroundings {
        external_url: format!("http://{}", settings.listen.address),
        clock,
        metrics: Arc::clone(metrics),
        delivered: Arc::new(move |receiver, message| {
            store.note_delivered(receiver, &message.fingerprint, message.version);
        }),
    };
    let [seed, _] = crate::check::seed()?;
    let hint = || format!("start receiver {}", receiver.name);
    let (stop, mut stopped) = watch::channel(());
    let until = async move {
        // An error is the stop: the sender is dropped.
        let _ = stopped.changed().await;
    };
    let wanted = spell(receiver)?;
    if receiver.kind == ReceiverKind::Alertmanager {
        let urls: Vec<_> = receiver.urls.iter().map(|url| url.as_str().to_owned()).collect();
        let pair = alertmanager::alertmanager(wanted, &urls, surroundings);
        let (cluster, task) = pair.with_context(hint)?;
        let task = tokio::spawn(task.run(until, DRAIN));
        let exporter: Arc<dyn Exporter> = Arc::<Alertmanager>::clone(&cluster);
        let (receiver, cluster) = (receiver.clone(), Some(cluster));
        return Ok(Running { receiver, exporter, cluster, stop, task });
    }
    let pair = webhook::webhook(wanted, surroundings, seed);
    let (exporter, task) = pair.with_context(hint)?;
    let task = tokio::spawn(task.run(until, DRAIN));
    Ok(Running { receiver: receiver.clone(), exporter, cluster: None, stop, task })
}
