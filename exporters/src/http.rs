//! The HTTP interface: metrics, health, reload, on-demand probes, state as JSON, a plain page.
//!
//! Nothing is decided here: handlers put a [`Request`] into the owner's bounded queue and wait for
//! the answer, with a limit. Every client is taken for hostile: connections, requests at work,
//! heads and bodies are bounded, who neither sends nor takes anything for ten seconds is dropped,
//! and the pages of all targets are written four at a time, each within thirty seconds.
//! One task per connection, all owned by [`serve`]; they may be cancelled at any await.

mod page;
mod patience;
mod places;
mod probe;
mod respond;
mod route;
mod silences;
mod web;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use bytes::Bytes;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use reachd_core::snapshot::Snapshot;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use self::patience::Patient;
use self::places::Bounds;
pub use self::probe::{Module, ProbeAnswer, ProbeReply, ProbeRequest, ProbeTarget};
use self::web::Peer;
pub use self::web::{Web, WebError};
use crate::history::TargetHistory;
use crate::prometheus::{Detail, SelfMetrics};
use crate::silence::{Silence, SilenceError, SilenceRequest};
use crate::store::IncidentRow;

/// How many requests should fit into the owner's queue.
pub const QUEUE: usize = 32;

/// Connections served at once; more wait in the kernel's backlog.
const MAX_CONNECTIONS: usize = 64;

/// Requests at work at once; more are told to come back.
const MAX_REQUESTS: usize = 32;

/// How long a client may take to send a head, idle, or take the next piece of an answer.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of a request's head.
const MAX_HEAD: usize = 16 * 1024;

/// How long answers under way are waited for when the daemon stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// What the interface asks of the daemon. An answer that is not wanted any more may be dropped.
#[derive(Debug)]
pub enum Request {
    /// The numbers of this moment.
    Snapshot(oneshot::Sender<Arc<Snapshot>>),
    /// The same without the dates of surveys, which only documents tell.
    Numbers(oneshot::Sender<Arc<Snapshot>>),
    /// Load the configuration anew; the error is told to the client, so it names no secret.
    Reload(oneshot::Sender<Result<(), String>>),
    /// Probe, or answer from the current state.
    Probe(ProbeRequest, oneshot::Sender<ProbeReply>),
    /// Open incidents, by fingerprint.
    Incidents(oneshot::Sender<Result<Vec<IncidentRow>, String>>),
    /// Silences, those that are over for some days among them.
    Silences(oneshot::Sender<Vec<Silence>>),
    /// Be silent; its name, or what is wrong.
    Silence(SilenceRequest, oneshot::Sender<Result<String, SilenceError>>),
    /// End a silence; whether there is one of this name.
    Unsilence(String, oneshot::Sender<Result<bool, String>>),
    /// The kept packets of an incident as pcapng; `None` when there are none.
    Evidence(String, oneshot::Sender<Option<Bytes>>),
    /// How a target fared, by its name; `None` when nothing is known.
    History(String, oneshot::Sender<Option<TargetHistory>>),
}

/// Everything the interface needs.
#[derive(Clone)]
pub struct Api {
    /// To the owner of the state; its queue should hold [`QUEUE`].
    pub requests: mpsc::Sender<Request>,
    /// The daemon's own numbers.
    pub metrics: Arc<SelfMetrics>,
    /// Whether the daemon does its work: the plan is loaded and probing began.
    pub ready: watch::Receiver<bool>,
    /// How much the metrics page tells, now.
    pub detail: watch::Receiver<Detail>,
    /// Who may come in.
    pub web: Arc<Web>,
}

/// Bounds of the server; the default is for everybody but tests.
#[derive(Debug, Clone, Copy)]
struct Limits {
    connections: usize,
    requests: usize,
    client_timeout: Duration,
    long_answers: Bounds,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: MAX_CONNECTIONS,
            requests: MAX_REQUESTS,
            client_timeout: CLIENT_TIMEOUT,
            long_answers: Bounds::default(),
        }
    }
}

/// Serves until `shutdown`, then lets answers under way end.
pub async fn serve(listener: TcpListener, api: Api, shutdown: impl Future<Output = ()>) {
    serve_within(listener, api, shutdown, Limits::default()).await;
}

async fn serve_within(
    listener: TcpListener,
    api: Api,
    shutdown: impl Future<Output = ()>,
    limits: Limits,
) {
    let web = Arc::clone(&api.web);
    let router = route::router(api, &limits);
    let slots = Arc::new(Semaphore::new(limits.connections));
    let (stop, stopping) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let ((stream, peer), slot) = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &slots) => accepted,
        };
        let service = router.clone().layer(Extension(Peer(peer)));
        let service = TowerToHyperService::new(service);
        let (web, stopping) = (Arc::clone(&web), stopping.clone());
        connections.spawn(async move {
            welcome(stream, service, (web, stopping), limits.client_timeout).await;
            drop(slot);
        });
    }
    drop(listener);
    let _ = stop.send(());
    let finish = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_TIMEOUT, finish).await.is_err() {
        debug!("Dropped HTTP clients that did not end");
    }
}

/// Takes the next connection as soon as there is room for it.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> ((TcpStream, SocketAddr), Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed.
    let slot = Arc::clone(slots).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok(accepted) => return (accepted, slot),
            Err(error) => {
                // Descriptors ran out, mostly; the next one would fail at once.
                warn!(%error, "Accepting an HTTP connection failed");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Serves one connection, within TLS where that is set.
async fn welcome(
    stream: TcpStream,
    service: TowerToHyperService<axum::Router>,
    (web, stopping): (Arc<Web>, watch::Receiver<()>),
    client_timeout: Duration,
) {
    let stream = Patient::new(stream, client_timeout);
    let Some(acceptor) = web.setup().acceptor.clone() else {
        return converse(stream, service, stopping, client_timeout).await;
    };
    match tokio::time::timeout(client_timeout, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => converse(stream, service, stopping, client_timeout).await,
        Ok(Err(error)) => debug!(%error, "A TLS handshake failed"),
        Err(_) => debug!("A TLS handshake took too long"),
    }
}

/// Serves one connection to its end.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    service: TowerToHyperService<axum::Router>,
    mut stopping: watch::Receiver<()>,
    client_timeout: Duration,
) {
    let io = TokioIo::new(stream);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(client_timeout).max_headers(64);
    builder.max_buf_size(MAX_HEAD);
    let mut connection = std::pin::pin!(builder.serve_connection(io, service));
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        // The sender changes it once; that it is gone means the same.
        _ = stopping.changed() => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "An HTTP connection ended badly");
    }
}

#[cfg(test)]
mod tests;
