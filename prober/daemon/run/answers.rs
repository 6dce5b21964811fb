//! Answers to the HTTP interface. Each runs beside the owner's task, so that none delays another.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use reachd_core::report::TargetReport;
use reachd_core::snapshot::Snapshot;
use reachd_core::target::TargetName;
use reachd_exporters::chain;
use reachd_exporters::evidence;
use reachd_exporters::history::{History, TargetHistory};
use reachd_exporters::store::{IncidentRow, StoreHandle};
use reachd_net::engine::EngineHandle;
use reachd_net::tap::store::Wanted;
use tokio::sync::oneshot;
use tracing::warn;

/// When each target's last survey began, which only the edge knows as a date, and what it said.
pub(super) type Started = Arc<Mutex<BTreeMap<TargetName, (String, Weak<TargetReport>)>>>;

/// When the survey of a report began. Whoever hears of it first dates it: a step of an incident
/// comes before the verdict that it rests on.
pub(super) fn began(started: &Started, report: &Arc<TargetReport>) -> String {
    let name = TargetName::new(&report.target.name);
    let mut started = started.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((at, said)) = started.get(&name)
        && Weak::as_ptr(said) == Arc::as_ptr(report)
    {
        return at.clone();
    }
    let at = crate::check::started(report.seconds);
    started.insert(name, (at.clone(), Arc::downgrade(report)));
    at
}

/// Sends the numbers of this moment.
pub(super) fn numbers(engine: EngineHandle, reply: oneshot::Sender<Arc<Snapshot>>) {
    tokio::spawn(async move {
        match engine.snapshot().await {
            Ok(snapshot) => drop(reply.send(Arc::new(snapshot))),
            Err(error) => warn!(%error, "No numbers"),
        }
    });
}

/// Sends the documents of this moment.
pub(super) fn snapshot(
    engine: EngineHandle,
    started: Started,
    reply: oneshot::Sender<Arc<Snapshot>>,
) {
    tokio::spawn(async move {
        match engine.snapshot().await {
            // The client may have left meanwhile.
            Ok(snapshot) => drop(reply.send(Arc::new(dated(snapshot, (&engine, &started))))),
            Err(error) => warn!(%error, "No snapshot"),
        }
    });
}

/// Fills in when surveys began and looks ended.
pub(super) fn dated(
    mut snapshot: Snapshot,
    (engine, started): (&EngineHandle, &Started),
) -> Snapshot {
    let started = started.lock().unwrap_or_else(PoisonError::into_inner);
    for row in &mut snapshot.targets {
        if let Some(report) = &mut row.report {
            let report = Arc::make_mut(report);
            report.started = started.get(&row.target.name).map(|(at, _)| at.clone());
            report.date_looks(|at| crate::check::date(engine.wall(at)));
        }
    }
    snapshot
}

/// Sends the open incidents.
pub(super) fn incidents(
    store: StoreHandle,
    reply: oneshot::Sender<Result<Vec<IncidentRow>, String>>,
) {
    tokio::spawn(async move {
        match store.load_open_incidents().await {
            Ok(rows) => drop(reply.send(Ok(rows))),
            Err(error) => {
                let error = chain(&error);
                warn!(error, "Incidents were not read");
                drop(reply.send(Err(error)));
            }
        }
    });
}

/// Sends the packets of an incident: those on the disk, else those of the ring while it is open.
pub(super) fn evidence(
    (engine, store): (EngineHandle, StoreHandle),
    folder: PathBuf,
    fingerprint: String,
    reply: oneshot::Sender<Option<Bytes>>,
) {
    tokio::spawn(async move {
        let id = fingerprint.clone();
        let kept = tokio::task::spawn_blocking(move || evidence::packets(&folder, &id)).await;
        let kept = match kept {
            Ok(Ok(kept)) => kept,
            Ok(Err(error)) => {
                warn!(%error, fingerprint, "Evidence was not read");
                None
            }
            // A panic in it was logged.
            Err(_) => None,
        };
        if let Some(kept) = kept {
            drop(reply.send(Some(Bytes::from(kept))));
            return;
        }
        let rows = store.load_open_incidents().await.unwrap_or_default();
        let row = rows.into_iter().find(|row| row.fingerprint == fingerprint);
        let packets = match row {
            Some(row) => packets(&engine, &row).await,
            None => None,
        };
        drop(reply.send(packets));
    });
}

/// Sends what is known of how a target fared.
pub(super) fn history(path: PathBuf, name: String, reply: oneshot::Sender<Option<TargetHistory>>) {
    tokio::task::spawn_blocking(move || {
        let read = History::read(&path).and_then(|history| history.of_target(&name));
        let found = read.unwrap_or_else(|error| {
            warn!(%error, "History was not read");
            None
        });
        drop(reply.send(found));
    });
}

async fn packets(engine: &EngineHandle, row: &IncidentRow) -> Option<Bytes> {
    let addresses = row.report.as_ref()?.get("addresses")?.as_array()?;
    let hosts: Vec<IpAddr> =
        addresses.iter().filter_map(|part| part.get("address")?.as_str()?.parse().ok()).collect();
    if hosts.is_empty() {
        return None;
    }
    let comments = vec![format!("{}: {}", row.alertname, row.summary.en)];
    let wanted = Wanted { hosts, ..Wanted::default() };
    engine.pcapng(wanted, comments).await.ok().map(Bytes::from)
}
