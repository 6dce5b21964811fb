//! The store: what must outlive the process, in one `SQLite` file.
//!
//! Incidents with every step of their lives, what is owed to receivers (the outbox), and the
//! healthy baselines of targets. Write-ahead log, `synchronous = FULL`: what was saved survives a
//! power cut. An incident's step and the messages about it are one transaction, so that whatever is
//! known is told and whatever is told is known. Every row has a checksum. A file that is damaged is
//! kept, and its sound rows go into a new one, for a monitor without memory is better than no
//! monitor; a file of a newer release is left alone and refused. A ballast beside the file lets
//! incidents be saved on a full disk. [`StoreHandle`] keeps the database on a thread of its own.

mod ballast;
mod handle;
mod mark;
mod outbox;
mod pages;
mod row;
mod salvage;
mod schema;
mod seal;
mod steps;
mod writeback;

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::types::Value;
use rusqlite::{
    Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior, params_from_iter,
};

use self::ballast::Ballast;
pub use self::handle::{Opened, StoreHandle};
pub use self::mark::{Mark, Scribe};
pub use self::outbox::{MarkKey, OutboxRow, Rendered, State, message_id};
pub use self::row::{BaselineRow, IncidentRow, SubjectRow, TextRow};
pub use self::salvage::Counts;
use self::salvage::MAX_DAMAGED;
use self::schema::{
    APPLICATION_ID, BASELINES, EVENTS, INCIDENTS, META, SCHEMA_OLDEST, SCHEMA_VERSION,
};
pub use self::steps::StepRow;
pub use self::writeback::WriteBack;
use crate::clock::{unix_millis, unix_seconds};

/// How long another process may hold the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of the ballast.
const BALLAST: u64 = 16 << 20;

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
    /// The file was written by an older release, and no daemon of this one has opened it yet.
    #[error(
        "open the store {}: it has schema {found} of an older reachd; `reachd run` takes it over",
        path.display()
    )]
    OlderSchema {
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

impl StoreError {
    /// Whether the disk had no room.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Database { error, .. } => {
                let extended = error.sqlite_error().map(|error| error.extended_code);
                // The index of the log beside the file has no room either.
                extended == Some(rusqlite::ffi::SQLITE_IOERR_SHMSIZE)
                    || error.sqlite_error_code() == Some(ErrorCode::DiskFull)
            }
            Self::Path { error, .. } => error.kind() == std::io::ErrorKind::StorageFull,
            Self::NewerSchema { .. }
            | Self::OlderSchema { .. }
            | Self::Foreign { .. }
            | Self::Damaged { .. }
            | Self::Json { .. }
            | Self::Unavailable(_) => false,
        }
    }
}

/// A damaged file was kept aside, and a new one begun with what could be saved of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamageWarning {
    /// Where the damaged file lies now.
    pub moved_to: PathBuf,
    /// What was wrong with it.
    pub reason: String,
    /// Rows that were saved, by table.
    pub saved: Counts,
}

/// The open store. Every call may block on the disk.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
    ballast: Ballast,
}

/// Why an attempt to open the file failed.
enum Trouble {
    Damage(String),
    Final(StoreError),
}

impl Store {
    /// Opens the store, making its folder (0700) and file (0600) if need be.
    pub fn open(path: &Path) -> Result<(Self, Option<DamageWarning>), StoreError> {
        Self::open_with(path, BALLAST)
    }

