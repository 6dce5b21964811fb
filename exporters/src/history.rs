//! History: how targets fared, change by change and hour by hour, for people who look back.
//!
//! One `SQLite` file beside the store, which may be lost: nothing that is told or decided rests on
//! it. It is written in batches on a thread of its own ([`HistoryHandle`]). One that is broken is
//! moved aside and begun anew, one that cannot be had is done without until it can; neither delays
//! anything else. Its size and age are bounded.

mod keeper;
mod row;
mod schema;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, params};

pub use self::keeper::HistoryHandle;
pub use self::row::{Batch, Change, Hour, TargetHistory};
use self::schema::{APPLICATION_ID, SCHEMA_VERSION, TABLES};
use crate::clock::unix_seconds;
use crate::store::{make_file, with_suffix};

/// The file with the history, beside the store's.
pub const FILE: &str = "history.db";

/// How long another process may hold the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// Hours and changes older than this go.
const MAX_AGE: Duration = Duration::from_secs(90 * 86_400);
/// Bytes in use above which the oldest tenth goes.
const MAX_BYTES: u64 = 256 << 20;
/// Hours and changes of one target that are told, the newest.
const HOURS_TOLD: i64 = 10_000;
const CHANGES_TOLD: i64 = 1_000;
const HOUR: u64 = 3_600;

/// Why history was not kept or read.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file cannot be made or read.
    #[error("open the history {}", path.display())]
    Path {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// The file is damaged, or of another release, or of somebody else.
    #[error("use the history {}: {reason}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The database refused.
    #[error("{what} in the history {}", path.display())]
    Database {
        /// What was attempted.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: rusqlite::Error,
    },
    /// The disk has little room left, which is for the store.
    #[error("write the history {}: the disk has {free} bytes left, which are for incidents", path.display())]
    NoRoom {
        /// The file.
        path: PathBuf,
        /// Bytes free.
        free: u64,
    },
}

/// The open history. Every call may block on the disk.
#[derive(Debug)]
pub struct History {
    connection: Connection,
    path: PathBuf,
    max_bytes: u64,
}

impl History {
    /// Opens the history, making the file (0600) if need be.
    pub fn open(path: &Path) -> Result<Self, HistoryError> {
        make_file(path).map_err(|error| HistoryError::Path { path: path.to_owned(), error })?;
        let at = |what| move |error| fault(path, what, error);
        let connection = Connection::open(path).map_err(at("open it"))?;
        let mut history = Self { connection, path: path.to_owned(), max_bytes: MAX_BYTES };
        history.connection.busy_timeout(BUSY_TIMEOUT).map_err(at("open it"))?;
        let fresh = history.is_fresh()?;
        history.configure().map_err(at("configure it"))?;
        let read = history.connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
        let verdict: String = read.map_err(at("check it"))?;
        if verdict != "ok" {
            return Err(HistoryError::Broken { path: path.to_owned(), reason: verdict });
        }
        if fresh {
            history.create().map_err(at("make its tables"))?;
        }
        for statement in schema::STATEMENTS {
            history.connection.prepare(statement).map_err(at("read its tables"))?;
        }
        Ok(history)
    }

