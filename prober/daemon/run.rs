//! `reachd run`: the daemon, wired together.
//!
//! One task owns the settings and answers everybody: events of the engine, requests of the HTTP
//! interface, signals, the watch over target files and the watchdog. Whatever waits (a database, a
//! probe on demand, a webhook) runs beside it.

mod answers;
mod baselines;
mod chronicle;
mod daemon;
mod files;
mod heartbeat;
mod ledger;
mod mutes;
mod probing;
mod proofs;
mod receivers;
mod restore;
mod systemd;
mod versions;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow, bail};
use reachd_config::Settings;
use reachd_core::monitor::{Input, Monitor, Purpose};
use reachd_core::time::Instant;
use reachd_exporters::clock::WallClock;
use reachd_exporters::http::{self, Api, Web};
use reachd_exporters::prometheus::{Detail, SelfMetrics};
use reachd_exporters::store::StoreHandle;
use reachd_exporters::{evidence, history};
use reachd_net::engine::{self, EngineHandle, EngineOptions, EventReceiver};
use reachd_net::tap::TapOptions;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};

use crate::check::{read_target, seed};
use crate::cli::Run;
use crate::{exit, logging};
use daemon::Daemon;
use restore::Restored;

/// Watches for ever; gives the exit code when told to stop.
pub fn run(arguments: Run) -> Result<u8> {
    logging::start();
    let settings = settings(&arguments)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(watch(arguments, settings))
}

/// What the command line and the file say together.
fn settings(arguments: &Run) -> Result<Settings> {
    let mut settings = match &arguments.config {
        Some(path) => reachd_config::load(path).map_err(|report| anyhow!("{report}"))?,
        None => reachd_config::embedded_default(),
    };
    apply_arguments(&mut settings, arguments)?;
    if settings.plan.targets.is_empty() && settings.target_files.is_empty() {
        bail!("there is nothing to watch; give --target HOST:PORT, or targets in --config FILE");
    }
    Ok(settings)
}

/// Puts what the command line says over what the file says; at a reload as well.
fn apply_arguments(settings: &mut Settings, arguments: &Run) -> Result<()> {
    for text in &arguments.targets {
        let target = read_target(text, None)?;
        settings.add_target(target).map_err(|fault| anyhow!("{text}: {fault}"))?;
    }
    if let Some(url) = &arguments.webhook {
        let receiver = reachd_config::Receiver::webhook("webhook", url);
        settings.receivers.push(receiver.map_err(|fault| anyhow!("--webhook: {fault}"))?);
    }
    if let Some(address) = arguments.listen {
        settings.listen.address = address;
    }
    for vantage in &mut settings.plan.vantages {
        if vantage.resolvers.is_empty() {
            vantage.resolvers.clone_from(&settings.resolver.servers);
        }
    }
    Ok(())
}

/// Everything that runs beside the owner's task.
struct Parts {
    engine: EngineHandle,
    events: EventReceiver,
    store: StoreHandle,
    store_thread: JoinHandle<()>,
    metrics: Arc<SelfMetrics>,
    clock: WallClock,
    restored: Restored,
    /// The folder with evidence, and the file with the history.
    places: Places,
}

/// What lies beside the store.
#[derive(Debug, Clone)]
struct Places {
    evidence: PathBuf,
    history: PathBuf,
}

async fn watch(arguments: Run, settings: Settings) -> Result<u8> {
    tell_settings(&settings);
    let listener = listen(settings.listen.address).await?;
    let parts = start(&settings).await?;
    let (requests, inbox) = mpsc::channel(http::QUEUE);
    let (ready, ready_seen) = watch::channel(false);
    let (detail, detail_seen) = watch::channel(detail(&settings));
    let api = Api {
        requests,
        metrics: Arc::clone(&parts.metrics),
        ready: ready_seen,
        detail: detail_seen,
        web: Arc::new(web(&settings)?),
    };
    let (stop_http, http_stopped) = watch::channel(());
    let shutdown = async move {
        let mut stopped = http_stopped;
        // An error means that the daemon is gone, which is a stop as well.
        let _ = stopped.changed().await;
    };
    let server = tokio::spawn(http::serve(listener, api, shutdown));
    let daemon = Daemon::new(arguments, settings, parts, (ready, detail)).await?;
    daemon.serve(inbox, move || drop(stop_http)).await;
    // Its own limit ends it; a panic in it was logged.
    let _ = server.await;
    Ok(exit::OK)
}

