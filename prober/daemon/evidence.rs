//! `reachd evidence`: what proves an incident, read from its files whether a daemon runs or not.
//!
//! Without a word where to look, and where the files are not ours to read or do not have it, the
//! daemon of this machine is asked.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use reachd_exporters::evidence;
use serde_json::Value;

use crate::cli::{DOOR, Door, Evidence};
use crate::status::get;
use crate::{exit, outbox};

/// Digits of a whole fingerprint.
const FINGERPRINT: usize = 16;

/// Writes the packets to the file, which must be new: nothing is written over. Without a file, says
/// where the evidence lies.
pub fn run(arguments: &Evidence) -> Result<u8> {
    let Some(path) = &arguments.pcap else {
        let folder = folder(arguments)?;
        let id = one(&arguments.id, evidence::fingerprints(&folder, &arguments.id))?;
        for step in evidence::folders(&folder, &id)? {
            line!("{}", step.display());
        }
        return Ok(exit::OK);
    };
    save(path, &packets(arguments)?)
}

fn packets(arguments: &Evidence) -> Result<Vec<u8>> {
    let said = arguments.place.config.is_some() || arguments.place.store.is_some();
    let door = || Door {
        address: arguments.address.unwrap_or(DOOR),
        auth_file: arguments.auth_file.clone(),
    };
    if arguments.address.is_some() || arguments.auth_file.is_some() {
        return ask(&door(), &arguments.id);
    }
    match read(arguments) {
        Ok(packets) => Ok(packets),
        Err(error) if said => Err(error),
        Err(of_files) => ask(&door(), &arguments.id)
            .map_err(|error| error.context(format!("{of_files:#}; and the daemon did not help"))),
    }
}

/// From the files beside the store.
fn read(arguments: &Evidence) -> Result<Vec<u8>> {
    let folder = folder(arguments)?;
    let id = one(&arguments.id, evidence::fingerprints(&folder, &arguments.id))
        .with_context(|| format!("read {}", folder.display()))?;
    let packets = evidence::packets(&folder, &id).with_context(|| format!("read {id}"))?;
    packets.ok_or_else(|| anyhow!("no packets are kept of {id}, only its verdict and path"))
}

fn folder(arguments: &Evidence) -> Result<PathBuf> {
    Ok(outbox::file(&arguments.place)?.with_file_name(evidence::FOLDER))
}

/// From a daemon.
fn ask(door: &Door, id: &str) -> Result<Vec<u8>> {
    let whole = id.len() == FINGERPRINT && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = if whole { id.to_owned() } else { one_open(door, id)? };
    get(door, &format!("/api/v1/incidents/{id}/evidence.pcapng"))
        .with_context(|| format!("fetch the packets of {id}"))
}

/// The open incident whose fingerprint begins so.
fn one_open(door: &Door, beginning: &str) -> Result<String> {
    let body = get(door, "/api/v1/incidents")?;
    let document: Value = serde_json::from_slice(&body).context("read the daemon's answer")?;
    let rows = document.get("incidents").and_then(Value::as_array);
    let rows = rows.ok_or_else(|| anyhow!("the daemon's answer has no incidents"))?;
    let names = rows.iter().filter_map(|row| row.get("fingerprint").and_then(Value::as_str));
    let found: Vec<_> = names.filter(|name| name.starts_with(beginning)).collect();
    match found[..] {
        [one] => Ok(one.to_owned()),
        [] => bail!(
            "{beginning} is no open incident; `reachd incidents` lists them, and of one that is \
             over the daemon wants the whole fingerprint"
        ),
        [_, _, ..] => bail!("{beginning} begins {} incidents; give more of it", found.len()),
    }
}

/// The only one that was found.
fn one(
    beginning: &str,
    found: std::io::Result<impl IntoIterator<Item = String>>,
) -> Result<String> {
    let mut found = found?.into_iter();
    let first = found.next();
    match (first, found.count()) {
        (Some(one), 0) => Ok(one),
        (Some(_), more) => bail!("{beginning} begins {} incidents; give more of it", more + 1),
        (None, _) => bail!("no evidence is kept of {beginning}"),
    }
}

fn save(path: &Path, packets: &[u8]) -> Result<u8> {
    let mut options = OpenOptions::new();
    // Whoever may read them sees who speaks with whom.
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.with_context(|| format!("make {}", path.display()))?;
    file.write_all(packets).with_context(|| format!("write {}", path.display()))?;
    note!("{}: {} bytes; `tshark -r` and Wireshark read it", path.display(), packets.len());
    Ok(exit::OK)
}
