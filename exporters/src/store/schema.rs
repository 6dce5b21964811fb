//! The tables of this release, and the way from those of the one before.

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, Transaction, params_from_iter};

use super::outbox::{State, message_id};
use super::seal::{is_sealed, seal};
use super::with_suffix;

/// The schema this release writes, in `user_version`.
pub(super) const SCHEMA_VERSION: i64 = 2;

/// The oldest schema this release can take over.
pub(super) const SCHEMA_OLDEST: i64 = 1;

/// `rchd` in `application_id`: tells our file from somebody else's.
pub(super) const APPLICATION_ID: i64 = 0x7263_6864;

/// Where the schema is written a second time: one flipped bit in the head must not look like
/// another release.
const META_SCHEMA: &str = "schema";

/// A table whose last column is the checksum of the others.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    create: &'static str,
    pub(super) columns: &'static [&'static str],
    /// How many of the first columns tell rows apart.
    pub(super) key: usize,
    /// The column that is larger in the newer of two rows with one key.
    pub(super) newer_by: usize,
}

pub(super) const META: Table = Table {
    name: "meta",
    create: "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL, \
             updated INTEGER NOT NULL, checksum INTEGER NOT NULL) STRICT",
    columns: &["key", "value", "updated", "checksum"],
    key: 1,
    newer_by: 2,
};

pub(super) const INCIDENTS: Table = Table {
    name: "incidents",
    create: "CREATE TABLE incidents (fingerprint TEXT PRIMARY KEY, version INTEGER NOT NULL, \
             state TEXT NOT NULL CHECK (state IN ('pending', 'firing', 'resolved')), \
             json TEXT NOT NULL, updated INTEGER NOT NULL, checksum INTEGER NOT NULL) STRICT",
    columns: &["fingerprint", "version", "state", "json", "updated", "checksum"],
    key: 1,
    newer_by: 1,
};

pub(super) const EVENTS: Table = Table {
    name: "incident_events",
    create: "CREATE TABLE incident_events (fingerprint TEXT NOT NULL, version INTEGER NOT NULL, \
             state TEXT NOT NULL, json TEXT NOT NULL, updated INTEGER NOT NULL, \
             checksum INTEGER NOT NULL, PRIMARY KEY (fingerprint, version)) STRICT",
    columns: &["fingerprint", "version", "state", "json", "updated", "checksum"],
    key: 2,
    newer_by: 4,
};

pub(super) const BASELINES: Table = Table {
    name: "baselines",
    create: "CREATE TABLE baselines (target TEXT NOT NULL, vantage TEXT NOT NULL, \
             json TEXT NOT NULL, updated INTEGER NOT NULL, checksum INTEGER NOT NULL, \
             PRIMARY KEY (target, vantage)) STRICT",
    columns: &["target", "vantage", "json", "updated", "checksum"],
    key: 2,
    newer_by: 3,
};

pub(super) const OUTBOX: Table = Table {
    name: "outbox",
    create: "CREATE TABLE outbox (receiver TEXT NOT NULL, fingerprint TEXT NOT NULL, \
             version INTEGER NOT NULL, msg_id TEXT NOT NULL UNIQUE, \
             resolved INTEGER NOT NULL CHECK (resolved IN (0, 1)), body BLOB NOT NULL, \
             enqueued_ms INTEGER NOT NULL, not_before_ms INTEGER NOT NULL, \
             attempts INTEGER NOT NULL, last_error TEXT, state TEXT NOT NULL \
             CHECK (state IN ('pending', 'delivered', 'dead', 'superseded')), \
             updated_ms INTEGER NOT NULL, revision INTEGER NOT NULL, checksum INTEGER NOT NULL, \
             PRIMARY KEY (receiver, fingerprint, version)) STRICT",
    columns: &[
        "receiver",
        "fingerprint",
        "version",
        "msg_id",
        "resolved",
        "body",
        "enqueued_ms",
        "not_before_ms",
        "attempts",
        "last_error",
        "state",
        "updated_ms",
        "revision",
        "checksum",
    ],
    key: 3,
    newer_by: 12,
};

/// Every table, in the order in which they are made and saved from a damaged file.
pub(super) const TABLES: [&Table; 5] = [&META, &INCIDENTS, &EVENTS, &BASELINES, &OUTBOX];

