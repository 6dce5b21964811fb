//! What can be had of a damaged file: every row whose checksum is right goes into a new one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rusqlite::types::Value;
use rusqlite::{Connection, Transaction};

use super::pages::Pages;
use super::schema::{self, EVENTS, INCIDENTS, TABLES, Table};
use super::seal::is_sealed;
use super::{StoreError, with_suffix};

/// How many damaged files are kept beside the store at most.
pub(super) const MAX_DAMAGED: u32 = 100;

/// Rows that were saved, by table.
pub type Counts = BTreeMap<&'static str, usize>;

/// Rows by table and key.
type Rows = BTreeMap<&'static str, BTreeMap<String, Vec<Value>>>;

/// Where the new file is made; what lies there under this name is whole only after the damaged
/// one was moved away.
fn fresh_path(path: &Path) -> PathBuf {
    with_suffix(path, ".salvage")
}

/// Ends what a crash between the two renames of [`salvage`] left.
pub(super) fn finish(path: &Path) -> Result<(), StoreError> {
    let fresh = fresh_path(path);
    if !fresh.exists() {
        return Ok(());
    }
    let ended = if path.exists() { remove(&fresh) } else { put_in_place(&fresh, path) };
    ended.map_err(|error| StoreError::Path { path: path.to_owned(), error })
}

/// The log of the damaged file must not be taken for one of the new file.
fn put_in_place(fresh: &Path, path: &Path) -> std::io::Result<()> {
    remove(path)?;
    std::fs::rename(fresh, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    std::fs::File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Makes a new file of the sound rows of a damaged one, which is kept as `.damaged-<n>`.
pub(super) fn salvage(path: &Path) -> Result<(PathBuf, Counts), StoreError> {
    let io = |error| StoreError::Path { path: path.to_owned(), error };
    let rows = collect(path).map_err(io)?;
    let fresh = fresh_path(path);
    remove(&fresh).map_err(io)?;
    super::make_file(&fresh).map_err(io)?;
    let write = || {
        let mut connection = Connection::open(&fresh)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        let transaction = connection.transaction()?;
        let counts = write(&transaction, &rows)?;
        transaction.commit()?;
        Ok(counts)
    };
    let database = |error| StoreError::Database {
        what: "save what is left of a damaged file",
        path: path.to_owned(),
        error,
    };
    let counts = write().map_err(database)?;
    let moved_to = set_aside(path)?;
    put_in_place(&fresh, path).map_err(io)?;
    Ok((moved_to, counts))
}

fn remove(path: &Path) -> std::io::Result<()> {
    for suffix in ["", "-journal", "-wal", "-shm"] {
        let file = with_suffix(path, suffix);
        if file.exists() {
            std::fs::remove_file(file)?;
        }
    }
    Ok(())
}

/// Every sound row, the newest of each key.
fn collect(path: &Path) -> std::io::Result<Rows> {
    let mut rows = Rows::new();
    Pages::open(path)?.rows(|row| {
        let ours =
            |table: &&&Table| table.columns.len() == row.len() && is_sealed(table.name, &row);
        let Some(table) = TABLES.iter().find(ours) else { return };
        let known = rows.entry(table.name).or_default();
        let key = format!("{:?}", row.get(..table.key));
        if known.get(&key).is_none_or(|other| age(table, other) < age(table, &row)) {
            known.insert(key, row);
        }
    });
    revive(&mut rows);
    Ok(rows)
}

fn age(table: &Table, row: &[Value]) -> i64 {
    match row.get(table.newer_by) {
        Some(Value::Integer(number)) => *number,
        Some(Value::Null | Value::Real(_) | Value::Text(_) | Value::Blob(_)) | None => i64::MIN,
    }
}

/// An incident stands as its last event says, which is another copy of it.
fn revive(rows: &mut Rows) {
    let events = rows.get(EVENTS.name).cloned().unwrap_or_default();
    let incidents = rows.entry(INCIDENTS.name).or_default();
    for mut row in events.into_values() {
        let key = format!("{:?}", row.get(..INCIDENTS.key));
        let newer =
            incidents.get(&key).is_none_or(|old| age(&INCIDENTS, old) < age(&INCIDENTS, &row));
        if newer && row.pop().is_some() {
            row.push(Value::Integer(super::seal::seal(INCIDENTS.name, &row)));
            incidents.insert(key, row);
        }
    }
}

fn write(transaction: &Transaction<'_>, rows: &Rows) -> rusqlite::Result<Counts> {
    schema::create(transaction)?;
    let mut counts = Counts::new();
    for table in TABLES {
        let found = rows.get(table.name);
        for row in found.into_iter().flat_map(BTreeMap::values) {
            table.put_sealed(transaction, row.clone())?;
        }
        counts.insert(table.name, found.map_or(0, BTreeMap::len));
    }
    Ok(counts)
}

/// Renames a damaged file to the first free `.damaged-<n>`. Its log is copied before that, so that
/// a crash at any moment leaves both together.
fn set_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let io = |error| StoreError::Path { path: path.to_owned(), error };
    for number in 1..=MAX_DAMAGED {
        let moved_to = with_suffix(path, &format!(".damaged-{number}"));
        if moved_to.exists() {
            continue;
        }
        let log = with_suffix(path, "-wal");
        if log.exists() {
            std::fs::copy(&log, with_suffix(&moved_to, "-wal")).map_err(io)?;
        }
        std::fs::rename(path, &moved_to).map_err(io)?;
        return Ok(moved_to);
    }
    Err(StoreError::Damaged { path: path.to_owned() })
}

#[cfg(test)]
mod tests;
