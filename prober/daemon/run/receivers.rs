//! Receivers: from their spelling in the configuration to running tasks, whose queues begin with
//! what the outbox says is owed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use reachd_config::{Receiver, ReceiverKind, Settings};
use reachd_core::incident::{IncidentState, IncidentUpdate};
use reachd_exporters::alertmanager::{self, Alertmanager, AlertmanagerTask};
use reachd_exporters::carry::gate::Gate;
use reachd_exporters::chain;
use reachd_exporters::clock::WallClock;
use reachd_exporters::outbox::{Exporter, Outbox};
use reachd_exporters::prometheus::SelfMetrics;
use reachd_exporters::store::{StoreHandle, WriteBack};
use reachd_exporters::webhook::{self, Surroundings, WebhookTask};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::receiver::spell;

/// How long undelivered messages are tried on when the daemon stops.
const DRAIN: Duration = Duration::from_secs(3);

/// What every receiver needs.
#[derive(Clone)]
pub(super) struct Means {
    pub(super) metrics: Arc<SelfMetrics>,
    pub(super) clock: WallClock,
    pub(super) store: StoreHandle,
    pub(super) write_back: Arc<WriteBack>,
    pub(super) gate: Gate,
}

/// The running receivers.
pub(super) struct Receivers {
    pub(super) outbox: Arc<Outbox>,
    shared: Arc<Mutex<Arc<Outbox>>>,
    running: Vec<Running>,
    /// By receiver and incident, whether the last message says that it is over; as of the start.
    heard: BTreeMap<(String, String), bool>,
}

struct Running {
    receiver: Receiver,
    exporter: Arc<dyn Exporter>,
    /// The same, for those that tell states.
    cluster: Option<Arc<Alertmanager>>,
    stop: watch::Sender<()>,
    task: JoinHandle<usize>,
}

/// A receiver that does not run yet.
struct Made {
    exporter: Arc<dyn Exporter>,
    cluster: Option<Arc<Alertmanager>>,
    task: Task,
}

/// The far end of a receiver, not yet running.
enum Task {
    Webhook(WebhookTask),
    Alertmanager(AlertmanagerTask),
}

impl Receivers {
    /// Nobody is told yet.
    pub(super) fn none() -> Self {
        Self {
            outbox: Arc::default(),
            shared: Arc::default(),
            running: Vec::new(),
            heard: BTreeMap::new(),
        }
    }

    /// The outbox as it is at any time, for whoever outlives a reload.
    pub(super) fn shared(&self) -> Arc<Mutex<Arc<Outbox>>> {
        Arc::clone(&self.shared)
    }