const INDEX: &str = "CREATE INDEX outbox_state ON outbox (state)";

impl Table {
    /// Writes a row, over an older one of the same key; `values` are all but the checksum.
    pub(super) fn put(
        &self,
        connection: &Connection,
        mut values: Vec<Value>,
    ) -> rusqlite::Result<usize> {
        values.push(Value::Integer(seal(self.name, &values)));
        self.put_sealed(connection, values)
    }

    pub(super) fn put_sealed(
        &self,
        connection: &Connection,
        row: Vec<Value>,
    ) -> rusqlite::Result<usize> {
        let marks = vec!["?"; self.columns.len()].join(", ");
        let (name, columns) = (self.name, self.columns.join(", "));
        let text = format!("INSERT OR REPLACE INTO {name} ({columns}) VALUES ({marks})");
        connection.prepare_cached(&text)?.execute(params_from_iter(row))
    }

    /// Rows that satisfy a condition, whole, checksums included; `more` is put behind the table's
    /// name.
    pub(super) fn rows(
        &self,
        connection: &Connection,
        more: &str,
        values: &[Value],
    ) -> rusqlite::Result<Vec<Vec<Value>>> {
        let text = format!("SELECT {} FROM {} {more}", self.columns.join(", "), self.name);
        let mut statement = connection.prepare_cached(&text)?;
        let width = self.columns.len();
        let read = |row: &rusqlite::Row<'_>| (0..width).map(|index| row.get(index)).collect();
        statement.query_map(params_from_iter(values), read)?.collect()
    }

    /// How many rows are not as they were written.
    fn wrong(&self, connection: &Connection) -> rusqlite::Result<usize> {
        let text = format!("SELECT {} FROM {}", self.columns.join(", "), self.name);
        let mut statement = connection.prepare(&text)?;
        let mut rows = statement.query([])?;
        let mut wrong = 0;
        while let Some(row) = rows.next()? {
            let values: Vec<Value> = (0..self.columns.len())
                .map(|index| row.get(index))
                .collect::<rusqlite::Result<_>>()?;
            wrong += usize::from(!is_sealed(self.name, &values));
        }
        Ok(wrong)
    }

    /// Rows that satisfy a condition and are as they were written.
    pub(super) fn sound(
        &self,
        connection: &Connection,
        more: &str,
        values: &[Value],
    ) -> rusqlite::Result<Vec<Vec<Value>>> {
        let mut rows = self.rows(connection, more, values)?;
        rows.retain(|row| {
            let sound = is_sealed(self.name, row);
            if !sound {
                tracing::error!(table = self.name, "Left out a row whose checksum is wrong");
            }
            sound
        });
        Ok(rows)
    }
}

/// Makes the tables of an empty file.
pub(super) fn create(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    for table in TABLES {
        transaction.execute_batch(table.create)?;
    }
    transaction.execute_batch(INDEX)?;
    put_meta(transaction, META_SCHEMA, &SCHEMA_VERSION.to_string(), 0)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)
}

pub(super) fn put_meta(
    connection: &Connection,
    key: &str,
    value: &str,
    updated: i64,
) -> rusqlite::Result<()> {
    let texts = [key, value].map(|text| Value::Text(text.to_owned()));
    META.put(connection, texts.into_iter().chain([Value::Integer(updated)]).collect())?;
    Ok(())
}

/// Whether the tables, not the head, say that the file is of this release.
pub(super) fn says_ours(connection: &Connection) -> bool {
    let key = Value::Text(META_SCHEMA.to_owned());
    let rows = META.sound(connection, "WHERE key = ?1", &[key]).unwrap_or_default();
    let ours = Value::Text(SCHEMA_VERSION.to_string());
    rows.first().and_then(|row| row.get(1)) == Some(&ours)
}

/// What is wrong with the tables or a row: a bit that flipped in a value, or in the text of a
/// table, does not hinder `SQLite`.
pub(super) fn fault(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let mut statement =
        connection.prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")?;
    let mut found: Vec<String> =
        statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let mut wanted: Vec<&str> = TABLES.iter().map(|table| table.create).chain([INDEX]).collect();
    found.sort();
    wanted.sort_unstable();
    if found != wanted {
        return Ok(Some("its tables are not those that were made".to_owned()));
    }
    for table in TABLES {
        let wrong = table.wrong(connection)?;
        if wrong > 0 {
            return Ok(Some(format!("{wrong} rows of {} have a wrong checksum", table.name)));
        }
    }
    Ok(None)
}

