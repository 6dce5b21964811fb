//! `reachd outbox`: what receivers are owed, read from the store's file beside a running daemon.
//!
//! Changes go by the file as well: the daemon looks every two seconds whether another process
//! changed it.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Result, anyhow, bail};
use reachd_exporters::clock::rfc3339;
use reachd_exporters::store::{OutboxRow, State, Store};
use serde_json::json;

use crate::cli::{Outbox, OutboxList, OutboxPick, Place, StateName};
use crate::exit;

/// Where the package's service keeps its state.
const SERVICE: &str = "/var/lib/reachd/reachd.db";

/// Lists messages, or settles dead letters.
pub fn run(command: &Outbox) -> Result<u8> {
    match command {
        Outbox::List(arguments) => list(arguments),
        Outbox::Retry(arguments) => {
            pick(arguments, "retried", |store, names| store.retry_dead(names, SystemTime::now()))
        }
        Outbox::Purge(arguments) => pick(arguments, "purged", Store::purge_dead),
    }
}

fn list(arguments: &OutboxList) -> Result<u8> {
    let state = arguments.state.map(|state| match state {
        StateName::Pending => State::Pending,
        StateName::Delivered => State::Delivered,
        StateName::Dead => State::Dead,
        StateName::Superseded => State::Superseded,
    });
    let mut store = Store::read(&file(&arguments.place)?)?;
    for row in store.outbox(state)? {
        if arguments.receiver.as_ref().is_some_and(|receiver| *receiver != row.receiver) {
            continue;
        }
        if arguments.json {
            line!("{}", serde_json::to_string(&row)?);
        } else {
            line!("{}", line(&row));
        }
    }
    Ok(exit::OK)
}

fn pick(
    arguments: &OutboxPick,
    done: &str,
    work: impl FnOnce(
        &mut Store,
        Option<&[String]>,
    ) -> Result<usize, reachd_exporters::store::StoreError>,
) -> Result<u8> {
    let mut store = Store::join(&file(&arguments.place)?)?;
    let names = (!arguments.all).then_some(arguments.messages.as_slice());
    let count = work(&mut store, names)?;
    if arguments.json {
        line!("{}", json!({ done: count }));
    } else {
        line!("{count} dead letters {done}");
    }
    match names {
        Some(names) if count < names.len() => {
            bail!(
                "{} of the messages named are no dead letters, or a newer one was delivered; see `reachd outbox list --state dead`",
                names.len() - count
            )
        }
        Some(_) | None => Ok(exit::OK),
    }
}

/// One message for a person.
pub(crate) fn line(row: &OutboxRow) -> String {
    let status = if row.resolved { "resolved" } else { "firing" };
    let why = row.last_error.as_ref().map_or_else(String::new, |why| format!("  {why}"));
    format!(
        "{}  {}  {:<10} {:<8} {}  {} version {}, {} attempts{why}",
        row.msg_id,
        date(row.enqueued_ms),
        row.state.as_str(),
        status,
        row.receiver,
        row.fingerprint,
        row.version,
        row.attempts,
    )
}

/// Milliseconds since 1970 as a date.
pub(crate) fn date(millis: i64) -> String {
    let since = Duration::from_millis(u64::try_from(millis).unwrap_or_default());
    rfc3339(SystemTime::UNIX_EPOCH + since)
}

/// The store's file: as the arguments say, else where a daemon of this user or the service has it.
pub(crate) fn file(place: &Place) -> Result<PathBuf> {
    let mut settings = match &place.config {
        Some(path) => reachd_config::load(path).map_err(|report| anyhow!("{report}"))?,
        None => reachd_config::embedded_default(),
    };
    if place.store.is_some() {
        settings.store.clone_from(&place.store);
    }
    let file = crate::run::store_path(&settings)?;
    let service = Path::new(SERVICE);
    let asked = place.config.is_some() || place.store.is_some();
    if !asked && !file.exists() && service.exists() {
        return Ok(service.to_owned());
    }
    if !file.exists() {
        bail!("there is no store {}; say where it is with --config or --store", file.display());
    }
    Ok(file)
}