    /// Starts, keeps and stops receivers as the settings want. One that cannot be started is an
    /// error and changes nothing. Who tells states learns at once what is open, but for what is
    /// muted. Gives the names of those that are new.
    pub(super) async fn apply(
        &mut self,
        settings: &Settings,
        means: &Means,
        muted: impl Fn(&IncidentUpdate) -> bool,
    ) -> Result<BTreeSet<String>> {
        let wanted: Vec<&Receiver> = settings.receivers.iter().collect();
        let goes_on = |running: &Running, receiver: &Receiver| {
            running.receiver == *receiver && !running.exporter.is_disabled()
        };
        let mut fresh = Vec::new();
        for receiver in &wanted {
            if !self.running.iter().any(|running| goes_on(running, receiver)) {
                fresh.push((*receiver, make(receiver, settings, means)?));
            }
        }
        for (receiver, Made { cluster, .. }) in &fresh {
            let elder = self.running.iter().find(|elder| elder.receiver.name == receiver.name);
            let elder = elder.and_then(|elder| elder.cluster.as_ref());
            match (cluster, elder) {
                (Some(heir), Some(elder)) => heir.inherit(elder),
                (Some(fresh), None) => self.teach(fresh, &muted),
                (None, _) => {}
            }
        }
        let kept = |running: &Running| wanted.iter().any(|receiver| goes_on(running, receiver));
        let gone: Vec<_> = self.running.extract_if(.., |running| !kept(running)).collect();
        for gone in gone {
            let name = gone.receiver.name.clone();
            if wanted.iter().any(|receiver| receiver.name == name) {
                // Its successor sends what is owed; a request that is cut off here comes again.
                gone.task.abort();
                drop(gone.task.await);
            } else {
                drop(gone.stop);
                means.metrics.forget_receiver(&name);
            }
        }
        if !fresh.is_empty() {
            means.write_back.flush(&means.store, &self.outbox).await;
        }
        let names = fresh.iter().map(|(receiver, _)| receiver.name.clone()).collect();
        for (receiver, made) in fresh {
            self.fill(&*made.exporter, &means.store).await;
            self.running.push(start(receiver, made));
        }
        let exporters = self.running.iter().map(|running| Arc::clone(&running.exporter)).collect();
        self.outbox = Arc::new(self.outbox.successor(exporters));
        *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&self.outbox);
        Ok(names)
    }

    /// Tells a receiver of states, which is new, what is open. What was last told of an incident
    /// may have been a mere change; that it fires is news to this one.
    fn teach(&self, fresh: &Alertmanager, muted: impl Fn(&IncidentUpdate) -> bool) {
        for update in self.outbox.standing().into_iter().filter(|update| !muted(update)) {
            fresh.tell(&IncidentUpdate { notify: !update.member, ..update });
        }
    }

    /// Hands a receiver what the outbox has for it. A store that fails costs the memory, not the
    /// receiver.
    async fn fill(&mut self, exporter: &dyn Exporter, store: &StoreHandle) {
        let name = exporter.name().to_owned();
        match store.call(move |store| store.outbox_of(&name)).await {
            Ok(rows) => {
                for row in &rows {
                    let key = (row.receiver.clone(), row.fingerprint.clone());
                    self.heard.insert(key, row.resolved);
                }
                exporter.restore_all(&rows);
            }
            Err(error) => {
                warn!(
                    error = chain(&error),
                    receiver = exporter.name(),
                    "What is owed to it is not known"
                );
            }
        }
    }

    /// Tells receivers of incidents they have no message of: that one fires, to a receiver that is
    /// new, and that one is over, to whom it was told only that it fires: by an earlier release, or
    /// before it left the configuration for a time.
    pub(super) async fn catch_up(
        &mut self,
        names: &BTreeSet<String>,
        saved: &[IncidentUpdate],
        store: &StoreHandle,
    ) {
        let heard = std::mem::take(&mut self.heard);
        saved.iter().for_each(|update| self.outbox.stand(update));
        let running = self.running.iter().filter(|running| names.contains(&running.receiver.name));
        for exporter in running.map(|running| &running.exporter) {
            let mut owed_now = Vec::new();
            for update in saved {
                if update.state == IncidentState::Firing {
                    exporter.note(update);
                }
                let last = heard.get(&(exporter.name().to_owned(), update.fingerprint.clone()));
                let owed = match update.state {
                    IncidentState::Firing => last != Some(&false),
                    IncidentState::Resolved => last == Some(&false),
                    IncidentState::Pending => false,
                };
                let Some(message) = owed.then(|| exporter.render(update)).flatten() else {
                    continue;
                };
                info!(receiver = exporter.name(), id = update.fingerprint, "Told late");
                owed_now.push(((update.fingerprint.clone(), update.version), message));
            }
            if owed_now.is_empty() {
                continue;
            }
            let rows = owed_now.clone();
            let added = store.call(move |store| store.add_messages(&rows, SystemTime::now()));
            if let Err(error) = added.await {
                warn!(error = chain(&error), receiver = exporter.name(), "Not told late");
                continue;
            }
            for ((id, version), message) in &owed_now {
                exporter.queue((id, *version), message);
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

fn make(receiver: &Receiver, settings: &Settings, means: &Means) -> Result<Made> {
    let surroundings = Surroundings {
        external_url: format!("http://{}", settings.listen.address),
        clock: means.clock.clone(),
        metrics: Arc::clone(&means.metrics),
        write_back: Arc::clone(&means.write_back),
        gate: means.gate.clone(),
    };
    let [seed, _] = crate::check::seed()?;
    let hint = || format!("start receiver {}", receiver.name);
    let wanted = spell(receiver).with_context(hint)?;
    if receiver.kind == ReceiverKind::Alertmanager {
        let urls: Vec<_> = receiver.urls.iter().map(|url| url.as_str().to_owned()).collect();
        let pair = alertmanager::alertmanager(wanted, &urls, surroundings);
        let (cluster, task) = pair.with_context(hint)?;
        let exporter: Arc<dyn Exporter> = Arc::<Alertmanager>::clone(&cluster);
        let task = Task::Alertmanager(task);
        return Ok(Made { exporter, cluster: Some(cluster), task });
    }
    let (exporter, task) = webhook::webhook(wanted, surroundings, seed).with_context(hint)?;
    Ok(Made { exporter, cluster: None, task: Task::Webhook(task) })
}

fn start(receiver: &Receiver, Made { exporter, cluster, task }: Made) -> Running {
    let (stop, mut stopped) = watch::channel(());
    let until = async move {
        // An error is the stop: the sender is dropped.
        let _ = stopped.changed().await;
    };
    let task = match task {
        Task::Webhook(task) => tokio::spawn(task.run(until, DRAIN)),
        Task::Alertmanager(task) => tokio::spawn(task.run(until, DRAIN)),
    };
    Running { receiver: receiver.clone(), exporter, cluster, stop, task }
}
