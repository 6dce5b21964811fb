//! The engine: one OS thread that owns the monitor, the rings and the sending sockets.

mod brain;
mod handle;
mod receiver;
mod run;
mod steps;
mod vantages;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use reachd_core::evidence::ConnectReport;
use reachd_core::evidence::rdp::RdpLook;
use reachd_core::monitor::{Event, Flight, Monitor, QueryId, Resolution};
use reachd_core::plan::{Plan, PlanChange};
use reachd_core::snapshot::Snapshot;
use reachd_core::vantage::Mode;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::ears::EarsOptions;
use crate::tap::TapOptions;
use crate::tap::store::Wanted;
use crate::{connect, resolver, sys};

pub use brain::Brain;
pub use handle::{AskError, EngineHandle, EventReceiver};

/// Messages waiting for the engine at most.
const INBOX_MAX: usize = 1_024;

/// How to run the engine.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// TCP ports to capture besides those of the plan and our own source ports.
    pub ports: BTreeSet<u16>,
    /// The size of each capture ring.
    pub tap: TapOptions,
    /// Bytes of captured packets kept for [`EngineHandle::pcapng`]; 0 keeps none.
    pub evidence_bytes: usize,
    /// Events waiting for the receiver at most, besides the steps of incidents; more are dropped
    /// and counted.
    pub events_max: usize,
    /// The size of the sockets that stand in for a ring.
    pub ears: EarsOptions,
    /// The best mode that is tried; those after it follow where it cannot be had.
    pub best_mode: Mode,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            ports: BTreeSet::new(),
            tap: TapOptions::default(),
            evidence_bytes: 4 * 1_024 * 1_024,
            events_max: 4_096,
            ears: EarsOptions::default(),
            best_mode: Mode::Raw,
        }
    }
}

/// Why the engine cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No event counter.
    #[error("make the engine's event counter")]
    Bell(#[source] io::Error),
    /// No thread.
    #[error("start the engine's thread")]
    Thread(#[source] io::Error),
}

/// What the rest of the process tells or asks the engine.
#[derive(Debug)]
pub(crate) enum Message {
    Plan(Box<Plan>),
    Change(Box<PlanChange>),
    Connected(Flight, Box<ConnectReport>),
    Looked(Flight, Box<RdpLook>),
    Resolved(QueryId, Resolution),
    Snapshot(oneshot::Sender<Box<Snapshot>>),
    Pcapng(PcapngRequest),
    Conclude,
    Stop,
}

/// A question for the kept packets.
#[derive(Debug)]
pub(crate) struct PcapngRequest {
    pub(crate) wanted: Wanted,
    pub(crate) comments: Vec<String>,
    pub(crate) reply: oneshot::Sender<Vec<u8>>,
}

/// The way into the engine: a bounded queue, and a bell that wakes it.
#[derive(Debug, Clone)]
pub(crate) struct Feed {
    messages: mpsc::Sender<Message>,
    bell: Arc<Bell>,
}

impl Feed {
    /// Waits for room; false when the engine is gone.
    pub(crate) async fn send(&self, message: Message) -> bool {
        let sent = self.messages.send(message).await.is_ok();
        self.bell.ring();
        sent
    }
}

/// An event counter that ends the engine's wait.
#[derive(Debug)]
pub(crate) struct Bell(File);

impl Bell {
    fn new() -> io::Result<Self> {
        sys::event_counter().map(|fd| Self(fd.into()))
    }

    fn ring(&self) {
        // It can only fail when it is ringing for 2^64 times already.
        let _ = (&self.0).write_all(&1_u64.to_ne_bytes());
    }

    fn silence(&self) {
        let mut count = [0; 8];
        let _ = (&self.0).read(&mut count);
    }
}

/// What the thread shares with its handles.
#[derive(Debug)]
pub(crate) struct Shared {
    clock: Clock,
    progress: AtomicU64,
    lost_events: AtomicU64,
    steps: steps::Steps,
    refused_orders: AtomicU64,
    stopped: AtomicBool,
}

impl Shared {
    fn new() -> Self {
        Self {
            clock: Clock::start(),
            progress: AtomicU64::new(0),
            lost_events: AtomicU64::new(0),
            steps: steps::Steps::default(),
            refused_orders: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
        }
    }

    fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// The engine's ends of all its channels.
struct Ends {
    inbox: mpsc::Receiver<Message>,
    bell: Arc<Bell>,
    events: mpsc::Sender<Box<Event>>,
    connects: mpsc::Sender<connect::Job>,
    looks: mpsc::Sender<connect::rdp::Job>,
    resolves: mpsc::Sender<resolver::Job>,
    shared: Arc<Shared>,
}

/// Starts the engine's thread around a monitor; what must wait runs on `runtime`.
///
/// # Errors
///
/// When the thread or its event counter cannot be made.
pub fn start(
    monitor: Monitor,
    options: EngineOptions,
    runtime: &Handle,
) -> Result<(EngineHandle, EventReceiver), StartError> {
    start_with(monitor, options, runtime)
}

/// Starts the engine around any brain.
///
/// # Errors
///
/// As [`start`].
pub fn start_with<B: Brain>(
    brain: B,
    options: EngineOptions,
    runtime: &Handle,
) -> Result<(EngineHandle, EventReceiver), StartError> {
    let bell = Arc::new(Bell::new().map_err(StartError::Bell)?);
    let (messages, inbox) = mpsc::channel(INBOX_MAX);
    let (events, event_receiver) = mpsc::channel(options.events_max.max(1));
    let (connects, connect_jobs) = mpsc::channel(connect::QUEUE_MAX);
    let (looks, look_jobs) = mpsc::channel(connect::QUEUE_MAX);
    let (resolves, resolve_jobs) = mpsc::channel(resolver::QUEUE_MAX);
    let shared = Arc::new(Shared::new());
    let feed = Feed { messages, bell: Arc::clone(&bell) };
    runtime.spawn(connect::serve(connect_jobs, feed.clone()));
    runtime.spawn(connect::rdp::serve(look_jobs, feed.clone()));
    runtime.spawn(resolver::serve(resolve_jobs, feed.clone()));
    let for_thread = Arc::clone(&shared);
    let ends = Ends { inbox, bell, events, connects, looks, resolves, shared: for_thread };
    let thread = std::thread::Builder::new().name("reachd-engine".to_owned());
    let thread = thread.spawn(move || run::Engine::new(brain, options, ends).run());
    let thread = thread.map_err(StartError::Thread)?;
    let handle = EngineHandle::new(feed, Arc::clone(&shared), thread);
    Ok((handle, EventReceiver::new(event_receiver, shared)))
}

#[cfg(test)]
mod small_ring;
#[cfg(test)]
mod tests;
