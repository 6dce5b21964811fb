//! What becomes of messages, written down, and what follows from it in the same transaction: a
//! notice for somebody else of each dead letter, and a digest in the place of many messages.

use std::collections::BTreeMap;
use std::time::SystemTime;

use ring::digest::{SHA256, digest};
use rusqlite::Transaction;
use rusqlite::types::Value;

use super::outbox::{add, find, select};
use super::schema::{INCIDENTS, OUTBOX};
use super::{MarkKey, OutboxRow, Rendered, State, Store, StoreError, parse};
use crate::clock::unix_millis;
use crate::receiver::{Letter, Notice};

/// More dead letters of one receiver than these at a time are told in one notice.
const NOTICES_MAX: usize = 8;

/// Incidents in one digest.
const DIGEST_MAX: usize = 50;

/// A change of a message that is to be written back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Its state now.
    pub state: State,
    /// Attempts so far; `None` leaves them as they are.
    pub attempts: Option<u32>,
    /// Not to be tried before, milliseconds since 1970; `None` leaves it as it is.
    pub not_before_ms: Option<i64>,
    /// How the last attempt failed, or why it was given up.
    pub error: Option<String>,
    /// Whether a digest is to tell it, together with all others that are written with it.
    pub digest: bool,
}

impl Mark {
    /// A state, and nothing else that changes.
    pub const fn plain(state: State) -> Self {
        Self { state, attempts: None, not_before_ms: None, error: None, digest: false }
    }
}

/// Who writes messages about messages.
pub trait Scribe {
    /// Who is told of the dead letters of a receiver, if anybody is.
    fn heir(&self, receiver: &str) -> Option<String>;

    /// A notice as a receiver understands it; `None` if there is no such receiver.
    fn write(&self, receiver: &str, notice: &Notice) -> Option<Rendered>;
}

impl Store {
    /// Writes back what became of messages, in one transaction with what follows from it; gives the
    /// messages that are owed because of it. A row that somebody removed meanwhile stays removed.
    pub fn mark(
        &mut self,
        marks: &BTreeMap<MarkKey, Mark>,
        scribe: &dyn Scribe,
        now: SystemTime,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        let now = unix_millis(now);
        self.dearly("write back the outbox", |transaction| {
            let (mut dead, mut summed) = (Letters::new(), Letters::new());
            for (key, mark) in marks {
                let Some(row) = find(transaction, key)? else { continue };
                if mark.digest {
                    if row.state == State::Pending {
                        file(&mut summed, letter(transaction, row)?);
                    }
                    continue;
                }
                let died = mark.state == State::Dead && row.state != State::Dead;
                let row = change(transaction, row, mark, now)?;
                if died {
                    file(&mut dead, letter(transaction, row)?);
                }
            }
            let mut owed = Vec::new();
            for (receiver, letters) in dead {
                let Some(heir) = scribe.heir(&receiver) else { continue };
                let size = if letters.len() > NOTICES_MAX { letters.len() } else { 1 };
                for letters in letters.chunks(size) {
                    owed.extend(tell_dead(transaction, (&heir, letters), scribe, now)?);
                }
            }
            for (receiver, letters) in summed {
                for incidents in by_incident(letters).chunks(DIGEST_MAX) {
                    owed.extend(sum_up(transaction, (&receiver, incidents), scribe, now)?);
                }
            }
            Ok(owed)
        })
    }
}

type Letters = BTreeMap<String, Vec<Letter>>;

fn file(letters: &mut Letters, letter: Letter) {
    letters.entry(letter.row.receiver.clone()).or_default().push(letter);
}

/// With the incident as it stands.
fn letter(transaction: &Transaction<'_>, row: OutboxRow) -> rusqlite::Result<Letter> {
    let key = [Value::Text(row.fingerprint.clone())];
    let rows = INCIDENTS.sound(transaction, "WHERE fingerprint = ?1", &key)?;
    Ok(Letter { row, incident: parse("incident", 3, rows).pop() })
}