/// Who may come in, as the settings have it.
fn web(settings: &Settings) -> Result<Web> {
    let Some(path) = &settings.listen.web_config else { return Ok(Web::open()) };
    Ok(Web::read(path)?)
}

fn tell_settings(settings: &Settings) {
    for warning in &settings.warnings {
        warn!("{warning}");
    }
    for later in &settings.later {
        warn!("{later}");
    }
    let (targets, vantages) = (settings.plan.targets.len(), settings.plan.vantages.len());
    info!(targets, vantages, listen = %settings.listen.address, "Starting");
}

fn detail(settings: &Settings) -> Detail {
    match settings.metrics {
        reachd_config::MetricsDetail::Full => Detail::Full,
        reachd_config::MetricsDetail::Compact => Detail::Compact,
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let hint = match error.kind() {
            ErrorKind::AddrInUse => "is another reachd running?",
            ErrorKind::PermissionDenied => "ports below 1024 need CAP_NET_BIND_SERVICE;",
            ErrorKind::AddrNotAvailable => "this machine does not have that address;",
            _ => "the system refuses it;",
        };
        let fix = "choose another with --listen or [listen] address";
        anyhow!(error).context(format!("listen on {address}; {hint} {fix}"))
    })
}

async fn start(settings: &Settings) -> Result<Parts> {
    let path = store_path(settings)?;
    let (store, store_thread, damage) = StoreHandle::start(&path).with_context(|| {
        format!("open the store {}; choose another folder with [store] path", path.display())
    })?;
    let metrics = SelfMetrics::new(env!("CARGO_PKG_VERSION")).context("register metrics")?;
    metrics.reload_succeeded(SystemTime::now());
    if let Some(damage) = damage {
        damage.saved.iter().for_each(|(table, rows)| metrics.salvaged(table, *rows));
        let saved = damage.saved.iter().map(|(table, rows)| format!("{rows} {table}"));
        let saved = saved.collect::<Vec<_>>().join(", ");
        let (moved_to, reason) = (damage.moved_to.display(), damage.reason);
        error!(%moved_to, reason, saved, "The store is damaged. Began a new store with what was saved");
    }
    let mut monitor = Monitor::new(Purpose::Watch, seed()?);
    let plan = settings.plan.clone();
    let ports = plan.targets.iter().map(|target| target.port);
    let ports = ports.chain(plan.canaries.iter().map(|canary| canary.port)).collect();
    monitor.handle(Instant::ZERO, Input::Plan(Box::new(plan)));
    let restored = restore::restore(&mut monitor, &settings.plan, &store).await;
    let tap = TapOptions::for_rate(reachd_config::cost(settings).packets_per_second);
    let options = EngineOptions { ports, tap, ..EngineOptions::default() };
    let (engine, events) = engine::start(monitor, options, &tokio::runtime::Handle::current())?;
    let clock = WallClock::anchored(engine.now(), SystemTime::now());
    let metrics = Arc::new(metrics);
    let evidence = path.with_file_name(evidence::FOLDER);
    let places = Places { evidence, history: path.with_file_name(history::FILE) };
    Ok(Parts { engine, events, store, store_thread, metrics, clock, restored, places })
}

/// `[store] path`, else `$STATE_DIRECTORY`, else the XDG state folder.
pub(crate) fn store_path(settings: &Settings) -> Result<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let folder = match &settings.store {
        Some(path) => path.clone(),
        None => match (variable("STATE_DIRECTORY"), variable("XDG_STATE_HOME"), variable("HOME")) {
            (Some(state), _, _) => PathBuf::from(state),
            (None, Some(xdg), _) => PathBuf::from(xdg).join("reachd"),
            (None, None, Some(home)) => PathBuf::from(home).join(".local/state/reachd"),
            (None, None, None) => bail!("no folder for the store; set [store] path"),
        },
    };
    Ok(folder.join("reachd.db"))
}
