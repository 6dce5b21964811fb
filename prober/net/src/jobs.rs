//! Work that waits for its turn: so much of it at once, until nobody orders any more.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc};

/// Does every job that comes, at most so many at once, until the sender is dropped.
pub(crate) async fn serve<J, Work>(
    mut jobs: mpsc::Receiver<J>,
    at_once: usize,
    work: impl Fn(J) -> Work,
) where
    Work: Future<Output = ()> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(at_once));
    while let Some(job) = jobs.recv().await {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let work = work(job);
        tokio::spawn(async move {
            work.await;
            drop(permit);
        });
    }
}
