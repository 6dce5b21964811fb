//! Tables and statements of the history.

/// Marks the file as ours: `rchh`.
pub(super) const APPLICATION_ID: i64 = 0x7263_6868;
/// There is no way from one version to the next: what is of another is moved aside.
pub(super) const SCHEMA_VERSION: i64 = 1;

pub(super) const TABLES: &str = "
    CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
    CREATE TABLE hours (
        target INTEGER NOT NULL, hour INTEGER NOT NULL, vantage INTEGER NOT NULL,
        looks INTEGER NOT NULL, reachable INTEGER NOT NULL,
        sent INTEGER NOT NULL, received INTEGER NOT NULL, lost INTEGER NOT NULL,
        rtt_count INTEGER NOT NULL, rtt_micros INTEGER NOT NULL,
        PRIMARY KEY (target, hour, vantage)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE changes (
        target INTEGER NOT NULL, at_ms INTEGER NOT NULL,
        before TEXT NOT NULL, class TEXT NOT NULL, confidence REAL NOT NULL, summary TEXT NOT NULL,
        PRIMARY KEY (target, at_ms)
    ) STRICT, WITHOUT ROWID;";

/// The number of a name, which is made if need be.
pub(super) const NAME: &str = "INSERT INTO names (name) VALUES (?1)
     ON CONFLICT (name) DO UPDATE SET name = name RETURNING id";

/// Every statement there is: a file whose tables do not know one of them is not ours.
pub(super) const STATEMENTS: [&str; 9] =
    [NAME, ADD_HOUR, ADD_CHANGE, SPAN, FORGET_HOURS, FORGET_CHANGES, FORGET_NAMES, CHANGES, HOURS];

pub(super) const ADD_HOUR: &str =
    "INSERT INTO hours VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
     ON CONFLICT DO UPDATE SET
     looks = looks + excluded.looks, reachable = reachable + excluded.reachable,
     sent = sent + excluded.sent, received = received + excluded.received,
     lost = lost + excluded.lost, rtt_count = rtt_count + excluded.rtt_count,
     rtt_micros = rtt_micros + excluded.rtt_micros";

pub(super) const ADD_CHANGE: &str =
    "INSERT OR REPLACE INTO changes VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

/// The first and the last hour.
pub(super) const SPAN: &str = "SELECT min(hour), max(hour) FROM
     (SELECT hour FROM hours UNION ALL SELECT at_ms / 3600000 FROM changes)";

pub(super) const FORGET_HOURS: &str = "DELETE FROM hours WHERE hour < ?1";
pub(super) const FORGET_CHANGES: &str = "DELETE FROM changes WHERE at_ms < ?1 * 3600000";
pub(super) const FORGET_NAMES: &str = "DELETE FROM names WHERE id NOT IN
     (SELECT target FROM hours UNION SELECT vantage FROM hours UNION SELECT target FROM changes)";

pub(super) const CHANGES: &str = "SELECT at_ms, before, class, confidence, summary FROM changes
     WHERE target = (SELECT id FROM names WHERE name = ?1) ORDER BY at_ms DESC LIMIT ?2";

pub(super) const HOURS: &str = "SELECT hour, names.name, looks, reachable, sent, received, lost,
     rtt_count, rtt_micros FROM hours JOIN names ON names.id = hours.vantage
     WHERE target = (SELECT id FROM names WHERE name = ?1)
     ORDER BY hour DESC, names.name LIMIT ?2";
