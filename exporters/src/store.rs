//! The store: what must outlive the process, in one `SQLite` file.
//!
//! Incidents with every step of their lives, and the healthy baselines of targets. Write-ahead log,
//! `synchronous = FULL`: what was saved survives a power cut. A file that is damaged is moved aside
//! and a new one begun, for a monitor without memory is better than no monitor; a file of a newer
//! release is left alone and refused. [`StoreHandle`] keeps the database on a thread of its own.

mod handle;
mod row;

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Transaction, params};

pub use self::handle::StoreHandle;
pub use self::row::{BaselineRow, IncidentRow, SubjectRow, TextRow};
use crate::clock::unix_seconds;

/// The schema this release writes, in `user_version`.
const SCHEMA_VERSION: i64 = 1;

/// `rchd` in `application_id`: tells our file from somebody else's.
const APPLICATION_ID: i64 = 0x7263_6864;

/// How long another process may hold the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How many damaged files are kept beside the store at most.
const MAX_DAMAGED: u32 = 100;

const SCHEMA: &str = "
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE incidents (
        fingerprint TEXT PRIMARY KEY,
        version INTEGER NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('pending', 'firing', 'resolved')),
        json TEXT NOT NULL,
        updated INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE incident_events (
        fingerprint TEXT NOT NULL,
        version INTEGER NOT NULL,
        state TEXT NOT NULL,
        json TEXT NOT NULL,
        updated INTEGER NOT NULL,
        PRIMARY KEY (fingerprint, version)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE baselines (
        target TEXT NOT NULL,
        vantage TEXT NOT NULL,
        json TEXT NOT NULL,
        updated INTEGER NOT NULL,
        PRIMARY KEY (target, vantage)
    ) STRICT, WITHOUT ROWID;
";

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder or file cannot be made or read.
    #[error(
        "open the store {}: check its owner and the free space, or set [store] path",
        path.display()
    )]
    Path {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// The file was written by a newer release.
    #[error(
        "open the store {}: it has schema {found} of a newer reachd, this one knows \
         {SCHEMA_VERSION}; install the newer release again, or move the file away to begin anew",
        path.display()
    )]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
    },
    /// The file is a database of something else.
    #[error(
        "open the store {}: it is a database, but not one of reachd; set [store] path",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// Too many damaged files lie beside it.
    #[error(
        "open the store {}: it is damaged, and {MAX_DAMAGED} damaged ones lie beside it; look at \
         the disk, then remove them",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The database refused.
    #[error("{what} in the store {}", path.display())]
    Database {
        /// What was attempted.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: rusqlite::Error,
    },
    /// A row could not be turned into JSON.
    #[error("{what} in the store {}", path.display())]
    Json {
        /// What was attempted.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: serde_json::Error,
    },
    /// The store's thread is gone or its queue is full.
    #[error("reach the store: {0}")]
    Unavailable(&'static str),
}

/// A damaged file was moved aside and a new one begun: incidents and baselines are forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamageWarning {
    /// Where the damaged file lies now.
    pub moved_to: PathBuf,
    /// What was wrong with it.
    pub reason: String,
}

/// The open store. Every call may block on the disk.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
}

/// Why an attempt to open the file failed.
enum Trouble {
    Damage(String),
    Final(StoreError),
}