/// In order of version, as the marks are.
fn by_incident(letters: Vec<Letter>) -> Vec<Vec<Letter>> {
    let mut incidents: Vec<Vec<Letter>> = Vec::new();
    for letter in letters {
        match incidents.last_mut() {
            Some(last)
                if last.last().is_some_and(|one| one.row.fingerprint == letter.row.fingerprint) =>
            {
                last.push(letter);
            }
            Some(_) | None => incidents.push(vec![letter]),
        }
    }
    incidents
}

/// One notice for these, whose name follows from theirs.
fn tell_dead(
    transaction: &Transaction<'_>,
    (heir, letters): (&str, &[Letter]),
    scribe: &dyn Scribe,
    now: i64,
) -> rusqlite::Result<Option<OutboxRow>> {
    let fingerprint = match letters {
        [letter] => format!("dead-{}", letter.row.msg_id),
        _ => name("dead", letters.iter()),
    };
    // One that was revived may die again, and that is news.
    let before = [Value::Text(heir.to_owned()), Value::Text(fingerprint.clone())];
    let before = select(transaction, "WHERE receiver = ?1 AND fingerprint = ?2", &before)?;
    let version = before.iter().map(|row| row.version).max().unwrap_or(0) + 1;
    let notice = Notice::dead(letters, (fingerprint.clone(), version));
    let Some(message) = scribe.write(heir, &notice) else { return Ok(None) };
    let row = OutboxRow::fresh(&message, (&fingerprint, version), now);
    add(transaction, &row)?;
    Ok(Some(row))
}

/// One digest in the place of these. Without anybody who writes it they stay owed as they are.
fn sum_up(
    transaction: &Transaction<'_>,
    (receiver, incidents): (&str, &[Vec<Letter>]),
    scribe: &dyn Scribe,
    now: i64,
) -> rusqlite::Result<Option<OutboxRow>> {
    let fingerprint = name("digest", incidents.iter().flatten());
    let last: Vec<_> = incidents.iter().filter_map(|letters| letters.last().cloned()).collect();
    let notice = Notice::digest(&last, fingerprint.clone());
    let Some(message) = scribe.write(receiver, &notice) else { return Ok(None) };
    let told = Mark { error: Some(format!("told in {fingerprint}")), ..SUPERSEDED };
    for letter in incidents.iter().flatten() {
        change(transaction, letter.row.clone(), &told, now)?;
    }
    let row = OutboxRow::fresh(&message, (&fingerprint, notice.version), now);
    add(transaction, &row)?;
    Ok(Some(row))
}

const SUPERSEDED: Mark = Mark::plain(State::Superseded);

/// A name that follows from those of some messages. It has no dot and is no incident's.
fn name<'a>(kind: &str, letters: impl Iterator<Item = &'a Letter>) -> String {
    let text: String = letters.map(|letter| format!("{}\n", letter.row.msg_id)).collect();
    let hash = digest(&SHA256, text.as_bytes());
    let hash: String = hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("{kind}-{hash}")
}

/// Changes a row as a mark says; gives it as it is now.
pub(super) fn change(
    transaction: &Transaction<'_>,
    mut row: OutboxRow,
    mark: &Mark,
    now: i64,
) -> rusqlite::Result<OutboxRow> {
    row.state = mark.state;
    row.attempts = mark.attempts.unwrap_or(row.attempts);
    row.not_before_ms = mark.not_before_ms.unwrap_or(row.not_before_ms);
    row.last_error.clone_from(&mark.error);
    if matches!(mark.state, State::Delivered | State::Superseded) {
        // Nobody will send it again.
        row.body = bytes::Bytes::new();
    }
    (row.updated_ms, row.revision) = (now, row.revision + 1);
    OUTBOX.put(transaction, row.values())?;
    Ok(row)
}

#[cfg(test)]
mod tests;
