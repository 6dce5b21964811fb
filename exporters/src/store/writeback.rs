//! What became of messages, on its way into the outbox.
//!
//! Receivers must not wait for the disk: they leave [`Mark`]s here, the newest of each message
//! replacing an older one, and one task writes them down in batches. What cannot be written now is
//! kept and written later. The number of marks is bounded by that of messages.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tracing::warn;

use super::{Mark, MarkKey, State, StoreHandle};
use crate::chain;
use crate::outbox::Outbox;

/// How often a failed write is tried again, and changes by other processes are looked for.
const LOOK: Duration = Duration::from_secs(2);

/// Where receivers leave what became of messages.
#[derive(Debug, Default)]
pub struct WriteBack {
    waiting: Mutex<BTreeMap<MarkKey, Mark>>,
    wake: Notify,
}

impl WriteBack {
    /// Leaves a mark; an older one of the same message is forgotten.
    pub fn leave(&self, key: MarkKey, mark: Mark) {
        self.lock().insert(key, mark);
        self.wake.notify_one();
    }

    /// Writes everything down, and queues what is owed because of it, such as notices of dead
    /// letters; whether nothing is left.
    pub async fn flush(&self, store: &StoreHandle, outbox: &Arc<Outbox>) -> bool {
        let marks = std::mem::take(&mut *self.lock());
        if marks.is_empty() {
            return true;
        }
        let (work, scribe) = (marks.clone(), Arc::clone(outbox));
        let write = store.call(move |store| store.mark(&work, scribe.as_ref(), SystemTime::now()));
        let error = match write.await {
            Ok(owed) => {
                owed.iter().for_each(|row| outbox.restore(row));
                let summed = marks.iter().filter(|(_, mark)| mark.digest);
                summed.for_each(|(key, _)| outbox.settle_summed(key));
                return true;
            }
            Err(error) => error,
        };
        warn!(
            error = chain(&error),
            marks = marks.len(),
            "The outbox was not written back; tried again"
        );
        let mut waiting = self.lock();
        for (key, mark) in marks {
            // A newer one may have come meanwhile.
            waiting.entry(key).or_insert(mark);
        }
        false
    }

    /// Writes for ever, and queues rows that another process made owed again, at the outbox as it
    /// is then. To be cancelled at any time; what was left is written by [`WriteBack::flush`].
    pub async fn run(&self, store: &StoreHandle, outbox: impl Fn() -> Arc<Outbox>) {
        let mut version = None;
        loop {
            // The pause after a failure is that of the look.
            let _ = tokio::time::timeout(LOOK, self.wake.notified()).await;
            if !self.flush(store, &outbox()).await {
                tokio::time::sleep(LOOK).await;
                continue;
            }
            let known = version;
            let read = store.call(move |store| {
                let now = store.data_version()?;
                let changed = known.is_some_and(|known| known != now);
                Ok((now, if changed { store.outbox(Some(State::Pending))? } else { Vec::new() }))
            });
            match read.await {
                Ok((now, rows)) => {
                    version = Some(now);
                    let outbox = outbox();
                    rows.iter().for_each(|row| outbox.restore(row));
                }
                Err(error) => {
                    warn!(error = chain(&error), "Changes of the outbox were not looked for");
                }
            }
        }
    }

    /// No half-made change is ever behind the lock, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<MarkKey, Mark>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{incident, rendered};
    use super::*;
    use reachd_core::incident::IncidentState;

    fn mark(state: State, attempts: u32) -> Mark {
        Mark { attempts: Some(attempts), ..Mark::plain(state) }
    }

    #[tokio::test]
    async fn the_newest_mark_is_written_and_a_failed_write_comes_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let (store, thread, _) = StoreHandle::start(&path).unwrap();
        let row = incident(1, IncidentState::Firing);
        let key = ("ops".to_owned(), row.fingerprint.clone(), 1);
        store.save_incident(row, vec![rendered("ops", false, "{}")]).await.unwrap();
        let (back, nobody) = (WriteBack::default(), Arc::default());
        back.leave(key.clone(), mark(State::Pending, 1));
        back.leave(key.clone(), mark(State::Pending, 2));
        let trip = "CREATE TRIGGER trip BEFORE INSERT ON outbox \
                    BEGIN SELECT raise(ABORT, 'no'); END";
        let batch = |sql: &'static str| {
            store.call(move |store| {
                store.connection.execute_batch(sql).unwrap();
                Ok(())
            })
        };
        batch(trip).await.unwrap();
        assert!(!back.flush(&store, &nobody).await);
        batch("DROP TRIGGER trip").await.unwrap();
        assert!(back.flush(&store, &nobody).await && back.flush(&store, &nobody).await);
        let rows = store.call(|store| store.outbox(None)).await.unwrap();
        assert_eq!((rows[0].attempts, rows[0].state), (2, State::Pending));
        // Delivered: nobody needs the body any more.
        back.leave(key, mark(State::Delivered, 3));
        assert!(back.flush(&store, &nobody).await);
        let rows = store.call(|store| store.outbox(None)).await.unwrap();
        assert_eq!((rows[0].state, rows[0].body.len()), (State::Delivered, 0));
        drop(store);
        thread.join().unwrap();
    }
}
