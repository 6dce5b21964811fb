//! `reachd history`: how a target fared, read from the history's file whether a daemon runs or not.

use anyhow::{Result, bail};
use reachd_exporters::history::{Change, FILE, History, Hour};

use crate::cli;
use crate::{exit, outbox};

/// Tells a target's changes and hours, the newest last, as a log does.
pub fn run(arguments: &cli::History) -> Result<u8> {
    let path = outbox::file(&arguments.place)?.with_file_name(FILE);
    let name = &arguments.target;
    let Some(known) = History::read(&path)?.of_target(name)? else {
        bail!("nothing is known of {name} in {}; `reachd status` lists targets", path.display());
    };
    if arguments.json {
        line!("{}", known.document());
        return Ok(exit::OK);
    }
    for hour in known.hours.iter().rev() {
        line!("{}", hour_line(hour));
    }
    for change in known.changes.iter().rev() {
        line!("{}", change_line(change));
    }
    Ok(exit::OK)
}

fn hour_line(hour: &Hour) -> String {
    let percent = |part: Option<f64>| {
        part.map_or_else(|| "-".to_owned(), |part| format!("{:.2} %", part * 100.0))
    };
    let rtt = hour.rtt_seconds();
    let rtt = rtt.map_or_else(|| "-".to_owned(), |rtt| format!("{:.3} ms", rtt * 1000.0));
    format!(
        "{}  from {}: reachable {}, lost {} ({} of {}), rtt {rtt}",
        hour.began(),
        hour.vantage,
        percent(hour.availability()),
        percent(hour.loss()),
        hour.lost,
        u64::from(hour.lost) + u64::from(hour.received),
    )
}

fn change_line(change: &Change) -> String {
    let Change { before, class, summary, .. } = change;
    format!("{}  {before} -> {class} ({:.0} %)  {summary}", change.at(), change.confidence * 100.0)
}