/// Copies a file of schema 1 to `<file>.schema-1`, whole or not at all.
pub(super) fn copy_before_migration(connection: &Connection, path: &Path) -> std::io::Result<()> {
    let (copy, fresh) = (with_suffix(path, ".schema-1"), with_suffix(path, ".schema-1.new"));
    if fresh.exists() {
        std::fs::remove_file(&fresh)?;
    }
    // `VACUUM INTO` takes an empty file, with its permissions.
    drop(OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?);
    let name = fresh.to_string_lossy().into_owned();
    connection.execute("VACUUM INTO ?1", [name]).map_err(std::io::Error::other)?;
    let file = std::fs::File::open(&fresh)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.sync_all()?;
    std::fs::rename(&fresh, &copy)
}

/// Takes over the tables of schema 1: rows get checksums, and what receivers took is an outbox row.
pub(super) fn migrate(transaction: &Transaction<'_>, now_ms: i64) -> rusqlite::Result<()> {
    const OLD: [&str; 4] = ["meta", "incidents", "incident_events", "baselines"];
    for name in OLD {
        transaction.execute_batch(&format!("ALTER TABLE {name} RENAME TO old_{name}"))?;
    }
    create(transaction)?;
    for table in [&INCIDENTS, &EVENTS, &BASELINES] {
        for row in old_rows(transaction, table)? {
            table.put(transaction, row)?;
        }
    }
    for (key, value) in old_meta(transaction)? {
        match key.strip_prefix("delivered/").and_then(|rest| rest.split_once('/')) {
            None => put_meta(transaction, &key, &value, 0)?,
            Some((receiver, fingerprint)) => {
                let version = value.parse().unwrap_or_default();
                take_over_delivery(transaction, (receiver, fingerprint, version), now_ms)?;
            }
        }
    }
    for name in OLD {
        transaction.execute_batch(&format!("DROP TABLE old_{name}"))?;
    }
    Ok(())
}

fn old_rows(transaction: &Transaction<'_>, table: &Table) -> rusqlite::Result<Vec<Vec<Value>>> {
    let columns = table.columns.get(..table.columns.len() - 1).unwrap_or_default();
    let text = format!("SELECT {} FROM old_{}", columns.join(", "), table.name);
    let mut statement = transaction.prepare(&text)?;
    let read = |row: &rusqlite::Row<'_>| (0..columns.len()).map(|index| row.get(index)).collect();
    statement.query_map([], read)?.collect()
}

fn old_meta(transaction: &Transaction<'_>) -> rusqlite::Result<Vec<(String, String)>> {
    let mut statement = transaction.prepare("SELECT key, value FROM old_meta")?;
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    statement.query_map([], read)?.collect()
}

/// A delivery that was noted, as a row that was delivered. Its body was not kept.
fn take_over_delivery(
    transaction: &Transaction<'_>,
    (receiver, fingerprint, version): (&str, &str, i64),
    now_ms: i64,
) -> rusqlite::Result<()> {
    let key = [Value::Text(fingerprint.to_owned()), Value::Integer(version)];
    let events = EVENTS.rows(transaction, "WHERE fingerprint = ?1 AND version = ?2", &key)?;
    let state = events.first().and_then(|row| row.get(2));
    let resolved = state == Some(&Value::Text("resolved".to_owned()));
    let text = |text: &str| Value::Text(text.to_owned());
    let number = u64::try_from(version).unwrap_or_default();
    let row = vec![
        text(receiver),
        text(fingerprint),
        Value::Integer(version),
        Value::Text(message_id(receiver, (fingerprint, number), "")),
        Value::Integer(i64::from(resolved)),
        Value::Blob(Vec::new()),
        Value::Integer(now_ms),
        Value::Integer(now_ms),
        Value::Integer(1),
        Value::Null,
        text(State::Delivered.as_str()),
        Value::Integer(now_ms),
        Value::Integer(1),
    ];
    OUTBOX.put(transaction, row)?;
    Ok(())
}