    /// Opens a history that a daemon may be using, for reading.
    pub fn read(path: &Path) -> Result<Self, HistoryError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let at = |error| fault(path, "open it", error);
        let connection = Connection::open_with_flags(path, flags).map_err(at)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(at)?;
        let history = Self { connection, path: path.to_owned(), max_bytes: MAX_BYTES };
        match history.is_fresh()? {
            false => Ok(history),
            true => {
                let reason = "it is empty".to_owned();
                Err(HistoryError::Broken { path: path.to_owned(), reason })
            }
        }
    }

    /// Whether there is nothing in it yet; what is not ours is refused.
    fn is_fresh(&self) -> Result<bool, HistoryError> {
        let number = |statement: &'static str| {
            let read = self.connection.query_row(statement, [], |row| row.get::<_, i64>(0));
            read.map_err(|error| fault(&self.path, "read its schema", error))
        };
        let found = (number("PRAGMA application_id")?, number("PRAGMA user_version")?);
        match (found, number("SELECT count(*) FROM sqlite_schema")?) {
            ((APPLICATION_ID, SCHEMA_VERSION), _) => Ok(false),
            ((0, 0), 0) => Ok(true),
            ((_, version), _) => {
                let reason = format!("it is not one of this release (schema {version})");
                Err(HistoryError::Broken { path: self.path.clone(), reason })
            }
        }
    }

    fn configure(&self) -> rusqlite::Result<()> {
        self.connection.pragma_update(None, "journal_mode", "WAL")?;
        // A power cut may cost the last minutes, and never the file.
        self.connection.pragma_update(None, "synchronous", "NORMAL")?;
        self.connection.pragma_update(None, "cell_size_check", true)?;
        self.connection.pragma_update(None, "trusted_schema", false)
    }

    fn create(&mut self) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        transaction.commit()
    }

    /// Adds a batch in one transaction. What is known of an hour already is added up.
    pub fn add(&mut self, batch: &Batch) -> Result<(), HistoryError> {
        let path = self.path.clone();
        self.try_add(batch).map_err(|error| fault(&path, "add to it", error))
    }

    fn try_add(&mut self, batch: &Batch) -> rusqlite::Result<()> {
        let behavior = TransactionBehavior::Immediate;
        let transaction = self.connection.transaction_with_behavior(behavior)?;
        {
            let mut name = transaction.prepare_cached(schema::NAME)?;
            let mut id = |text: &str| name.query_row([text], |row| row.get::<_, i64>(0));
            let mut hours = transaction.prepare_cached(schema::ADD_HOUR)?;
            for hour in &batch.hours {
                hours.execute(params![
                    id(&hour.target)?,
                    hour.hour,
                    id(&hour.vantage)?,
                    hour.looks,
                    hour.reachable,
                    hour.sent,
                    hour.received,
                    hour.lost,
                    hour.rtt_count,
                    hour.rtt_micros,
                ])?;
            }
            let mut changes = transaction.prepare_cached(schema::ADD_CHANGE)?;
            for change in &batch.changes {
                changes.execute(params![
                    id(&change.target)?,
                    change.at_ms,
                    change.before,
                    change.class,
                    change.confidence,
                    change.summary,
                ])?;
            }
        }
        transaction.commit()
    }

    /// Forgets what is too old or too much.
    pub fn prune(&mut self, now: SystemTime) -> Result<(), HistoryError> {
        let path = self.path.clone();
        self.try_prune(now).map_err(|error| fault(&path, "forget old rows", error))
    }

    fn try_prune(&mut self, now: SystemTime) -> rusqlite::Result<()> {
        let oldest = now.checked_sub(MAX_AGE).unwrap_or(SystemTime::UNIX_EPOCH);
        self.forget_before(unix_hour(oldest))?;
        while self.bytes()? > self.max_bytes {
            let span = self.connection.query_row(schema::SPAN, [], |row| {
                Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?))
            })?;
            // Nothing but the present hour is left: that stays.
            let (Some(first), Some(last)) = span else { break };
            if first >= last {
                break;
            }
            self.forget_before((first + (last - first) / 10).max(first + 1))?;
        }
        Ok(())
    }

    fn forget_before(&mut self, hour: i64) -> rusqlite::Result<()> {
        let behavior = TransactionBehavior::Immediate;
        let transaction = self.connection.transaction_with_behavior(behavior)?;
        let gone = transaction.execute(schema::FORGET_HOURS, [hour])?
            + transaction.execute(schema::FORGET_CHANGES, [hour])?;
        if gone > 0 {
            transaction.execute(schema::FORGET_NAMES, [])?;
        }
        transaction.commit()
    }

    /// Bytes of the pages in use.
    fn bytes(&self) -> rusqlite::Result<u64> {
        let number = |statement: &str| {
            self.connection.query_row(statement, [], |row| row.get::<_, u32>(0)).map(u64::from)
        };
        let used = number("PRAGMA page_count")?.saturating_sub(number("PRAGMA freelist_count")?);
        Ok(used * number("PRAGMA page_size")?)
    }

    /// What is known of a target, the newest first; `None` for one that was never heard of.
    pub fn of_target(&self, target: &str) -> Result<Option<TargetHistory>, HistoryError> {
        self.try_of_target(target).map_err(|error| fault(&self.path, "read a target", error))
    }

    fn try_of_target(&self, target: &str) -> rusqlite::Result<Option<TargetHistory>> {
        let mut changes = self.connection.prepare_cached(schema::CHANGES)?;
        let changes = changes.query_map(params![target, CHANGES_TOLD], |row| {
            Ok(Change {
                target: target.to_owned(),
                at_ms: row.get(0)?,
                before: row.get(1)?,
                class: row.get(2)?,
                confidence: row.get(3)?,
                summary: row.get(4)?,
            })
        })?;
        let changes = changes.collect::<rusqlite::Result<Vec<_>>>()?;
        let mut hours = self.connection.prepare_cached(schema::HOURS)?;
        let hours = hours.query_map(params![target, HOURS_TOLD], |row| {
            Ok(Hour {
                target: target.to_owned(),
                hour: row.get(0)?,
                vantage: row.get(1)?,
                looks: row.get(2)?,
                reachable: row.get(3)?,
                sent: row.get(4)?,
                received: row.get(5)?,
                lost: row.get(6)?,
                rtt_count: row.get(7)?,
                rtt_micros: row.get(8)?,
            })
        })?;
        let hours = hours.collect::<rusqlite::Result<Vec<_>>>()?;
        let known = !changes.is_empty() || !hours.is_empty();
        Ok(known.then(|| TargetHistory { target: target.to_owned(), changes, hours }))
    }
}

