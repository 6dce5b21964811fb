//! The store behind a bounded queue: `SQLite` blocks, so it has a thread of its own.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};

use super::{BaselineRow, DamageWarning, IncidentRow, Rendered, StepRow, Store, StoreError};

type Job = Box<dyn FnOnce(&mut Store) + Send>;

/// A running store: the way to it, its thread, and what was wrong with the file.
pub type Opened = (StoreHandle, JoinHandle<()>, Option<DamageWarning>);

/// Jobs that may wait for the store.
const QUEUE: usize = 1024;

/// A way to the store that can be cloned and does not block. The thread ends, after what is queued
/// is done, when the last handle is dropped.
#[derive(Clone)]
pub struct StoreHandle {
    jobs: mpsc::Sender<Job>,
    full: Arc<AtomicBool>,
}

impl StoreHandle {
    /// Opens the store (this blocks) and starts its thread, which is to be joined after the last
    /// handle is dropped.
    pub fn start(path: &Path) -> Result<Opened, StoreError> {
        let (mut store, warning) = Store::open(path)?;
        store.tend_ballast();
        let full = store.ballast.spent();
        let (jobs, mut waiting) = mpsc::channel::<Job>(QUEUE);
        let work = move || {
            while let Some(job) = waiting.blocking_recv() {
                job(&mut store);
            }
        };
        let thread = std::thread::Builder::new().name("store".to_owned()).spawn(work);
        let thread = thread.map_err(|error| StoreError::Path { path: path.to_owned(), error })?;
        Ok((Self { jobs, full }, thread, warning))
    }

    /// Whether the disk is full and the room kept for incidents is in use, as it changes: whoever
    /// else writes to this disk should not, meanwhile.
    pub fn disk_is_full(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.full)
    }

    /// See [`Store::save_incident`].
    pub async fn save_incident(
        &self,
        row: IncidentRow,
        messages: Vec<Rendered>,
    ) -> Result<bool, StoreError> {
        self.call(move |store| store.save_incident(&row, &messages, SystemTime::now())).await
    }

    /// See [`Store::save_steps`].
    pub async fn save_steps(&self, steps: Arc<[StepRow]>) -> Result<Vec<bool>, StoreError> {
        self.call(move |store| store.save_steps(&*steps, SystemTime::now())).await
    }

    /// See [`Store::load_open_incidents`].
    pub async fn load_open_incidents(&self) -> Result<Vec<IncidentRow>, StoreError> {
        self.call(Store::load_open_incidents).await
    }

    /// See [`Store::save_baseline`].
    pub async fn save_baseline(&self, row: BaselineRow) -> Result<(), StoreError> {
        self.call(move |store| store.save_baseline(&row, SystemTime::now())).await
    }

    /// See [`Store::save_baselines`].
    pub async fn save_baselines(&self, rows: Vec<BaselineRow>) -> Result<(), StoreError> {
        self.call(move |store| store.save_baselines(&rows, SystemTime::now())).await
    }

    /// See [`Store::load_baselines`].
    pub async fn load_baselines(&self, max_age: Duration) -> Result<Vec<BaselineRow>, StoreError> {
        self.call(move |store| store.load_baselines(SystemTime::now(), max_age)).await
    }

    /// See [`Store::prune`].
    pub async fn prune(
        &self,
        max_age: Duration,
        receivers: Vec<String>,
    ) -> Result<usize, StoreError> {
        self.call(move |store| store.prune(SystemTime::now(), max_age, &receivers)).await
    }

    /// Runs anything else on the store's thread. A full queue is an error at once, never a wait:
    /// the disk is then slower than the world.
    pub async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.begin(work).await
    }

    /// The same, for work that must come after what was begun before it: it is queued at once,
    /// and what is given waits for its end.
    pub fn begin<T, W>(&self, work: W) -> impl Future<Output = Result<T, StoreError>> + use<T, W>
    where
        T: Send + 'static,
        W: FnOnce(&mut Store) -> Result<T, StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |store| {
            // Nobody waits any more when the caller was cancelled; the work is done all the same.
            let _ = answer.send(work(store));
        });
        let queued = self.jobs.try_send(job).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Unavailable("its queue is full"),
            mpsc::error::TrySendError::Closed(_) => StoreError::Unavailable("its thread is gone"),
        });
        async move {
            queued?;
            answered.await.map_err(|_| StoreError::Unavailable("its thread is gone"))?
        }
    }
}