    /// The same with a ballast of so many bytes.
    pub(super) fn open_with(
        path: &Path,
        ballast: u64,
    ) -> Result<(Self, Option<DamageWarning>), StoreError> {
        let io = |error| StoreError::Path { path: path.to_owned(), error };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io)?;
        }
        let mut ballast = Ballast::beside(path, ballast);
        match Self::open_once(path, &ballast) {
            // A start on a full disk: what the ballast is for.
            Err(error) if error.is_full() && ballast.release() => Self::open_once(path, &ballast),
            opened => opened,
        }
    }

    fn open_once(
        path: &Path,
        ballast: &Ballast,
    ) -> Result<(Self, Option<DamageWarning>), StoreError> {
        salvage::finish(path)?;
        let reason = match Self::try_open(path, ballast) {
            Ok(store) => return Ok((store, None)),
            Err(Trouble::Final(error)) => return Err(error),
            Err(Trouble::Damage(reason)) => reason,
        };
        let (moved_to, saved) = salvage::salvage(path)?;
        match Self::try_open(path, ballast) {
            Ok(store) => Ok((store, Some(DamageWarning { moved_to, reason, saved }))),
            Err(Trouble::Final(error)) => Err(error),
            Err(Trouble::Damage(_)) => Err(StoreError::Damaged { path: path.to_owned() }),
        }
    }

    /// Opens a store that a daemon may be using, for reading, without changing anything of it.
    pub fn read(path: &Path) -> Result<Self, StoreError> {
        Self::visit(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
    }

    /// Opens a store that a daemon may be using, for changes of its outbox.
    pub fn join(path: &Path) -> Result<Self, StoreError> {
        Self::visit(path, OpenFlags::SQLITE_OPEN_READ_WRITE)
    }

    fn visit(path: &Path, flags: OpenFlags) -> Result<Self, StoreError> {
        let database =
            |error| StoreError::Database { what: "open it", path: path.to_owned(), error };
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(database)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(database)?;
        let ballast = Ballast::beside(path, 0);
        let store = Self { connection, path: path.to_owned(), ballast };
        let pragma = |statement| store.connection.query_row(statement, [], |row| row.get(0));
        let found: i64 = pragma("PRAGMA user_version").map_err(database)?;
        let application: i64 = pragma("PRAGMA application_id").map_err(database)?;
        let path = path.to_owned();
        match (application, found) {
            (APPLICATION_ID, SCHEMA_VERSION) => Ok(store),
            (APPLICATION_ID, SCHEMA_OLDEST) => Err(StoreError::OlderSchema { path, found }),
            (APPLICATION_ID, _) => Err(StoreError::NewerSchema { path, found }),
            (_, _) => Err(StoreError::Foreign { path }),
        }
    }

    fn try_open(path: &Path, ballast: &Ballast) -> Result<Self, Trouble> {
        let io = |error| Trouble::Final(StoreError::Path { path: path.to_owned(), error });
        make_file(path).map_err(io)?;
        let trouble = |what| move |error| Self::trouble(path, what, error);
        if is_emptied(path).map_err(io)? {
            return Err(Trouble::Damage("it is empty beside a log that is not".to_owned()));
        }
        let connection = Connection::open(path).map_err(trouble("open the database"))?;
        let ballast = ballast.clone();
        let mut store = Self { connection, path: path.to_owned(), ballast };
        let found = store.check_owner()?;
        store.configure().map_err(trouble("configure the database"))?;
        let verdict: String = store
            .connection
            .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
            .map_err(trouble("check the database"))?;
        if verdict != "ok" {
            return Err(Trouble::Damage(verdict));
        }
        store.build(found).map_err(trouble("create the tables"))?;
        match schema::fault(&store.connection).map_err(trouble("check the rows"))? {
            None => Ok(store),
            Some(fault) => Err(Trouble::Damage(fault)),
        }
    }

    /// Refuses what is newer or not ours, before anything is changed; gives the schema, zero for
    /// an empty file. A head that is one bit from ours over tables that are ours is damaged.
    fn check_owner(&self) -> Result<i64, Trouble> {
        let number = |statement: &'static str| {
            let read = self.connection.query_row(statement, [], |row| row.get::<_, i64>(0));
            read.map_err(|error| Self::trouble(&self.path, "read the schema", error))
        };
        let found = number("PRAGMA user_version")?;
        let application = number("PRAGMA application_id")?;
        let tables = number("SELECT count(*) FROM sqlite_schema")?;
        let bits = |found: i64, ours: i64| ((found ^ ours) & 0xffff_ffff).count_ones();
        let flipped = bits(application, APPLICATION_ID) + bits(found, SCHEMA_VERSION) == 1;
        let path = self.path.clone();
        match (application, found) {
            (0, 0) if tables == 0 => Ok(0),
            (APPLICATION_ID, SCHEMA_VERSION) => Ok(found),
            (_, _) if flipped && schema::says_ours(&self.connection) => {
                Err(Trouble::Damage("its head has a wrong bit".to_owned()))
            }
            (APPLICATION_ID, SCHEMA_OLDEST) => Ok(found),
            (APPLICATION_ID, found) if found > SCHEMA_VERSION => {
                Err(Trouble::Final(StoreError::NewerSchema { path, found }))
            }
            (_, _) => Err(Trouble::Final(StoreError::Foreign { path })),
        }
    }

    fn configure(&self) -> rusqlite::Result<()> {
        self.connection.busy_timeout(BUSY_TIMEOUT)?;
        self.connection.pragma_update(None, "journal_mode", "WAL")?;
        self.connection.pragma_update(None, "synchronous", "FULL")?;
        // What was deleted must not come back when rows are read off bare pages.
        self.connection.pragma_update(None, "secure_delete", true)?;
        self.connection.pragma_update(None, "trusted_schema", false)
    }

    /// Makes the tables of an empty file, or takes over those of an older release.
    fn build(&mut self, found: i64) -> rusqlite::Result<()> {
        if found == SCHEMA_VERSION {
            return Ok(());
        }
        if found == SCHEMA_OLDEST {
            let copied = schema::copy_before_migration(&self.connection, &self.path);
            copied.map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        }
        let transaction = self.connection.transaction()?;
        match found {
            SCHEMA_OLDEST => schema::migrate(&transaction, unix_millis(SystemTime::now()))?,
            _ => schema::create(&transaction)?,
        }
        transaction.commit()
    }

    /// Whether an error is the file's fault. The file itself could be opened for writing, so that
    /// a read-only database is a flipped bit in its head; a plain error is one in its tables.
    fn trouble(path: &Path, what: &'static str, error: rusqlite::Error) -> Trouble {
        let reading = error.sqlite_error().map(|error| error.extended_code);
        match error.sqlite_error_code() {
            Some(
                ErrorCode::NotADatabase
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::ReadOnly
                | ErrorCode::Unknown
                | ErrorCode::TooBig
                | ErrorCode::ConstraintViolation
                | ErrorCode::TypeMismatch,
            ) => Trouble::Damage(error.to_string()),
            _ if reading == Some(rusqlite::ffi::SQLITE_IOERR_READ) => {
                Trouble::Damage(error.to_string())
            }
            Some(_) => Trouble::Final(StoreError::Database { what, path: path.to_owned(), error }),
            None => match error {
                rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::Utf8Error(..) => Trouble::Damage(error.to_string()),
                _ => Trouble::Final(StoreError::Database { what, path: path.to_owned(), error }),
            },
        }
    }

    /// Incidents that are not resolved, by fingerprint.
    pub fn load_open_incidents(&mut self) -> Result<Vec<IncidentRow>, StoreError> {
        let which = "WHERE state <> 'resolved' ORDER BY fingerprint";
        let rows = INCIDENTS.sound(&self.connection, which, &[]);
        Ok(parse("incident", 3, rows.map_err(|error| self.database("load incidents", error))?))
    }

    /// Every incident that is remembered as it stands, by fingerprint.
    pub fn load_incidents(&mut self) -> Result<Vec<IncidentRow>, StoreError> {
        let rows = INCIDENTS.sound(&self.connection, "ORDER BY fingerprint", &[]);
        Ok(parse("incident", 3, rows.map_err(|error| self.database("load incidents", error))?))
    }

    /// Every step of an incident, the oldest first, with the second since 1970 of its saving.
    pub fn incident_steps(
        &mut self,
        fingerprint: &str,
    ) -> Result<Vec<(i64, IncidentRow)>, StoreError> {
        let key = [Value::Text(fingerprint.to_owned())];
        let rows = EVENTS.sound(&self.connection, "WHERE fingerprint = ?1 ORDER BY version", &key);
        let rows = rows.map_err(|error| self.database("load an incident", error))?;
        let step = |row: Vec<Value>| match row.get(4) {
            Some(Value::Integer(at)) => Some((*at, parse("incident", 3, vec![row]).pop()?)),
            Some(_) | None => None,
        };
        Ok(rows.into_iter().filter_map(step).collect())
    }

    /// Baselines that were confirmed within `max_age` before `now`, by target and vantage.
    pub fn load_baselines(
        &mut self,
        now: SystemTime,
        max_age: Duration,
    ) -> Result<Vec<BaselineRow>, StoreError> {
        let oldest = unix(now.checked_sub(max_age).unwrap_or(SystemTime::UNIX_EPOCH));
        let which = "WHERE updated >= ?1 ORDER BY target, vantage";
        let rows = BASELINES.sound(&self.connection, which, &[Value::Integer(oldest)]);
        Ok(parse("baseline", 2, rows.map_err(|error| self.database("load baselines", error))?))
    }

    /// Forgets resolved incidents, baselines and messages that are older than `max_age`; how many
    /// rows. The newest message of each remembered incident and receiver stays, and what is owed to
    /// one of these receivers, however old: a clock that jumps must not make anything forgotten.
    pub fn prune(
        &mut self,
        now: SystemTime,
        max_age: Duration,
        receivers: &[String],
    ) -> Result<usize, StoreError> {
        let oldest = unix(now.checked_sub(max_age).unwrap_or(SystemTime::UNIX_EPOCH));
        let names = self.json("forget old rows", &receivers)?;
        self.transaction("forget old rows", |transaction| {
            let mut gone = 0;
            for statement in [
                "DELETE FROM incidents WHERE state = 'resolved' AND updated < ?1",
                "DELETE FROM incident_events WHERE updated < ?1 AND NOT EXISTS
                     (SELECT 1 FROM incidents WHERE incidents.fingerprint = \
                      incident_events.fingerprint AND state <> 'resolved')",
                "DELETE FROM baselines WHERE updated < ?1",
                "DELETE FROM outbox WHERE updated_ms < ?1 * 1000 AND (state <> 'pending'
                     OR receiver NOT IN (SELECT value FROM json_each(?2))) AND (NOT EXISTS
                     (SELECT 1 FROM incidents WHERE incidents.fingerprint = outbox.fingerprint)
                     OR EXISTS (SELECT 1 FROM outbox AS newer
                     WHERE newer.receiver = outbox.receiver
                     AND newer.fingerprint = outbox.fingerprint
                     AND newer.version > outbox.version))",
            ] {
                let owed = statement.contains("?2").then_some(names.as_str());
                let values = [Value::Integer(oldest)].into_iter();
                let values = values.chain(owed.map(|names| Value::Text(names.to_owned())));
                gone += transaction.execute(statement, params_from_iter(values))?;
            }
            Ok(gone)
        })
    }

    /// A small fact by name.
    pub fn meta(&mut self, key: &str) -> Result<Option<String>, StoreError> {
        let key = [Value::Text(key.to_owned())];
        let rows = META.sound(&self.connection, "WHERE key = ?1", &key);
        let row = rows.map_err(|error| self.database("read a fact", error))?.pop();
        Ok(row.and_then(|row| match row.into_iter().nth(1) {
            Some(Value::Text(text)) => Some(text),
            Some(_) | None => None,
        }))
    }

    /// Saves a small fact by name.
    pub fn set_meta(&mut self, key: &str, value: &str) -> Result<(), StoreError> {
        let now = unix_millis(SystemTime::now());
        self.transaction("save a fact", |transaction| {
            schema::put_meta(transaction, key, value, now)
        })
    }

    /// Makes the ballast, or makes it again, when the disk has room for it.
    pub fn tend_ballast(&mut self) {
        self.ballast.tend();
    }

    /// Whether there is no ballast: it was given up for room on a full disk, or the disk was never
    /// large enough for one.
    pub fn ballast_is_missing(&self) -> bool {
        self.ballast.is_missing()
    }

    /// A transaction that must not fail for lack of space: the ballast is given up for it.
    fn dearly<T>(
        &mut self,
        what: &'static str,
        work: impl Fn(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        match self.transaction(what, &work) {
            Err(error) if error.is_full() && self.ballast.release() => {
                tracing::error!("The disk is full: the ballast is given up for incidents");
                self.transaction(what, &work)
            }
            done => done,
        }
    }

    fn transaction<T>(
        &mut self,
        what: &'static str,
        work: impl Fn(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let path = &self.path;
        let database = |error| StoreError::Database { what, path: path.clone(), error };
        // Not deferred: a reader that becomes a writer may find the file changed and fail.
        let behavior = TransactionBehavior::Immediate;
        let transaction = self.connection.transaction_with_behavior(behavior).map_err(database)?;
        let done = work(&transaction).map_err(database)?;
        transaction.commit().map_err(database)?;
        Ok(done)
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

/// Rows as they were saved, of the text in one column. One that cannot be read (a field of another
/// release) is left out: the others are worth having.
fn parse<T: serde::de::DeserializeOwned>(
    what: &str,
    column: usize,
    rows: Vec<Vec<Value>>,
) -> Vec<T> {
    let parse = |row: Vec<Value>| match row.get(column) {
        Some(Value::Text(text)) => match serde_json::from_str(text) {
            Ok(row) => Some(row),
            Err(error) => {
                tracing::error!(what, %error, "Left out a saved row that cannot be read");
                None
            }
        },
        Some(_) | None => None,
    };
    rows.into_iter().filter_map(parse).collect()
}

fn unix(date: SystemTime) -> i64 {
    i64::try_from(unix_seconds(date)).unwrap_or(i64::MAX)
}

/// The path with something behind its name.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Whether the file has lost everything: `SQLite` writes its head before it begins a log, and it
/// would drop the log of an empty file without a word.
fn is_emptied(path: &Path) -> std::io::Result<bool> {
    let log = std::fs::metadata(with_suffix(path, "-wal")).map_or(0, |log| log.len());
    Ok(std::fs::metadata(path)?.len() == 0 && log > 0)
}

/// Makes the file unless it is there, for nobody but us: `SQLite` gives its log the same.
pub(crate) fn make_file(path: &Path) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).mode(0o600);
    file.open(path)?.set_permissions(Permissions::from_mode(0o600))
}

#[cfg(test)]
mod tests;
