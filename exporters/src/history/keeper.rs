//! The thread that writes the history. It is asked for nothing, and nobody waits for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::SystemTime;

use super::{Batch, History, HistoryError, move_aside};
use crate::prometheus::SelfMetrics;
use crate::room::{Spare, free};

/// Batches that may wait.
const QUEUE: usize = 4;

/// The way to the history. The thread ends, after what waits is written, when this is dropped.
pub struct HistoryHandle {
    batches: SyncSender<Batch>,
    metrics: Arc<SelfMetrics>,
}

impl HistoryHandle {
    /// Starts the thread; the file is opened there. While the disk is `full` nothing is written.
    pub fn start(
        path: &Path,
        metrics: Arc<SelfMetrics>,
        full: Arc<AtomicBool>,
    ) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (batches, waiting) = sync_channel(QUEUE);
        let mut keeper = Keeper::new(path.to_owned(), Arc::clone(&metrics), full);
        let work = move || keeper.run(&waiting);
        let thread = std::thread::Builder::new().name("history".to_owned()).spawn(work)?;
        Ok((Self { batches, metrics }, thread))
    }

    /// Hands over a batch. Where too many wait it is lost, and counted.
    pub fn add(&self, batch: Batch) {
        if self.batches.try_send(batch).is_err() {
            self.metrics.history_lost();
        }
    }
}

pub(super) struct Keeper {
    path: PathBuf,
    metrics: Arc<SelfMetrics>,
    history: Option<History>,
    /// Whether the disk is full and room that was kept for incidents is in use.
    full: Arc<AtomicBool>,
    /// What is spared of a disk of so many bytes.
    pub(super) spare: fn(u64) -> Spare,
    /// Whether the last attempt failed, which is told once.
    failing: bool,
}

impl Keeper {
    pub(super) const fn new(
        path: PathBuf,
        metrics: Arc<SelfMetrics>,
        full: Arc<AtomicBool>,
    ) -> Self {
        Self { path, metrics, history: None, full, spare: Spare::of, failing: false }
    }

    fn run(&mut self, waiting: &Receiver<Batch>) {
        // What is broken is noticed at the start, not when the first batch is full.
        self.add(&Batch::default());
        while let Ok(batch) = waiting.recv() {
            self.add(&batch);
        }
    }

    /// Writes a batch. One that fails is lost: history is not worth keeping the memory for.
    pub(super) fn add(&mut self, batch: &Batch) {
        let mut done = self.try_add(batch);
        if let Err(HistoryError::Broken { reason, .. }) = &done {
            self.history = None;
            match move_aside(&self.path) {
                Ok(moved_to) => {
                    let moved_to = moved_to.display();
                    tracing::warn!(%moved_to, reason, "The history is broken; a new one is begun");
                    done = self.try_add(batch);
                }
                Err(error) => {
                    let path = self.path.clone();
                    done = Err(HistoryError::Path { path, error });
                }
            }
        }
        match done {
            Ok(()) if std::mem::take(&mut self.failing) => {
                tracing::info!("History is written again");
            }
            Ok(()) => {}
            Err(error) => {
                // Whatever it was, the file is looked at anew.
                self.history = None;
                self.metrics.history_lost();
                if !std::mem::replace(&mut self.failing, true) {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(%error, cause, "History is not kept; everything else goes on");
                }
            }
        }
    }

    fn try_add(&mut self, batch: &Batch) -> Result<(), HistoryError> {
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let (bytes_free, spare) = free(folder.unwrap_or(Path::new(".")), self.spare);
        if bytes_free < spare.to_keep || self.full.load(Ordering::Relaxed) {
            return Err(HistoryError::NoRoom { path: self.path.clone(), free: bytes_free });
        }
        if self.history.is_none() {
            self.history = Some(History::open(&self.path)?);
        }
        let Some(history) = &mut self.history else { return Ok(()) };
        history.add(batch)?;
        history.prune(SystemTime::now())
    }
}
