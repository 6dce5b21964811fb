//! The outbox: what is owed to each receiver, row by row, beside the incidents it tells of.

use std::time::SystemTime;

use bytes::Bytes;
use ring::digest::{SHA256, digest};
use rusqlite::types::Value;
use rusqlite::{Connection, Transaction};
use serde::Serialize;

use super::mark::{Mark, change};
use super::schema::OUTBOX;
use super::{Store, StoreError};
use crate::clock::unix_millis;

/// A rendered message for one receiver, to be committed with the step of the incident it tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The receiver's name.
    pub receiver: String,
    /// When the incident began, as the body says; empty for a message about messages.
    pub opened: String,
    /// Whether it says that the incident is over.
    pub resolved: bool,
    /// The bytes to post, the same over all attempts.
    pub body: Bytes,
}

impl Rendered {
    /// Its name, as the message about this step (incident and version).
    pub fn id(&self, (fingerprint, version): (&str, u64)) -> String {
        message_id(&self.receiver, (fingerprint, version), &self.opened)
    }
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Still owed.
    Pending,
    /// The receiver took it.
    Delivered,
    /// Given up; kept for a person to look at.
    Dead,
    /// A newer message of the same incident says all it said.
    Superseded,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Delivered, Self::Dead, Self::Superseded];

    /// The word in the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
            Self::Superseded => "superseded",
        }
    }
}

/// One row of the outbox. Dates are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OutboxRow {
    /// Its name, the same whoever derives it: [`message_id`].
    pub msg_id: String,
    /// The receiver's name.
    pub receiver: String,
    /// The incident.
    pub fingerprint: String,
    /// Its version.
    pub version: u64,
    /// Whether it says that the incident is over.
    pub resolved: bool,
    /// The bytes to post.
    #[serde(skip)]
    pub body: Bytes,
    /// When it was committed.
    pub enqueued_ms: i64,
    /// Not to be tried before.
    pub not_before_ms: i64,
    /// Attempts so far.
    pub attempts: u32,
    /// How the last one failed.
    pub last_error: Option<String>,
    /// What became of it.
    pub state: State,
    /// When it last changed.
    pub updated_ms: i64,
    /// Grows with every change.
    #[serde(skip)]
    pub revision: i64,
}

/// Whose message a mark is of: receiver, incident, version.
pub type MarkKey = (String, String, u64);