impl Store {
    /// Opens the store, making its folder (0700) and file (0600) if need be.
    pub fn open(path: &Path) -> Result<(Self, Option<DamageWarning>), StoreError> {
        let io = |error| StoreError::Path { path: path.to_owned(), error };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io)?;
        }
        let reason = match Self::try_open(path) {
            Ok(store) => return Ok((store, None)),
            Err(Trouble::Final(error)) => return Err(error),
            Err(Trouble::Damage(reason)) => reason,
        };
        let moved_to = set_aside(path)?;
        match Self::try_open(path) {
            Ok(store) => Ok((store, Some(DamageWarning { moved_to, reason }))),
            Err(Trouble::Final(error)) => Err(error),
            Err(Trouble::Damage(_)) => Err(StoreError::Damaged { path: path.to_owned() }),
        }
    }

    fn try_open(path: &Path) -> Result<Self, Trouble> {
        let io = |error| Trouble::Final(StoreError::Path { path: path.to_owned(), error });
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = file.open(path).map_err(io)?;
        // `SQLite` gives its log the permissions of the file.
        file.set_permissions(Permissions::from_mode(0o600)).map_err(io)?;
        drop(file);
        let trouble = |what| move |error| Self::trouble(path, what, error);
        let connection = Connection::open(path).map_err(trouble("open the database"))?;
        let mut store = Self { connection, path: path.to_owned() };
        store.check_owner()?;
        store.configure().map_err(trouble("configure the database"))?;
        let verdict: String = store
            .connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(trouble("check the database"))?;
        if verdict != "ok" {
            return Err(Trouble::Damage(verdict));
        }
        store.create().map_err(trouble("create the tables"))?;
        Ok(store)
    }

    /// Refuses what is newer or not ours, before anything is changed.
    fn check_owner(&self) -> Result<(), Trouble> {
        let number = |statement: &'static str| {
            let read = self.connection.query_row(statement, [], |row| row.get::<_, i64>(0));
            read.map_err(|error| Self::trouble(&self.path, "read the schema", error))
        };
        let found = number("PRAGMA user_version")?;
        let application = number("PRAGMA application_id")?;
        let tables = number("SELECT count(*) FROM sqlite_schema")?;
        let path = self.path.clone();
        match (application, found) {
            (0, 0) if tables == 0 => Ok(()),
            (APPLICATION_ID, found) if found > SCHEMA_VERSION => {
                Err(Trouble::Final(StoreError::NewerSchema { path, found }))
            }
            (APPLICATION_ID, SCHEMA_VERSION) => Ok(()),
            (_, _) => Err(Trouble::Final(StoreError::Foreign { path })),
        }
    }

    fn configure(&self) -> rusqlite::Result<()> {
        self.connection.busy_timeout(BUSY_TIMEOUT)?;
        self.connection.pragma_update(None, "journal_mode", "WAL")?;
        self.connection.pragma_update(None, "synchronous", "FULL")?;
        self.connection.pragma_update(None, "trusted_schema", false)
    }

    fn create(&mut self) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        let found: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        if found == 0 {
            transaction.execute_batch(SCHEMA)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        }
        transaction.commit()
    }

    fn trouble(path: &Path, what: &'static str, error: rusqlite::Error) -> Trouble {
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                Trouble::Damage(error.to_string())
            }
            Some(_) | None => {
                Trouble::Final(StoreError::Database { what, path: path.to_owned(), error })
            }
        }
    }

    /// Saves a step of an incident's life: the newest state and the event, in one transaction.
    /// A version that is not newer than the saved one changes nothing; whether it was saved.
    pub fn save_incident(
        &mut self,
        row: &IncidentRow,
        now: SystemTime,
    ) -> Result<bool, StoreError> {
        let what = "save an incident";
        let json = self.json(what, row)?;
        self.transaction(what, |transaction| {
            let version = i64::try_from(row.version).unwrap_or(i64::MAX);
            let values = params![row.fingerprint, version, row.state, json, unix(now)];
            let saved = transaction.execute(
                "INSERT INTO incidents (fingerprint, version, state, json, updated)
                 VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (fingerprint) DO UPDATE SET version = excluded.version,
                     state = excluded.state, json = excluded.json, updated = excluded.updated
                 WHERE excluded.version > version",
                values,
            )?;
            if saved > 0 {
                transaction.execute(
                    "INSERT OR IGNORE INTO incident_events
                     (fingerprint, version, state, json, updated) VALUES (?1, ?2, ?3, ?4, ?5)",
                    values,
                )?;
            }
            Ok(saved > 0)
        })
    }

    /// Incidents that are not resolved, by fingerprint.
    pub fn load_open_incidents(&mut self) -> Result<Vec<IncidentRow>, StoreError> {
        let texts = self.texts(
            "load incidents",
            "SELECT json FROM incidents WHERE state <> 'resolved' ORDER BY fingerprint",
            0,
        )?;
        Ok(parse("incident", &texts))
    }

    /// Every incident that is remembered as it stands, by fingerprint.
    pub fn load_incidents(&mut self) -> Result<Vec<IncidentRow>, StoreError> {
        let statement = "SELECT json FROM incidents ORDER BY fingerprint";
        Ok(parse("incident", &self.texts("load incidents", statement, 0)?))
    }

    /// Notes the last step of an incident that a receiver took.
    pub fn note_delivered(
        &mut self,
        receiver: &str,
        fingerprint: &str,
        version: u64,
    ) -> Result<(), StoreError> {
        self.set_meta(&delivered_key(receiver, fingerprint), &version.to_string())
    }

    /// The state that a receiver was told last of an incident; `None` when it was told nothing.
    pub fn last_delivered(
        &mut self,
        receiver: &str,
        fingerprint: &str,
    ) -> Result<Option<String>, StoreError> {
        let Some(version) = self.meta(&delivered_key(receiver, fingerprint))? else {
            return Ok(None);
        };
        let statement = "SELECT state FROM incident_events WHERE fingerprint = ?1 AND version = ?2";
        let key = params![fingerprint, version.parse::<i64>().unwrap_or_default()];
        let found = self.connection.query_row(statement, key, |row| row.get(0)).optional();
        found.map_err(|error| self.database("read a delivery", error))
    }

    /// Saves what a target looks like while healthy.
    pub fn save_baseline(&mut self, row: &BaselineRow, now: SystemTime) -> Result<(), StoreError> {
        let what = "save a baseline";
        let json = self.json(what, row)?;
        self.transaction(what, |transaction| {
            transaction.execute(
                "INSERT INTO baselines (target, vantage, json, updated) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (target, vantage) DO UPDATE SET json = excluded.json,
                     updated = excluded.updated",
                params![row.target, row.vantage, json, unix(now)],
            )?;
            Ok(())
        })
    }

    /// Baselines that were confirmed within `max_age` before `now`, by target and vantage.
    pub fn load_baselines(
        &mut self,
        now: SystemTime,
        max_age: Duration,
    ) -> Result<Vec<BaselineRow>, StoreError> {
        let oldest = unix(now.checked_sub(max_age).unwrap_or(SystemTime::UNIX_EPOCH));
        let texts = self.texts(
            "load baselines",
            "SELECT json FROM baselines WHERE updated >= ?1 ORDER BY target, vantage",
            oldest,
        )?;
        Ok(parse("baseline", &texts))
    }

    /// Forgets resolved incidents and baselines that are older than `max_age`; how many rows.
    pub fn prune(&mut self, now: SystemTime, max_age: Duration) -> Result<usize, StoreError> {
        let oldest = unix(now.checked_sub(max_age).unwrap_or(SystemTime::UNIX_EPOCH));
        self.transaction("forget old rows", |transaction| {
            let mut gone = 0;
            for statement in [
                "DELETE FROM incidents WHERE state = 'resolved' AND updated < ?1",
                "DELETE FROM incident_events WHERE updated < ?1 AND NOT EXISTS
                     (SELECT 1 FROM incidents WHERE incidents.fingerprint = \
                      incident_events.fingerprint AND state <> 'resolved')",
                "DELETE FROM baselines WHERE updated < ?1",
            ] {
                gone += transaction.execute(statement, [oldest])?;
            }
            Ok(gone)
        })
    }

    /// A note of the daemon's own, such as when it last ran.
    pub fn meta(&mut self, key: &str) -> Result<Option<String>, StoreError> {
        let statement = "SELECT value FROM meta WHERE key = ?1";
        let found = self.connection.query_row(statement, [key], |row| row.get(0)).optional();
        found.map_err(|error| self.database("read a note", error))
    }

    /// Saves a note of the daemon's own.
    pub fn set_meta(&mut self, key: &str, value: &str) -> Result<(), StoreError> {
        let statement = "INSERT INTO meta (key, value) VALUES (?1, ?2)
             ON CONFLICT (key) DO UPDATE SET value = excluded.value";
        let saved = self.connection.execute(statement, [key, value]);
        saved.map(|_| ()).map_err(|error| self.database("save a note", error))
    }

    fn transaction<T>(
        &mut self,
        what: &'static str,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let run = |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        };
        run(&mut self.connection).map_err(|error| self.database(what, error))
    }

    fn texts(
        &self,
        what: &'static str,
        statement: &str,
        oldest: i64,
    ) -> Result<Vec<String>, StoreError> {
        let read = || {
            let mut statement = self.connection.prepare(statement)?;
            let values = rusqlite::params_from_iter(
                std::iter::once(oldest).take(statement.parameter_count()),
            );
            statement.query_map(values, |row| row.get(0))?.collect::<rusqlite::Result<_>>()
        };
        read().map_err(|error| self.database(what, error))
    }

    fn json(&self, what: &'static str, row: &impl serde::Serialize) -> Result<String, StoreError> {
        serde_json::to_string(row).map_err(|error| self.json_error(what, error))
    }

    fn database(&self, what: &'static str, error: rusqlite::Error) -> StoreError {
        StoreError::Database { what, path: self.path.clone(), error }
    }

    fn json_error(&self, what: &'static str, error: serde_json::Error) -> StoreError {
        StoreError::Json { what, path: self.path.clone(), error }
    }
}

