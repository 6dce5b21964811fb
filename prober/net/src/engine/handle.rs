//! What the rest of the process holds of the engine.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use reachd_core::monitor::Event;
use reachd_core::plan::{Plan, PlanChange};
use reachd_core::snapshot::Snapshot;
use reachd_core::time::Instant;
use tokio::sync::{mpsc, oneshot};

use super::{Feed, Message, PcapngRequest, Shared};
use crate::tap::store::Wanted;

/// How long the engine may take to answer a question.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Why the engine did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// It was stopped.
    #[error("ask the engine, which is stopped")]
    Stopped,
    /// It did not answer in time.
    #[error("wait for the engine's answer")]
    TimedOut,
}

/// The engine as others see it; clones are the same engine.
#[derive(Debug, Clone)]
pub struct EngineHandle {
    feed: Feed,
    shared: Arc<Shared>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl EngineHandle {
    pub(super) fn new(feed: Feed, shared: Arc<Shared>, thread: JoinHandle<()>) -> Self {
        Self { feed, shared, thread: Arc::new(Mutex::new(Some(thread))) }
    }

    /// Puts a plan in force.
    pub async fn plan(&self, plan: Plan) -> Result<(), AskError> {
        self.tell(Message::Plan(Box::new(plan))).await
    }

    /// Changes the plan by this.
    pub async fn change(&self, change: PlanChange) -> Result<(), AskError> {
        self.tell(Message::Change(Box::new(change))).await
    }

    /// Ends a one-shot check's surveys with what they have.
    pub async fn conclude(&self) -> Result<(), AskError> {
        self.tell(Message::Conclude).await
    }

    /// A copy of all numbers.
    pub async fn snapshot(&self) -> Result<Snapshot, AskError> {
        let (reply, answer) = oneshot::channel();
        self.tell(Message::Snapshot(reply)).await?;
        wait(answer).await.map(|snapshot| *snapshot)
    }

    /// The wanted captured packets as a pcapng file with these comments.
    pub async fn pcapng(&self, wanted: Wanted, comments: Vec<String>) -> Result<Vec<u8>, AskError> {
        let (reply, answer) = oneshot::channel();
        self.tell(Message::Pcapng(PcapngRequest { wanted, comments, reply })).await?;
        wait(answer).await
    }

    /// Turns of the engine's loop so far: at least one a second while it lives.
    pub fn progress(&self) -> u64 {
        self.shared.progress.load(Ordering::Relaxed)
    }

    /// Whether the engine's thread has ended.
    pub fn is_stopped(&self) -> bool {
        self.shared.stopped.load(Ordering::Acquire)
    }

    /// Connects and name queries that found their queue full and were reported as failed.
    pub fn refused_orders(&self) -> u64 {
        self.shared.refused_orders.load(Ordering::Relaxed)
    }

    /// The present moment on the engine's clock.
    pub fn now(&self) -> Instant {
        self.shared.clock.now()
    }

    /// The wall-clock time of a moment on the engine's clock.
    pub fn wall(&self, at: Instant) -> SystemTime {
        self.shared.clock.wall(at)
    }

    /// Stops the engine after what it is doing and waits for its thread; events that it told are
    /// still received. Stopping twice is no error.
    pub async fn stop(&self) {
        // Failing means that it has stopped.
        let _ = self.tell(Message::Stop).await;
        let thread = self.thread.lock().ok().and_then(|mut thread| thread.take());
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("the engine's thread panicked");
            }
        }
    }

    async fn tell(&self, message: Message) -> Result<(), AskError> {
        let sent = tokio::time::timeout(ANSWER_LIMIT, self.feed.send(message)).await;
        match sent {
            Ok(true) => Ok(()),
            Ok(false) => Err(AskError::Stopped),
            Err(_) => Err(AskError::TimedOut),
        }
    }
}

async fn wait<T>(answer: oneshot::Receiver<T>) -> Result<T, AskError> {
    match tokio::time::timeout(ANSWER_LIMIT, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Err(AskError::Stopped),
        Err(_) => Err(AskError::TimedOut),
    }
}

/// The events: steps of incidents in their order, and before everything else, in its own order.
#[derive(Debug)]
pub struct EventReceiver {
    events: mpsc::Receiver<Box<Event>>,
    shared: Arc<Shared>,
}

impl EventReceiver {
    pub(super) fn new(events: mpsc::Receiver<Box<Event>>, shared: Arc<Shared>) -> Self {
        Self { events, shared }
    }

    /// The next event; `None` after the last one of a stopped engine. It may be dropped while it
    /// waits.
    pub async fn recv(&mut self) -> Option<Box<Event>> {
        let step = |shared: &Shared| shared.steps.pop().map(|step| Box::new(Event::Incident(step)));
        loop {
            if let Some(step) = step(&self.shared) {
                return Some(step);
            }
            tokio::select! {
                () = self.shared.steps.wait() => {}
                event = self.events.recv() => {
                    // The last steps came before the end.
                    return event.or_else(|| step(&self.shared));
                }
            }
        }
    }

    /// Events dropped because they were not received in time.
    pub fn dropped(&self) -> u64 {
        self.shared.lost_events.load(Ordering::Relaxed)
    }
}