/// The name of a message: 128 bits of a hash of incident, version and receiver. What an incident is
/// includes when it began, for versions count from one again in a store that was begun anew. The
/// name has no dot, which the string that Standard Webhooks sign is split by.
pub fn message_id(receiver: &str, (fingerprint, version): (&str, u64), opened: &str) -> String {
    let mut text = format!("{fingerprint}\n{version}\n{receiver}");
    if !opened.is_empty() {
        text = format!("{text}\n{opened}");
    }
    let hash = digest(&SHA256, text.as_bytes());
    hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

impl OutboxRow {
    /// A new row, owed from `now` on.
    pub(super) fn fresh(message: &Rendered, (fingerprint, version): (&str, u64), now: i64) -> Self {
        Self {
            msg_id: message.id((fingerprint, version)),
            receiver: message.receiver.clone(),
            fingerprint: fingerprint.to_owned(),
            version,
            resolved: message.resolved,
            body: message.body.clone(),
            enqueued_ms: now,
            not_before_ms: now,
            attempts: 0,
            last_error: None,
            state: State::Pending,
            updated_ms: now,
            revision: 0,
        }
    }

    /// Whose it is.
    pub fn key(&self) -> MarkKey {
        (self.receiver.clone(), self.fingerprint.clone(), self.version)
    }

    pub(super) fn values(&self) -> Vec<Value> {
        let text = |text: &str| Value::Text(text.to_owned());
        vec![
            text(&self.receiver),
            text(&self.fingerprint),
            Value::Integer(i64::try_from(self.version).unwrap_or(i64::MAX)),
            text(&self.msg_id),
            Value::Integer(i64::from(self.resolved)),
            Value::Blob(self.body.to_vec()),
            Value::Integer(self.enqueued_ms),
            Value::Integer(self.not_before_ms),
            Value::Integer(i64::from(self.attempts)),
            self.last_error.as_deref().map_or(Value::Null, text),
            text(self.state.as_str()),
            Value::Integer(self.updated_ms),
            Value::Integer(self.revision),
        ]
    }

    /// Reads a row that is as it was written.
    fn read(row: Vec<Value>) -> Option<Self> {
        let mut values = row.into_iter();
        let text = |value: Option<Value>| match value {
            Some(Value::Text(text)) => Some(text),
            Some(_) | None => None,
        };
        let number = |value: Option<Value>| match value {
            Some(Value::Integer(number)) => Some(number),
            Some(_) | None => None,
        };
        let (receiver, fingerprint) = (text(values.next())?, text(values.next())?);
        let version = u64::try_from(number(values.next())?).ok()?;
        let msg_id = text(values.next())?;
        let resolved = number(values.next())? != 0;
        let body = match values.next()? {
            Value::Blob(body) => Bytes::from(body),
            Value::Null | Value::Integer(_) | Value::Real(_) | Value::Text(_) => return None,
        };
        let (enqueued_ms, not_before_ms) = (number(values.next())?, number(values.next())?);
        let attempts = u32::try_from(number(values.next())?).ok()?;
        let last_error = text(values.next());
        let state = text(values.next())?;
        let state = State::ALL.into_iter().find(|one| one.as_str() == state)?;
        let (updated_ms, revision) = (number(values.next())?, number(values.next())?);
        Some(Self {
            msg_id,
            receiver,
            fingerprint,
            version,
            resolved,
            body,
            enqueued_ms,
            not_before_ms,
            attempts,
            last_error,
            state,
            updated_ms,
            revision,
        })
    }
}

/// Rows that satisfy a condition and are as they were written, by age.
pub(super) fn select(
    connection: &Connection,
    condition: &str,
    values: &[Value],
) -> rusqlite::Result<Vec<OutboxRow>> {
    let rows = OUTBOX.sound(connection, condition, values)?;
    Ok(rows.into_iter().filter_map(OutboxRow::read).collect())
}

/// Adds a message; one that is there already stays as it is.
pub(super) fn add(transaction: &Transaction<'_>, row: &OutboxRow) -> rusqlite::Result<()> {
    if find(transaction, &row.key())?.is_none() {
        OUTBOX.put(transaction, row.values())?;
    }
    Ok(())
}

pub(super) fn find(connection: &Connection, key: &MarkKey) -> rusqlite::Result<Option<OutboxRow>> {
    let (receiver, fingerprint, version) = key;
    let key = [
        Value::Text(receiver.clone()),
        Value::Text(fingerprint.clone()),
        Value::Integer(i64::try_from(*version).unwrap_or(i64::MAX)),
    ];
    let condition = "WHERE receiver = ?1 AND fingerprint = ?2 AND version = ?3";
    Ok(select(connection, condition, &key)?.pop())
}

/// Of a message about messages, which is of no incident.
const STANDS_ALONE: &str = "fingerprint LIKE 'dead-%' OR fingerprint LIKE 'digest-%'";

const BY_AGE: &str = "ORDER BY enqueued_ms, receiver, fingerprint, version";

impl Store {
    /// Every row, or those of one state, the oldest first.
    pub fn outbox(&mut self, state: Option<State>) -> Result<Vec<OutboxRow>, StoreError> {
        let rows = match state {
            None => select(&self.connection, BY_AGE, &[]),
            Some(state) => select(
                &self.connection,
                &format!("WHERE state = ?1 {BY_AGE}"),
                &[Value::Text(state.as_str().to_owned())],
            ),
        };
        rows.map_err(|error| self.database("read the outbox", error))
    }

    /// What a receiver's queue begins with: rows that are owed, and the newest of each incident.
    pub fn outbox_of(&mut self, receiver: &str) -> Result<Vec<OutboxRow>, StoreError> {
        let condition = format!(
            "WHERE receiver = ?1 AND (state = 'pending' OR version = (SELECT max(version) \
             FROM outbox AS other WHERE other.receiver = outbox.receiver \
             AND other.fingerprint = outbox.fingerprint)) {BY_AGE}"
        );
        let rows = select(&self.connection, &condition, &[Value::Text(receiver.to_owned())]);
        rows.map_err(|error| self.database("read the outbox", error))
    }

    /// Adds messages about steps (incident and version) that were saved before, to receivers that
    /// never heard of them.
    pub fn add_messages(
        &mut self,
        messages: &[((String, u64), Rendered)],
        now: SystemTime,
    ) -> Result<(), StoreError> {
        let now = unix_millis(now);
        self.dearly("add to the outbox", |transaction| {
            for ((fingerprint, version), message) in messages {
                add(transaction, &OutboxRow::fresh(message, (fingerprint, *version), now))?;
            }
            Ok(())
        })
    }

    /// Makes dead letters owed again: those named, or all; how many. One that would tell of what is
    /// over stays dead: its incident has a newer message that the receiver took, or it says that an
    /// incident fires which has ended or is forgotten, and no message of its end is owed.
    pub fn retry_dead(
        &mut self,
        names: Option<&[String]>,
        now: SystemTime,
    ) -> Result<usize, StoreError> {
        let now = unix_millis(now);
        let again =
            Mark { attempts: Some(0), not_before_ms: Some(now), ..Mark::plain(State::Pending) };
        self.dearly("retry dead letters", |transaction| {
            let condition = format!(
                "WHERE state = 'dead' AND length(body) > 0 AND NOT EXISTS (SELECT 1 FROM outbox \
                 AS other WHERE other.receiver = outbox.receiver \
                 AND other.fingerprint = outbox.fingerprint AND other.version > outbox.version \
                 AND other.state = 'delivered') AND (resolved = 1 OR {STANDS_ALONE} OR EXISTS \
                 (SELECT 1 FROM incidents WHERE incidents.fingerprint = outbox.fingerprint \
                 AND state <> 'resolved') OR EXISTS (SELECT 1 FROM outbox AS last \
                 WHERE last.receiver = outbox.receiver AND last.fingerprint = outbox.fingerprint \
                 AND last.resolved = 1 AND last.version > outbox.version \
                 AND last.state = 'pending')) {BY_AGE}"
            );
            let rows = select(transaction, &condition, &[])?;
            let mut count = 0;
            for mut row in rows.into_iter().filter(|row| named(row, names)) {
                // Its time begins anew, or it would be given up at once.
                row.enqueued_ms = now;
                change(transaction, row, &again, now)?;
                count += 1;
            }
            Ok(count)
        })
    }

    /// Removes dead letters: those named, or all; how many.
    pub fn purge_dead(&mut self, names: Option<&[String]>) -> Result<usize, StoreError> {
        self.dearly("purge dead letters", |transaction| {
            let mut count = 0;
            let rows = select(transaction, "WHERE state = 'dead'", &[])?;
            for row in rows.iter().filter(|row| named(row, names)) {
                count +=
                    transaction.execute("DELETE FROM outbox WHERE msg_id = ?1", [&row.msg_id])?;
            }
            Ok(count)
        })
    }

    /// A number that changes when another process has changed the file.
    pub fn data_version(&mut self) -> Result<i64, StoreError> {
        let read = self.connection.query_row("PRAGMA data_version", [], |row| row.get(0));
        read.map_err(|error| self.database("look for changes", error))
    }
}

fn named(row: &OutboxRow, names: Option<&[String]>) -> bool {
    names.is_none_or(|names| names.contains(&row.msg_id))
}