/// The hour of a date, counted from 1970.
pub fn unix_hour(date: SystemTime) -> i64 {
    i64::try_from(unix_seconds(date) / HOUR).unwrap_or(i64::MAX)
}

/// Moves a broken history aside, over one that was moved before; gives where it lies now.
fn move_aside(path: &Path) -> std::io::Result<PathBuf> {
    let aside = with_suffix(path, ".broken");
    std::fs::rename(path, &aside)?;
    for suffix in ["-wal", "-shm"] {
        // They are nothing without it, and poison for a new one.
        match std::fs::remove_file(with_suffix(path, suffix)) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(aside)
}

/// Whether an error is the file's fault. The file itself could be opened for writing, so that a
/// read-only database is a flipped bit in its head; a plain error is one in its tables.
fn fault(path: &Path, what: &'static str, error: rusqlite::Error) -> HistoryError {
    let extended = error.sqlite_error().map(|error| error.extended_code);
    let broken = match error.sqlite_error_code() {
        Some(code) => {
            let codes = [
                ErrorCode::NotADatabase,
                ErrorCode::DatabaseCorrupt,
                ErrorCode::ReadOnly,
                ErrorCode::Unknown,
                ErrorCode::TooBig,
                ErrorCode::ConstraintViolation,
                ErrorCode::TypeMismatch,
            ];
            codes.contains(&code) || extended == Some(rusqlite::ffi::SQLITE_IOERR_SHORT_READ)
        }
        None => matches!(
            error,
            rusqlite::Error::SqlInputError { .. }
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::Utf8Error(..)
        ),
    };
    let path = path.to_owned();
    if broken {
        HistoryError::Broken { path, reason: error.to_string() }
    } else {
        HistoryError::Database { what, path, error }
    }
}

#[cfg(test)]
mod tests;
