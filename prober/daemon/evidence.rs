//! `reachd evidence`: the packets that prove an incident, asked of a running daemon.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use crate::cli::Evidence;
use crate::exit;
use crate::status::get;

/// Writes them to the file, which must be new: nothing is written over.
pub fn run(arguments: &Evidence) -> Result<u8> {
    let id = whole(arguments)?;
    let packets = get(&arguments.door, &format!("/api/v1/incidents/{id}/evidence.pcapng"))
        .with_context(|| format!("fetch the packets of {id}"))?;
    let path = &arguments.pcap;
    let mut options = OpenOptions::new();
    // Whoever may read them sees who speaks with whom.
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.with_context(|| format!("make {}", path.display()))?;
    file.write_all(&packets).with_context(|| format!("write {}", path.display()))?;
    eprintln!("{}: {} bytes; `tshark -r` and Wireshark read it", path.display(), packets.len());
    Ok(exit::OK)
}

/// The fingerprint that the argument begins.
fn whole(arguments: &Evidence) -> Result<String> {
    let body = get(&arguments.door, "/api/v1/incidents")?;
    let document: Value = serde_json::from_slice(&body).context("read the daemon's answer")?;
    let rows = document.get("incidents").and_then(Value::as_array);
    let rows = rows.ok_or_else(|| anyhow!("the daemon's answer has no incidents"))?;
    let names = rows.iter().filter_map(|row| row.get("fingerprint").and_then(Value::as_str));
    let found: Vec<_> = names.filter(|name| name.starts_with(&arguments.id)).collect();
    match found[..] {
        [one] => Ok(one.to_owned()),
        [] => bail!("{} is no open incident; `reachd incidents` lists them", arguments.id),
        [_, _, ..] => bail!("{} begins {} incidents; give more of it", arguments.id, found.len()),
    }
}
