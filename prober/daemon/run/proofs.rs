//! Evidence of incidents on its way to the disk: packets of the capture ring, verdicts, paths.
//!
//! One task asks the engine for the packets of one step after the other and writes them; the disk
//! is waited for on a thread that may block. Neither probing nor alerts wait for any of it: what
//! comes faster than it is written, or cannot be written, is counted and goes without evidence.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use reachd_config::EvidenceSettings;
use reachd_core::incident::{IncidentState, IncidentUpdate};
use reachd_core::report::TargetReport;
use reachd_exporters::evidence::{
    Archive, EvidenceError, IsOpen, Limits, Opened, Proof, StepName, comments,
};
use reachd_exporters::prometheus::{EvidenceLoss, SelfMetrics};
use reachd_net::engine::EngineHandle;
use reachd_net::tap::store::Wanted;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tracing::{debug, error, info, warn};

use super::answers::{self, Started};

/// Steps that may wait.
const QUEUE: usize = 256;
/// The pause after a step: the engine looks through the whole ring for it.
const PAUSE: Duration = Duration::from_millis(250);
/// How often what is too old is looked for.
const TEND_EVERY: Duration = Duration::from_secs(60);

/// When each open incident opened, by fingerprint.
type Open = Arc<Mutex<BTreeMap<String, Opened>>>;

/// The way to the evidence.
pub(super) struct Proofs {
    open: Open,
    /// `None` once it was stopped.
    steps: Option<mpsc::Sender<Box<Step>>>,
    limits: watch::Sender<Limits>,
    task: JoinHandle<()>,
    engine: EngineHandle,
    metrics: Arc<SelfMetrics>,
}

/// One step that is to be proved.
struct Step {
    proof: Proof,
    hosts: Vec<IpAddr>,
    comments: Vec<String>,
}

impl Proofs {
    /// Begins to write into this folder. Incidents that an earlier run left open go on, and what is
    /// kept of them with them.
    pub(super) async fn start(
        (folder, full): (PathBuf, Arc<AtomicBool>),
        settings: EvidenceSettings,
        (engine, metrics): (EngineHandle, Arc<SelfMetrics>),
        firing: BTreeSet<String>,
    ) -> Self {
        let mut archive = Archive::new(folder, limits(settings), full);
        let read = tokio::task::spawn_blocking(move || {
            let outcome = archive.prepare();
            (archive, outcome)
        });
        let (steps, waiting) = mpsc::channel(QUEUE);
        let (limits, changes) = watch::channel(limits(settings));
        let mut writer = Writer {
            archive: None,
            engine: engine.clone(),
            metrics: Arc::clone(&metrics),
            open: Open::default(),
            captured: BTreeMap::new(),
            failing: false,
        };
        let mut open = BTreeMap::new();
        if let Ok((archive, outcome)) = read.await {
            // In their order: the last opening is the one that goes on.
            let known = archive.steps().filter(|step| firing.contains(step.fingerprint()));
            open.extend(known.map(|step| (step.fingerprint().to_owned(), step.opened().clone())));
            // What fails is told; it is tried again with the first step.
            let _ = writer.end(archive, outcome);
        }
        let open = Arc::new(Mutex::new(open));
        writer.open = Arc::clone(&open);
        let task = tokio::spawn(writer.run(waiting, changes));
        Self { open, steps: Some(steps), limits, task, engine, metrics }
    }

    /// Other limits, from a reload.
    pub(super) fn set_limits(&self, settings: EvidenceSettings) {
        self.limits.send_replace(limits(settings));
    }

    /// Takes a step of an incident. What is a group's is proved by the group's own steps.
    pub(super) fn take(&self, update: &IncidentUpdate, started: &Started) {
        let opened = self.note(update);
        let (Some(report), Some(opened), false) = (&update.report, opened, update.member) else {
            return;
        };
        let Some(name) = StepName::new(&update.fingerprint, &opened, update.version) else {
            return;
        };
        let began = answers::began(started, report);
        let mut report = TargetReport::clone(report);
        report.started = Some(began);
        report.date_looks(|at| crate::check::date(self.engine.wall(at)));
        let hosts = report.addresses.iter().filter_map(|part| part.address.parse().ok()).collect();
        let proof = match Proof::new(name, &report) {
            Ok(proof) => proof,
            Err(error) => return error!(%error, "A verdict has no JSON"),
        };
        let step = Step { proof, hosts, comments: comments(update) };
        let sent = self.steps.as_ref().map(|steps| steps.try_send(Box::new(step)));
        if !matches!(sent, Some(Ok(()))) {
            self.metrics.evidence_lost(EvidenceLoss::Queue);
        }
    }

