//! The owner of the running daemon: its settings, and who is told what.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Result, anyhow};
use jiff::Timestamp;
use reachd_config::Settings;
use reachd_core::incident::{IncidentState, IncidentUpdate};
use reachd_core::monitor::Event;
use reachd_exporters::carry::gate::Gate;
use reachd_exporters::chain;
use reachd_exporters::http::Request;
use reachd_exporters::prometheus::Detail;
use reachd_exporters::silence::{SilenceError, SilenceRequest};
use reachd_exporters::store::{BaselineRow, IncidentRow, StepRow, StoreError};
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;
use tracing::{error, info, warn};

use super::answers::{self, Started};
use super::baselines::Baselines;
use super::chronicle::Chronicle;
use super::files::Files;
use super::heartbeat::{self, Heartbeat, Pulse};
use super::ledger::{Ledger, Step};
use super::mutes::{Mutes, Telling};
use super::probing;
use super::proofs::Proofs;
use super::receivers::{Means, Receivers};
use super::restore;
use super::systemd::{self, Watchdog};
use super::{Parts, apply_arguments, detail};
use crate::cli::Run;

/// How often target files are looked at.
const FILES_EVERY: Duration = Duration::from_secs(5);
/// The fact of the store under which silences are kept.
const SILENCES: &str = "silences";
/// How often what could not be saved is tried again, and the ballast looked after.
const STORE_EVERY: Duration = Duration::from_secs(1);
/// How often old rows are forgotten, and how old they are then.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);
const PRUNE_AGE: Duration = Duration::from_secs(30 * 86_400);
/// How long draining may take; the store closes after it, and all is over within five seconds.
const STOP_WITHIN: Duration = Duration::from_secs(4);

/// The running daemon.
pub(super) struct Daemon {
    arguments: Run,
    settings: Settings,
    parts: Parts,
    receivers: Receivers,
    means: Means,
    ledger: Ledger,
    saving: JoinSet<Result<Vec<bool>, StoreError>>,
    store_fails: bool,
    baselines: Baselines,
    mutes: Mutes,
    heartbeat: Heartbeat,
    pulse: Pulse,
    files: Files,
    proofs: Proofs,
    chronicle: Chronicle,
    started: Started,
    ready: watch::Sender<bool>,
    detail: watch::Sender<Detail>,
    dropped: u64,
}

/// The signals a service gets.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

impl Daemon {
    /// Everything is open; receivers are started here.
    pub(super) async fn new(
        arguments: Run,
        settings: Settings,
        parts: Parts,
        (ready, detail): (watch::Sender<bool>, watch::Sender<Detail>),
    ) -> Result<Self> {
        let mut receivers = Receivers::none();
        let means = Means {
            metrics: Arc::clone(&parts.metrics),
            clock: parts.clock.clone(),
            store: parts.store.clone(),
            write_back: Arc::default(),
            gate: Gate::default(),
        };
        receivers.apply(&settings, &means, |_| false).await?;
        let pulse = Pulse {
            engine: parts.engine.clone(),
            store: parts.store.clone(),
            turns: Arc::default(),
        };
        let mut mutes = Mutes::default();
        match parts.store.call(|store| store.meta(SILENCES)).await {
            Ok(text) => mutes.restore(text.map_or_else(Vec::new, |text| {
                serde_json::from_str(&text).unwrap_or_else(|error| {
                    error!(%error, "Silences cannot be read; they are forgotten");
                    Vec::new()
                })
            })),
            Err(error) => warn!(error = chain(&error), "Silences were not restored"),
        }
        let mut heartbeat = Heartbeat::default();
        heartbeat.apply(&settings, &pulse)?;
        let files = Files::remember(&settings);
        let proofs = {
            let saved = parts.restored.saved.iter();
            let firing = saved.filter(|update| update.state == IncidentState::Firing);
            let firing = firing.map(|update| update.fingerprint.clone()).collect();
            let means = (parts.engine.clone(), Arc::clone(&parts.metrics));
            let place = (parts.places.evidence.clone(), parts.store.disk_is_full());
            Proofs::start(place, settings.evidence, means, firing).await
        };
        let (engine, metrics) = (parts.engine.clone(), Arc::clone(&parts.metrics));
        let chronicle =
            Chronicle::start(&parts.places.history, engine, metrics, parts.store.disk_is_full())?;
        let daemon = Self {
            arguments,
            settings,
            parts,
            receivers,
            means,
            ledger: Ledger::default(),
            saving: JoinSet::new(),
            store_fails: false,
            baselines: Baselines::default(),
            mutes,
            heartbeat,
            pulse,
            files,
            proofs,
            chronicle,
            started: Started::default(),
            ready,
            detail,
            dropped: 0,
        };
        daemon.book_files();
        Ok(daemon)
    }