/// Rows as they were saved. One that cannot be read (a flipped bit, a field of another release) is
/// left out: the others are worth having.
fn parse<T: serde::de::DeserializeOwned>(what: &str, texts: &[String]) -> Vec<T> {
    let parse = |text: &String| match serde_json::from_str(text) {
        Ok(row) => Some(row),
        Err(error) => {
            tracing::error!(what, %error, "Left out a saved row that cannot be read");
            None
        }
    };
    texts.iter().filter_map(parse).collect()
}

/// A receiver's name has no slash.
fn delivered_key(receiver: &str, fingerprint: &str) -> String {
    format!("delivered/{receiver}/{fingerprint}")
}

fn unix(date: SystemTime) -> i64 {
    i64::try_from(unix_seconds(date)).unwrap_or(i64::MAX)
}

/// Renames a damaged file, and its log, to the first free `.damaged-<n>`.
fn set_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let with = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let io = |error| StoreError::Path { path: path.to_owned(), error };
    for number in 1..=MAX_DAMAGED {
        let aside = format!(".damaged-{number}");
        let moved_to = with(&aside);
        if moved_to.exists() {
            continue;
        }
        for suffix in ["-wal", "-shm"] {
            let log = with(suffix);
            if log.exists() {
                std::fs::rename(&log, with(&format!("{aside}{suffix}"))).map_err(io)?;
            }
        }
        std::fs::rename(path, &moved_to).map_err(io)?;
        return Ok(moved_to);
    }
    Err(StoreError::Damaged { path: path.to_owned() })
}

#[cfg(test)]
mod tests;
