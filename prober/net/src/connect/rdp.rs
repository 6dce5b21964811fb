//! Looks at RDP servers: the connections that the engine of core asks for, one after another.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reachd_core::evidence::rdp::{RdpAnswer, RdpLook, StageFailure, X224Outcome};
use reachd_core::evidence::{ConnectResult, LocalError};
use reachd_core::monitor::RdpOrder;
use reachd_core::probe::exchange::Ending;
use reachd_core::probe::rdp::{HandshakeError, Look, Step};
use reachd_core::time::Instant;
use reachd_core::wire::x224::Protocols;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant as Deadline;
use tokio_rustls::client::TlsStream;

use super::talk::{ending_of, part};
use super::{dial, tls};
use crate::engine::{Feed, Message};
use crate::jobs;
use crate::sys;
use crate::vantage::Place;

/// What is read at once.
const CHUNK: usize = 4_096;

/// Looks in flight at most: each has one connection open at a time.
const IN_FLIGHT_MAX: usize = 32;

/// One look to make.
#[derive(Debug)]
pub(crate) struct Job {
    /// What to look at.
    pub(crate) order: Box<RdpOrder>,
    /// Where from.
    pub(crate) place: Place,
}

/// Makes looks until the sender is dropped.
pub(crate) async fn serve(orders: mpsc::Receiver<Job>, feed: Feed) {
    let work = |job: Job| {
        let feed = feed.clone();
        async move {
            let seen = Box::new(look(&job.order, &job.place).await);
            feed.send(Message::Looked(job.order.flight, seen)).await;
        }
    };
    jobs::serve(orders, IN_FLIGHT_MAX, work).await;
}

/// A look that was not even tried.
pub(crate) fn failed(error: LocalError) -> RdpLook {
    let outcome = X224Outcome::Failed(StageFailure::Local(error));
    let offered = Protocols::SSL.with(Protocols::HYBRID);
    RdpLook { answers: vec![RdpAnswer { offered, outcome }], ..RdpLook::default() }
}

/// A connection, as it comes to be encrypted.
enum Wire {
    Plain(TcpStream),
    Secure(Box<TlsStream<TcpStream>>),
}

/// Makes one look: connection after connection, each ended before the next begins.
pub async fn look(order: &RdpOrder, place: &Place) -> RdpLook {
    let started = Deadline::now();
    let now = || Instant::from_start(started.elapsed());
    let mut look = Look::new(order.depth, order.server_name.as_deref(), order.random);
    while look.next_attempt(now()).is_some() {
        let attempt = connect(order, place, &mut look, &now);
        if tokio::time::timeout_at(started + order.limit, attempt).await.is_err() {
            look.handle_interrupted(now());
        }
    }
    look.finish()
}

/// Makes one connection.
async fn connect(order: &RdpOrder, place: &Place, look: &mut Look, now: &impl Fn() -> Instant) {
    match dial(order.to, place, order.connect_timeout).await {
        Err((ConnectResult::Connected, _)) => {
            look.handle_connected(now(), None);
            look.handle_end(now(), Ending::Reset);
        }
        Err((result, _)) => look.handle_not_connected(result),
        Ok((stream, _)) => {
            let took = sys::tcp_info(&stream).ok().map(|info| info.rtt);
            let step = look.handle_connected(now(), took);
            match converse(order, look, (Wire::Plain(stream), step), now).await {
                Some(Wire::Plain(stream)) => part(stream).await,
                Some(Wire::Secure(stream)) => part(stream).await,
                None => {}
            }
        }
    }
}

/// Does what the engine says until it has enough; gives what is left to be parted from.
async fn converse(
    order: &RdpOrder,
    look: &mut Look,
    (mut wire, mut step): (Wire, Step),
    now: &impl Fn() -> Instant,
) -> Option<Wire> {
    let mut until = Deadline::now() + order.stage_timeout;
    loop {
        step = match (step, wire) {
            (Step::Part, wire) => return Some(wire),
            (Step::Send(bytes), mut same) => {
                until = Deadline::now() + order.stage_timeout;
                let sent = same.send(&bytes, until).await;
                wire = same;
                match sent {
                    Ok(()) => Step::Listen,
                    Err(ending) => {
                        look.handle_end(now(), ending);
                        Step::Part
                    }
                }
            }
            (Step::Listen, mut same) => {
                let mut buffer = [0; CHUNK];
                let heard = same.hear(&mut buffer, until).await;
                wire = same;
                match heard {
                    Ok(length) => {
                        let heard = buffer.get(..length).unwrap_or_default();
                        look.handle_bytes(now(), wall(), heard)
                    }
                    Err(ending) => {
                        look.handle_end(now(), ending);
                        Step::Part
                    }
                }
            }
            (Step::Handshake, Wire::Secure(same)) => return Some(Wire::Secure(same)),
            (Step::Handshake, Wire::Plain(stream)) => {
                let name = order.server_name.as_deref();
                let shaking = tls::shake_hands(stream, order.to.ip(), name);
                match tokio::time::timeout(order.stage_timeout, shaking).await {
                    Ok(Ok((stream, shaken))) => {
                        wire = Wire::Secure(Box::new(stream));
                        look.handle_handshake(now(), Ok(shaken))
                    }
                    Ok(Err(error)) => {
                        look.handle_handshake(now(), Err(error));
                        return None;
                    }
                    Err(_) => {
                        let error = HandshakeError::Ended(Ending::TimedOut);
                        look.handle_handshake(now(), Err(error));
                        return None;
                    }
                }
            }
        };
    }
}

impl Wire {
    async fn send(&mut self, bytes: &[u8], until: Deadline) -> Result<(), Ending> {
        let sending = async {
            match self {
                Self::Plain(stream) => stream.write_all(bytes).await,
                Self::Secure(stream) => {
                    stream.write_all(bytes).await?;
                    stream.flush().await
                }
            }
        };
        let sent = tokio::time::timeout_at(until, sending).await;
        sent.map_err(|_| Ending::TimedOut)?.map_err(|error| ending_of(&error))
    }

    async fn hear(&mut self, buffer: &mut [u8], until: Deadline) -> Result<usize, Ending> {
        let hearing = async {
            match self {
                Self::Plain(stream) => stream.read(buffer).await,
                Self::Secure(stream) => stream.read(buffer).await,
            }
        };
        match tokio::time::timeout_at(until, hearing).await {
            Err(_) => Err(Ending::TimedOut),
            Ok(Ok(0)) => Err(Ending::Closed),
            Ok(Ok(length)) => Ok(length),
            Ok(Err(error)) => Err(ending_of(&error)),
        }
    }
}

/// Time since the Unix epoch by our own clock.
fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests;