    /// Serves until a signal says stop, then drains.
    pub(super) async fn serve(
        mut self,
        mut inbox: mpsc::Receiver<Request>,
        stop_http: impl FnOnce(),
    ) {
        let mut signals = match Signals::new() {
            Ok(signals) => signals,
            Err(error) => {
                error!(%error, "Catching signals failed");
                return;
            }
        };
        let pet_every = systemd::watchdog().unwrap_or(Duration::from_secs(15));
        let mut pets = tokio::time::interval(pet_every);
        let mut looks = tokio::time::interval(FILES_EVERY);
        let mut saves = tokio::time::interval(STORE_EVERY);
        let mut prunes = tokio::time::interval(PRUNE_EVERY);
        saves.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let beside = [self.write_marks(), self.tend_ballast()];
        let mut watchdog = Watchdog::default();
        let mut saved = std::mem::take(&mut self.parts.restored.saved);
        saved.retain(|update| !matches!(self.mute(&mut update.clone()), Telling::Nobody(_)));
        let names = self.settings.receivers.iter().map(|receiver| receiver.name.clone()).collect();
        self.receivers.catch_up(&names, &saved, &self.parts.store).await;
        for over in std::mem::take(&mut self.parts.restored.orphans) {
            self.handle_incident(over);
        }
        self.announce_ready().await;
        loop {
            tokio::select! {
                event = self.parts.events.recv() => match event {
                    Some(event) => self.handle_event(*event),
                    None => {
                        error!("The engine ended by itself");
                        break;
                    }
                },
                Some(saved) = self.saving.join_next() => self.handle_saved(saved.ok()),
                Some(request) = inbox.recv() => self.handle_request(request).await,
                _ = signals.hangup.recv() => self.reload_for_manager().await,
                _ = signals.terminate.recv() => break,
                _ = signals.interrupt.recv() => break,
                _ = pets.tick() => {
                    watchdog.pet(self.parts.engine.progress());
                    self.count_dropped();
                }
                _ = looks.tick() => self.look_at_files().await,
                _ = saves.tick() => {
                    self.pulse.turns.fetch_add(1, Ordering::Relaxed);
                    self.follow_clock();
                    self.tell_unmuted();
                    self.save();
                    self.baselines.save(&self.parts.store);
                }
                _ = prunes.tick() => self.forget(),
            }
        }
        beside.iter().for_each(JoinHandle::abort);
        stop_http();
        self.stop().await;
    }

