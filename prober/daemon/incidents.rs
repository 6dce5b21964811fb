//! `reachd incidents`: what the store remembers, read from its file beside a running daemon.

use anyhow::{Result, bail};
use reachd_exporters::store::{IncidentRow, Store, SubjectRow};
use serde_json::json;

use crate::cli::Incidents;
use crate::{exit, outbox};

/// Lists incidents, or tells one of them from its beginning.
pub fn run(arguments: &Incidents) -> Result<u8> {
    let mut store = Store::read(&outbox::file(&arguments.place)?)?;
    let rows = store.load_incidents()?;
    let Some(id) = &arguments.id else {
        let open = |row: &&IncidentRow| arguments.all || row.state != "resolved";
        for row in rows.iter().filter(open) {
            if arguments.json {
                line!("{}", serde_json::to_string(row)?);
            } else {
                line!("{}", line(row));
            }
        }
        return Ok(exit::OK);
    };
    let found: Vec<_> = rows.iter().filter(|row| row.fingerprint.starts_with(id)).collect();
    match found[..] {
        [row] => tell(&mut store, row, arguments.json),
        [] => bail!("{id} is no incident that is remembered; `reachd incidents --all` lists them"),
        [_, _, ..] => bail!("{id} begins {} fingerprints; give more of it", found.len()),
    }
}

/// Every step and every message of one incident.
fn tell(store: &mut Store, row: &IncidentRow, as_json: bool) -> Result<u8> {
    let steps = store.incident_steps(&row.fingerprint)?;
    let mut messages = store.outbox(None)?;
    messages.retain(|message| message.fingerprint == row.fingerprint);
    let saved = |seconds: i64| outbox::date(seconds.saturating_mul(1000));
    if as_json {
        let steps: Vec<_> = steps
            .iter()
            .map(|(at, step)| json!({ "saved": saved(*at), "incident": step }))
            .collect();
        line!("{}", json!({ "incident": row, "steps": steps, "messages": messages }));
        return Ok(exit::OK);
    }
    line!("{}", line(row));
    line!("  next step: {}", row.next_step.en);
    for (at, step) in &steps {
        let (version, state, class) = (step.version, &step.state, &step.class_now);
        line!("  {}  version {version}: {state}, {class}", saved(*at));
    }
    for message in &messages {
        line!("  {}", outbox::line(message));
    }
    Ok(exit::OK)
}

fn line(row: &IncidentRow) -> String {
    let subject = match &row.subject {
        SubjectRow::Target { name, .. } => name.clone(),
        SubjectRow::Vantage { name } => format!("vantage {name}"),
        SubjectRow::Group { key, members, .. } => format!("{key} ({} targets)", members.len()),
    };
    format!(
        "{}  {:<8} {:<8} {}  since {}  {subject}: {}",
        row.fingerprint, row.state, row.severity, row.class_now, row.started, row.summary.en
    )
}
