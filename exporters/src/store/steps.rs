//! Saving: steps of incidents with the messages about them, and baselines, many in one transaction.
//!
//! A commit waits for the disk, whatever it holds: in a mass outage one commit for each step would
//! fall behind the steps.

use std::time::SystemTime;

use rusqlite::Transaction;
use rusqlite::types::Value;

use super::outbox::{self, OutboxRow, Rendered};
use super::schema::{BASELINES, EVENTS, INCIDENTS};
use super::{BaselineRow, IncidentRow, Store, StoreError, unix};
use crate::clock::unix_millis;

/// A step of an incident's life, and the messages that are owed because of it.
#[derive(Debug, Clone, PartialEq)]
pub struct StepRow {
    /// The incident after it.
    pub row: IncidentRow,
    /// One for each receiver that is to hear of it.
    pub messages: Vec<Rendered>,
}

impl Store {
    /// Saves a step of an incident's life in one transaction: the newest state, the event, and one
    /// message for each receiver that is to hear of it. A version that is not newer than the saved
    /// one changes nothing; whether it was saved.
    pub fn save_incident(
        &mut self,
        row: &IncidentRow,
        messages: &[Rendered],
        now: SystemTime,
    ) -> Result<bool, StoreError> {
        let step = StepRow { row: row.clone(), messages: messages.to_vec() };
        self.save_steps(std::iter::once(&step), now).map(|saved| saved == [true])
    }

    /// Saves many steps as [`Store::save_incident`] does, in one transaction: all of them or none.
    /// For each, whether it was saved.
    pub fn save_steps<'a>(
        &mut self,
        steps: impl IntoIterator<Item = &'a StepRow>,
        now: SystemTime,
    ) -> Result<Vec<bool>, StoreError> {
        let what = "save an incident";
        let mut written = Vec::new();
        for step in steps {
            written.push((step, self.json(what, &step.row)?));
        }
        self.dearly(what, |transaction| {
            written.iter().map(|(step, json)| put(transaction, step, json, now)).collect()
        })
    }

    /// Saves what a target looks like while healthy. On a full disk it is not saved: the room is
    /// for incidents.
    pub fn save_baseline(&mut self, row: &BaselineRow, now: SystemTime) -> Result<(), StoreError> {
        self.save_baselines(std::slice::from_ref(row), now)
    }

    /// Saves many of them in one transaction.
    pub fn save_baselines(
        &mut self,
        rows: &[BaselineRow],
        now: SystemTime,
    ) -> Result<(), StoreError> {
        let what = "save a baseline";
        if self.ballast.is_spent() {
            return Err(StoreError::Unavailable("the disk is full"));
        }
        let text = |text: &str| Value::Text(text.to_owned());
        let mut all = Vec::new();
        for row in rows {
            let json = Value::Text(self.json(what, row)?);
            all.push([text(&row.target), text(&row.vantage), json, Value::Integer(unix(now))]);
        }
        self.transaction(what, |transaction| {
            for values in &all {
                BASELINES.put(transaction, values.to_vec())?;
            }
            Ok(())
        })
    }
}

fn put(
    transaction: &Transaction<'_>,
    StepRow { row, messages }: &StepRow,
    json: &str,
    now: SystemTime,
) -> rusqlite::Result<bool> {
    let version = i64::try_from(row.version).unwrap_or(i64::MAX);
    let values = [
        Value::Text(row.fingerprint.clone()),
        Value::Integer(version),
        Value::Text(row.state.clone()),
        Value::Text(json.to_owned()),
        Value::Integer(unix(now)),
    ];
    let known = transaction
        .prepare_cached("SELECT version FROM incidents WHERE fingerprint = ?1")?
        .query_map([&row.fingerprint], |row| row.get::<_, i64>(0))?
        .next()
        .transpose()?;
    if known.is_some_and(|known| known >= version) {
        return Ok(false);
    }
    INCIDENTS.put(transaction, values.to_vec())?;
    EVENTS.put(transaction, values.to_vec())?;
    for message in messages {
        let key = (row.fingerprint.as_str(), row.version);
        outbox::add(transaction, &OutboxRow::fresh(message, key, unix_millis(now)))?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use reachd_core::incident::IncidentState;

    use super::super::tests::{incident, rendered};
    use super::*;

    fn step(fingerprint: &str, version: u64, state: IncidentState) -> StepRow {
        let mut row = incident(version, state);
        row.fingerprint = fingerprint.to_owned();
        let resolved = state == IncidentState::Resolved;
        StepRow { row, messages: vec![rendered("ops", resolved, "{}")] }
    }

    #[test]
    fn many_steps_are_one_transaction_and_old_ones_among_them_change_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, _) = Store::open(&folder.path().join("db")).unwrap();
        let (firing, over) = (IncidentState::Firing, IncidentState::Resolved);
        let steps = [step("a", 1, firing), step("b", 1, firing), step("a", 2, over)];
        let now = SystemTime::now();
        assert_eq!(store.save_steps(&steps, now).unwrap(), [true, true, true]);
        assert_eq!(store.save_steps(&steps[1..], now).unwrap(), [false, false]);
        assert_eq!(store.outbox(None).unwrap().len(), 3);
        // The second of three cannot be written: then none is.
        let trip = "CREATE TRIGGER trip BEFORE INSERT ON incidents WHEN NEW.fingerprint = 'd' \
                    BEGIN SELECT raise(ABORT, 'no'); END";
        store.connection.execute_batch(trip).unwrap();
        let steps = [step("c", 1, firing), step("d", 1, firing), step("e", 1, firing)];
        assert!(store.save_steps(&steps, now).is_err());
        assert_eq!(store.outbox(None).unwrap().len(), 3);
        let open = store.load_open_incidents().unwrap();
        assert_eq!(open.iter().map(|row| row.fingerprint.as_str()).collect::<Vec<_>>(), ["b"]);
    }
}