    /// The engine answers, so probing has begun: ready.
    async fn announce_ready(&self) {
        match self.parts.engine.snapshot().await {
            Ok(_) => {
                // Nobody listening is no fault.
                let _ = self.ready.send(true);
                systemd::tell(&[NotifyState::Ready]);
                info!("Ready");
            }
            Err(error) => error!(%error, "The engine does not answer"),
        }
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::Judged { target, before, report } => {
                answers::began(&self.started, &report);
                if report.verdict.class != before.as_str() {
                    self.chronicle.note(&target, before, &report);
                    let confidence = (report.verdict.confidence * 100.0).round() / 100.0;
                    info!(
                        %target, class = report.verdict.class, before = before.as_str(), confidence,
                        "{}", report.verdict.summary
                    );
                }
            }
            Event::Incident(update) => self.handle_incident(*update),
            Event::VantageHealth { vantage, healthy: true, reason: None } => {
                info!(vantage, "Vantage is believed");
            }
            Event::VantageHealth { vantage, healthy, reason } => {
                let reason = reason.unwrap_or_default();
                warn!(vantage, healthy, reason, "Vantage is at fault");
            }
            Event::Baseline { target, vantage, baseline } => {
                self.baselines.take(BaselineRow::new(&target, &vantage, &baseline));
            }
            Event::Bug { id } => error!(id, "An invariant broke"),
        }
    }

    /// Saved first, then told.
    fn handle_incident(&mut self, mut update: IncidentUpdate) {
        let telling = self.mute(&mut update);
        let versions = &mut self.parts.restored.versions;
        update.version = versions.tell(&update.fingerprint, update.version);
        self.proofs.take(&update, &self.started);
        let row = IncidentRow::new(&update, &self.parts.clock);
        let (class, state) = (update.class_now.as_str(), update.state.as_str());
        if update.notify {
            info!(
                fingerprint = update.fingerprint,
                version = update.version,
                class,
                state,
                "{} {}",
                update.kind.alertname(),
                update.summary.0
            );
        }
        if let Telling::Nobody(window) = &telling {
            info!(fingerprint = update.fingerprint, window, "Not told: maintenance");
        }
        let messages = telling.render(&self.receivers.outbox, &update);
        let owed = telling == Telling::Those;
        let update = (!matches!(telling, Telling::Nobody(_))).then(|| (Box::new(update), owed));
        self.ledger.take(Step { saved: StepRow { row, messages }, update });
        if !self.store_fails {
            self.save();
        }
    }

    /// Begins to save what waits, unless that is under way.
    fn save(&mut self) {
        if let Some(batch) = self.ledger.batch() {
            let store = self.parts.store.clone();
            self.saving.spawn(async move { store.save_steps(batch).await });
        }
    }

    /// A batch was saved, or was not; `None` after a panic, which is a bug of ours.
    fn handle_saved(&mut self, result: Option<Result<Vec<bool>, StoreError>>) {
        let panicked = Err(StoreError::Unavailable("a panic of ours"));
        let result = result.unwrap_or(panicked);
        let saved = self.ledger.saved(result, &self.receivers.outbox, &self.parts.metrics);
        // What could not be saved comes again with the next tick, and nothing before it.
        self.store_fails = !saved;
        if saved {
            self.save();
        }
    }

    /// Waits until what waits is saved, or cannot be.
    async fn settle(&mut self) {
        self.save();
        while let Some(saved) = self.saving.join_next().await {
            self.handle_saved(saved.ok());
        }
    }

    /// What is to be said of a step, given the maintenance windows.
    fn mute(&mut self, update: &mut IncidentUpdate) -> Telling {
        let heard = self.receivers.outbox.was_heard(&update.fingerprint);
        let telling = self.mutes.take(update, heard, (&self.settings, Timestamp::now()));
        self.parts.metrics.muted(self.mutes.len());
        telling
    }

    fn silence(&mut self, request: SilenceRequest) -> Result<String, String> {
        let id = crate::check::seed().map_err(|error| format!("{error:#}"))?;
        let id = format!("{:016x}", id[0]);
        let id = self.mutes.silence(request, id, Timestamp::now())?;
        info!(id, "Silenced");
        Ok(id)
    }

    /// Saves the silences, then answers; they hold for this run whether that succeeds or not.
    fn save_silences(&self, answer: impl FnOnce(Result<(), SilenceError>) + Send + 'static) {
        let text = serde_json::to_string(self.mutes.silences()).unwrap_or_default();
        let saved = self.parts.store.begin(move |store| store.set_meta(SILENCES, &text));
        tokio::spawn(async move {
            let saved = saved.await;
            answer(saved.map_err(|error| SilenceError::Unsaved(chain(&error).to_string())));
        });
    }

    /// After a step of the wall clock, dates are computed anew.
    fn follow_clock(&self) {
        let Parts { clock, engine, .. } = &self.parts;
        if let Some(step) = clock.follow(engine.now(), SystemTime::now()) {
            let seconds = step.as_secs_f64();
            warn!(seconds, "The wall clock was stepped: dates are told by the new one");
        }
    }

    /// Tells what is still there though its maintenance window has closed.
    fn tell_unmuted(&mut self) {
        for update in self.mutes.ripe(&self.settings, Timestamp::now()) {
            self.handle_incident(update);
        }
    }

    /// The task that keeps room for incidents on a full disk. A slow disk delays it alone.
    fn tend_ballast(&self) -> JoinHandle<()> {
        let (store, metrics) = (self.parts.store.clone(), Arc::clone(&self.parts.metrics));
        tokio::spawn(async move {
            loop {
                let tended = store.call(|store| {
                    store.tend_ballast();
                    Ok(store.ballast_is_missing())
                });
                // An error means that the store is busy; the next look comes soon.
                if let Ok(spent) = tended.await {
                    metrics.ballast_spent(spent);
                }
                tokio::time::sleep(STORE_EVERY).await;
            }
        })
    }

    /// Forgets what is long over.
    fn forget(&self) {
        let store = self.parts.store.clone();
        let receivers = self.settings.receivers.iter().map(|receiver| receiver.name.clone());
        let receivers = receivers.collect();
        tokio::spawn(async move {
            match store.prune(PRUNE_AGE, receivers).await {
                Ok(rows) => info!(rows, "Forgot what is long over"),
                Err(error) => warn!(error = chain(&error), "Old rows were not forgotten"),
            }
        });
    }

    /// The task that writes back what becomes of messages, and notices what a person revived.
    fn write_marks(&self) -> JoinHandle<()> {
        let (means, outbox) = (self.means.clone(), self.receivers.shared());
        tokio::spawn(async move {
            let now = || Arc::clone(&outbox.lock().unwrap_or_else(PoisonError::into_inner));
            means.write_back.run(&means.store, now).await;
        })
    }

    async fn handle_request(&mut self, request: Request) {
        let (engine, store) = (self.parts.engine.clone(), self.parts.store.clone());
        match request {
            Request::Snapshot(reply) => answers::snapshot(engine, Arc::clone(&self.started), reply),
            Request::Numbers(reply) => answers::numbers(engine, reply),
            Request::Incidents(reply) => answers::incidents(store, reply),
            Request::Silences(reply) => drop(reply.send(self.mutes.silences().to_vec())),
            Request::Silence(request, reply) => match self.silence(request) {
                Ok(id) => self.save_silences(|saved| drop(reply.send(saved.map(|()| id)))),
                Err(error) => drop(reply.send(Err(SilenceError::Refused(error)))),
            },
            Request::Unsilence(id, reply) => {
                let found = self.mutes.unsilence(&id, Timestamp::now());
                self.save_silences(move |saved| {
                    let found = saved.map(|()| found).map_err(|error| error.to_string());
                    drop(reply.send(found));
                });
            }
            Request::Evidence(id, reply) => {
                let folder = self.parts.places.evidence.clone();
                answers::evidence((engine, store), folder, id, reply);
            }
            Request::History(name, reply) => {
                answers::history(self.parts.places.history.clone(), name, reply);
            }
            Request::Reload(reply) => {
                let result = self.reload().await.map_err(|error| format!("{error:#}"));
                drop(reply.send(result));
            }
            Request::Probe(request, reply) => {
                let (allow, vantages) =
                    (self.settings.probe_api_allow.clone(), self.settings.plan.vantages.clone());
                let started = Arc::clone(&self.started);
                tokio::spawn(async move {
                    let Ok(snapshot) = engine.snapshot().await else { return };
                    let snapshot = answers::dated(snapshot, (&engine, &started));
                    let means = probing::Means { snapshot, allow, vantages };
                    drop(reply.send(probing::answer(request, means).await));
                });
            }
        }
    }

    async fn reload_for_manager(&mut self) {
        systemd::reloading();
        if let Err(error) = self.reload().await {
            error!("Reload refused, the old plan runs on: {error:#}");
        }
        systemd::tell(&[NotifyState::Ready]);
    }

    /// Applies the difference to the file; a broken file changes nothing.
    async fn reload(&mut self) -> Result<()> {
        let result = self.try_reload().await;
        match &result {
            Ok(()) => self.parts.metrics.reload_succeeded(SystemTime::now()),
            Err(_) => self.parts.metrics.reload_failed(),
        }
        result
    }

    async fn try_reload(&mut self) -> Result<()> {
        let Some(path) = self.arguments.config.clone() else {
            return Err(anyhow!("there is no configuration file to read; start with --config"));
        };
        let loaded = reachd_config::reload(&path, &self.settings);
        let mut settings = loaded.map_err(|report| anyhow!("{report}"))?;
        apply_arguments(&mut settings, &self.arguments)?;
        self.take(settings).await
    }

    async fn take(&mut self, settings: Settings) -> Result<()> {
        if settings.listen != self.settings.listen || settings.store != self.settings.store {
            warn!("[listen] and [store] change only with a restart");
        }
        // Nothing is changed before all of it can be.
        heartbeat::check(&settings)?;
        // What a new receiver is owed is read from the store.
        self.settle().await;
        let (mutes, now) = (&self.mutes, Timestamp::now());
        let muted = |update: &IncidentUpdate| mutes.holds(&settings, update, now);
        let fresh = self.receivers.apply(&settings, &self.means, muted).await?;
        if !fresh.is_empty() {
            let mut saved = restore::saved(&settings.plan, &self.parts.store).await;
            saved.retain(|update| update.state == IncidentState::Resolved || !muted(update));
            self.receivers.catch_up(&fresh, &saved, &self.parts.store).await;
        }
        self.heartbeat.apply(&settings, &self.pulse)?;
        let (diff, change) = self.settings.plan.change_to(&settings.plan);
        self.parts.engine.change(change).await?;
        self.detail.send_replace(detail(&settings));
        self.settings = settings;
        self.files = Files::remember(&self.settings);
        self.proofs.set_limits(self.settings.evidence);
        self.book_files();
        let (added, removed, changed) = (diff.added.len(), diff.removed.len(), diff.changed.len());
        info!(added, removed, changed, "Plan applied");
        Ok(())
    }

    async fn look_at_files(&mut self) {
        if !self.files.changed() {
            return;
        }
        let (settings, problems) = reachd_config::reread_target_files(&self.settings);
        for problem in problems.iter().flat_map(|file| &file.problems) {
            warn!("{problem}");
        }
        if let Err(error) = self.take(settings).await {
            error!("Target files were not applied: {error:#}");
        }
    }

    fn book_files(&self) {
        for file in &self.settings.target_files {
            let bad = self.settings.file_problems.iter().any(|problem| problem.path == file.path);
            self.parts.metrics.target_file(&file.path.display().to_string(), !bad);
        }
    }

    fn count_dropped(&mut self) {
        let dropped = self.parts.events.dropped();
        if dropped > self.dropped {
            let events = dropped - self.dropped;
            warn!(events, "This loop falls behind: verdicts of the monitor were dropped");
        }
        for _ in self.dropped..dropped {
            self.parts.metrics.event_dropped();
        }
        self.dropped = dropped;
    }

    /// Stops probing, tells what is left, closes the store.
    async fn stop(mut self) {
        systemd::tell(&[NotifyState::Stopping]);
        info!("Stopping");
        let drained = tokio::time::timeout(STOP_WITHIN, async {
            self.chronicle.stop().await;
            self.parts.engine.stop().await;
            while let Some(event) = self.parts.events.recv().await {
                self.handle_event(*event);
            }
            self.baselines.save(&self.parts.store);
            self.settle().await;
            let outbox = Arc::clone(&self.receivers.outbox);
            std::mem::replace(&mut self.receivers, Receivers::none()).stop().await;
            self.means.write_back.flush(&self.means.store, &outbox).await;
            self.proofs.stop().await;
        });
        if drained.await.is_err() {
            warn!("Stopping took too long; something may be left untold");
        }
        let Parts { store, store_thread, .. } = self.parts;
        drop((store, self.means, self.heartbeat, self.pulse));
        let joined = tokio::task::spawn_blocking(move || store_thread.join());
        if tokio::time::timeout(Duration::from_secs(1), joined).await.is_err() {
            warn!("The store did not close in time");
        }
        info!("Stopped");
    }
}