    /// When the incident of this step opened; `None` if it does not fire.
    fn note(&self, update: &IncidentUpdate) -> Option<Opened> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if update.state == IncidentState::Firing {
            let now = || Opened::at(SystemTime::now());
            Some(open.entry(update.fingerprint.clone()).or_insert_with(now).clone())
        } else {
            open.remove(&update.fingerprint);
            None
        }
    }

    /// Writes what waits, and ends.
    pub(super) async fn stop(&mut self) {
        drop(self.steps.take());
        // Its own panic was logged.
        let _ = (&mut self.task).await;
    }
}

/// The task behind it.
struct Writer {
    /// `None` while it is at work on a thread that may block.
    archive: Option<Archive>,
    engine: EngineHandle,
    metrics: Arc<SelfMetrics>,
    open: Open,
    /// Until when packets are kept of each open incident: its next step begins there.
    captured: BTreeMap<(String, Opened), Duration>,
    /// Whether the last attempt failed, which is told once.
    failing: bool,
}

impl Writer {
    async fn run(
        mut self,
        mut waiting: mpsc::Receiver<Box<Step>>,
        mut limits: watch::Receiver<Limits>,
    ) {
        let mut tends = tokio::time::interval(TEND_EVERY);
        tends.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                step = waiting.recv() => {
                    let Some(step) = step else { break };
                    self.keep(*step).await;
                    if !waiting.is_closed() {
                        tokio::time::sleep(PAUSE).await;
                    }
                }
                Ok(()) = limits.changed() => {
                    let limits = *limits.borrow_and_update();
                    self.archive.iter_mut().for_each(|archive| archive.set_limits(limits));
                    self.tend().await;
                }
                _ = tends.tick() => self.tend().await,
            }
        }
    }

    async fn keep(&mut self, step: Step) {
        let Step { mut proof, hosts, comments } = step;
        let name = proof.step();
        let key = (name.fingerprint().to_owned(), name.opened().clone());
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        if !hosts.is_empty() {
            // A clock that was set back would hide everything.
            let from = self.captured.get(&key).copied().filter(|from| *from <= now);
            match self.engine.pcapng(Wanted { hosts, from, until: None }, comments).await {
                Ok(file) => {
                    proof.add_packets(file);
                    self.captured.insert(key, now);
                }
                // It is stopping, or very busy; the verdict is worth keeping without packets.
                Err(error) => debug!(%error, "No packets for evidence"),
            }
        }
        let put = move |archive: &mut Archive, is_open: IsOpen<'_>| {
            archive.put(&proof, SystemTime::now(), is_open)
        };
        match self.work(put).await {
            Ok(()) if std::mem::take(&mut self.failing) => info!("Evidence is written again"),
            Ok(()) => {}
            Err(loss) => self.metrics.evidence_lost(loss),
        }
    }

    async fn tend(&mut self) {
        self.forget_captured();
        // What fails is told; nothing is lost by it.
        let _ = self.work(|archive, is_open| archive.tend(SystemTime::now(), is_open)).await;
    }

    fn forget_captured(&mut self) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        self.captured.retain(|(name, opened), _| open.get(name) == Some(opened));
    }

    /// Works on the archive where blocking is allowed.
    async fn work(
        &mut self,
        work: impl FnOnce(&mut Archive, IsOpen<'_>) -> Result<(), EvidenceError> + Send + 'static,
    ) -> Result<(), EvidenceLoss> {
        let Some(mut archive) = self.archive.take() else { return Err(EvidenceLoss::Disk) };
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let done = tokio::task::spawn_blocking(move || {
            let is_open = |step: &StepName| open.get(step.fingerprint()) == Some(step.opened());
            let outcome = work(&mut archive, &is_open);
            (archive, outcome)
        });
        match done.await {
            Ok((archive, outcome)) => self.end(archive, outcome),
            Err(error) => {
                error!(%error, "Evidence is kept no longer");
                Err(EvidenceLoss::Disk)
            }
        }
    }

    /// Takes the archive back. Trouble is told when it begins.
    fn end(
        &mut self,
        archive: Archive,
        outcome: Result<(), EvidenceError>,
    ) -> Result<(), EvidenceLoss> {
        self.metrics.evidence(archive.bytes());
        self.archive = Some(archive);
        let Err(error) = outcome else { return Ok(()) };
        let loss = match error {
            EvidenceError::Disk { .. } => EvidenceLoss::Disk,
            EvidenceError::NoRoom { .. } | EvidenceError::TooLarge { .. } => EvidenceLoss::Room,
        };
        if !std::mem::replace(&mut self.failing, true) {
            let error = anyhow::Error::new(error);
            warn!("Evidence is not written; probing and alerts go on: {error:#}");
        }
        Err(loss)
    }
}

const fn limits(settings: EvidenceSettings) -> Limits {
    Limits { max_bytes: settings.max_bytes, max_age: settings.max_age }
}
