//! Places for long answers: each holds numbers of every target while its client takes it, so that
//! only so many are written at a time, and each only so long.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use hyper::body::Frame;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

use super::respond::{PIECE, text};

/// Bounds of the places.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Answers written at a time; with 100,000 targets each holds about 30 MB.
    pub(super) places: usize,
    /// Requests that wait for a place; more are told to come back.
    pub(super) waiting: usize,
    /// How long one waits.
    pub(super) patience: Duration,
    /// How long an answer may keep its place. Prometheus gives up after ten seconds by default.
    pub(super) time: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            places: 4,
            waiting: 64,
            patience: Duration::from_secs(5),
            time: Duration::from_secs(30),
        }
    }
}

/// The places, and who waits for one.
pub(super) struct Places {
    bounds: Bounds,
    free: Arc<Semaphore>,
    waiting: Semaphore,
}

/// A place that was got.
pub(super) struct Place(OwnedSemaphorePermit, Duration);

impl Places {
    pub(super) fn new(bounds: Bounds) -> Self {
        let free = Arc::new(Semaphore::new(bounds.places));
        Self { bounds, free, waiting: Semaphore::new(bounds.waiting) }
    }

    /// A place, perhaps after a while; the error is the answer to the client.
    pub(super) async fn take(&self) -> Result<Place, Response> {
        let free = Arc::clone(&self.free);
        if let Ok(place) = Arc::clone(&free).try_acquire_owned() {
            return Ok(Place(place, self.bounds.time));
        }
        let Ok(_waiting) = self.waiting.try_acquire() else { return Err(busy()) };
        match tokio::time::timeout(self.bounds.patience, free.acquire_owned()).await {
            Ok(Ok(place)) => Ok(Place(place, self.bounds.time)),
            Ok(Err(_)) | Err(_) => Err(busy()),
        }
    }
}

fn busy() -> Response {
    let why = "too many long answers are being written; come back";
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, why);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

/// What a body under way holds, until it is written or its time is over.
type Held<F> = Arc<Mutex<Option<(F, OwnedSemaphorePermit)>>>;

/// A body written piece by piece: `fill` appends to its buffer and says whether there is more.
struct Pieces<F> {
    held: Held<F>,
    finished: bool,
    /// A client that takes nothing polls nothing, so the time is kept beside.
    clock: AbortHandle,
}

impl<F> Drop for Pieces<F> {
    fn drop(&mut self) {
        self.clock.abort();
        drop(lock(&self.held).take());
    }
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Place {
    /// A body that takes the place, and what it is written from, no longer than it may.
    pub(super) fn body<F>(self, fill: F) -> Body
    where
        F: FnMut(&mut Vec<u8>) -> bool + Send + Unpin + 'static,
    {
        let Self(permit, time) = self;
        let held: Held<F> = Arc::new(Mutex::new(Some((fill, permit))));
        let kept = Arc::clone(&held);
        // Ended by the body's end.
        let clock = tokio::spawn(async move {
            tokio::time::sleep(time).await;
            drop(lock(&kept).take());
        });
        Body::new(Pieces { held, finished: false, clock: clock.abort_handle() })
    }
}

impl<F: FnMut(&mut Vec<u8>) -> bool + Unpin> hyper::body::Body for Pieces<F> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.finished {
            return Poll::Ready(None);
        }
        let mut held = lock(&self.held);
        let Some((fill, _)) = held.as_mut() else {
            return Poll::Ready(Some(Err(io::ErrorKind::TimedOut.into())));
        };
        let mut piece = Vec::with_capacity(PIECE + PIECE / 8);
        let more = fill(&mut piece);
        if !more {
            drop(held.take());
        }
        drop(held);
        self.finished = !more;
        Poll::Ready(Some(Ok(Frame::data(piece.into()))))
    }
}
