//! Full connections: the handshake with its error queue, then the service's first words.

pub mod rdp;
mod talk;
mod tls;

pub use self::rdp::look;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use reachd_core::evidence::{ConnectReport, ConnectResult, LocalError, ServiceAnswer};
use reachd_core::monitor::ConnectOrder;
use reachd_core::probe::exchange::{Ending, Exchange};
use reachd_core::target::Service;
use socket2::{Protocol, SockAddr, Socket, Type};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::engine::{Feed, Message};
use crate::errno;
use crate::errqueue::{self, Fault};
use crate::jobs;
use crate::sys::{self, FamilyOptions};
use crate::vantage::Place;

/// Connections in flight at most; each may take eleven seconds where nothing answers.
const IN_FLIGHT_MAX: usize = 128;
/// Connections waiting for their turn at most.
pub(crate) const QUEUE_MAX: usize = 1_024;
/// SYN retransmissions the kernel makes: after 1 s and after 3 s.
const SYN_RETRANSMITS: i32 = 2;

/// One connection to make.
#[derive(Debug)]
pub(crate) struct Job {
    /// What to connect to.
    pub(crate) order: Box<ConnectOrder>,
    /// Where from.
    pub(crate) place: Place,
}

/// Makes connections until the sender is dropped.
pub(crate) async fn serve(orders: mpsc::Receiver<Job>, feed: Feed) {
    let work = |job: Job| {
        let feed = feed.clone();
        async move {
            let flight = job.order.flight;
            let (report, mut stream) = connect(&job.order, &job.place).await;
            // A look may follow, and an RDP server has one connection of ours at a time.
            if job.order.service == Service::Rdp
                && let Some(stream) = stream.take()
            {
                talk::part(stream).await;
            }
            feed.send(Message::Connected(flight, Box::new(report))).await;
            // Elsewhere the goodbye need not delay the report, but it counts as in flight.
            if let Some(stream) = stream {
                talk::part(stream).await;
            }
        }
    };
    jobs::serve(orders, IN_FLIGHT_MAX, work).await;
}

/// The report of a connection that was not even tried.
pub fn failed(error: LocalError) -> ConnectReport {
    report(ConnectResult::Local(error), None)
}

fn report(result: ConnectResult, local_port: Option<u16>) -> ConnectReport {
    ConnectReport {
        result,
        handshake: None,
        retransmits: None,
        service: None,
        service_time: None,
        local_port,
    }
}

/// Makes one connection and asks the service; gives the stream to be parted from, if there is one.
pub async fn connect(order: &ConnectOrder, place: &Place) -> (ConnectReport, Option<TcpStream>) {
    let (mut stream, port) = match dial(order.to, place, order.connect_timeout).await {
        Ok(connected) => connected,
        Err((ConnectResult::Connected, port)) => return (reset_at_once(order, port), None),
        Err((result, port)) => return (report(result, port), None),
    };
    let info = sys::tcp_info(&stream).ok();
    let mut done = report(ConnectResult::Connected, port);
    done.handshake = info.map(|info| info.rtt);
    done.retransmits = info.map(|info| info.retransmits);
    let (answer, time) = talk::ask(&mut stream, order).await;
    done.service = Some(answer);
    done.service_time = time;
    (done, Some(stream))
}

/// A connection that was reset before anything could be said: that is the service's answer.
fn reset_at_once(order: &ConnectOrder, local_port: Option<u16>) -> ConnectReport {
    let (banner, send) = (order.expect_banner.as_deref(), order.send.as_deref());
    let exchange = Exchange::new(order.service, banner, send);
    let answer =
        if exchange.asks() { exchange.handle_end(Ending::Reset) } else { ServiceAnswer::NotAsked };
    ConnectReport { service: Some(answer), ..report(ConnectResult::Connected, local_port) }
}

/// Makes one connection; gives it, or why there is none, with the local port where there was one:
/// `Connected` where it was reset before it could be used.
async fn dial(
    to: SocketAddr,
    place: &Place,
    limit: Duration,
) -> Result<(TcpStream, Option<u16>), (ConnectResult, Option<u16>)> {
    let refused = |error: &io::Error| ConnectResult::Local(errno::of_open(error));
    let socket = open(to, place).await.map_err(|error| (refused(&error), None))?;
    let started = start(&socket, to);
    let local = socket.local_addr().ok().and_then(|address| address.as_socket());
    let port = local.map(|local| local.port()).filter(|port| *port != 0);
    if let Err(error) = started {
        return Err((explain(&socket, Some(&error), to, local, place).await, port));
    }
    let stream = TcpStream::from_std(socket.into()).map_err(|error| (refused(&error), port))?;
    match finish(&stream, limit).await {
        Ok(()) => Ok((stream, port)),
        Err(error) => Err((explain(&stream, error.as_ref(), to, local, place).await, port)),
    }
}

/// Makes the socket in its place, with its error queue on.
async fn open(to: SocketAddr, place: &Place) -> io::Result<Socket> {
    let socket = if place.namespace_name().is_some() {
        let place = place.clone();
        let open = move || place.socket(to.ip(), Type::STREAM, Some(Protocol::TCP));
        tokio::task::spawn_blocking(open).await.map_err(io::Error::other)??
    } else {
        place.socket(to.ip(), Type::STREAM, Some(Protocol::TCP))?
    };
    FamilyOptions::of(to.ip()).queue_errors(&socket)?;
    sys::set_int(&socket, libc::IPPROTO_TCP, libc::TCP_SYNCNT, SYN_RETRANSMITS)?;
    if !place.serves(to.ip()) {
        return Err(io::Error::from_raw_os_error(libc::ENETUNREACH));
    }
    place.bind_source(&socket)?;
    Ok(socket)
}

/// Sends the SYN.
fn start(socket: &Socket, to: SocketAddr) -> io::Result<()> {
    match socket.connect(&SockAddr::from(to)) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(()),
        result => result,
    }
}

/// Waits for the handshake's end; an error of `None` is a timeout.
async fn finish(stream: &TcpStream, limit: Duration) -> Result<(), Option<io::Error>> {
    // The stream was registered after its SYN left: an unconnected one would seem writable.
    match tokio::time::timeout(limit, stream.writable()).await {
        Err(_) => Err(None),
        Ok(Err(error)) => Err(Some(error)),
        Ok(Ok(())) => match stream.take_error() {
            Ok(None) => Ok(()),
            Ok(Some(error)) | Err(error) => Err(Some(error)),
        },
    }
}

/// Finds out why a handshake failed.
async fn explain(
    socket: impl AsFd,
    error: Option<&io::Error>,
    to: SocketAddr,
    local: Option<SocketAddr>,
    place: &Place,
) -> ConnectResult {
    let mut quote = [0; 128];
    match errqueue::next(socket, &mut quote) {
        Ok(Some(entry)) => match entry.fault {
            Fault::Icmp(answer) => {
                let own = own_addresses(place, local.map(|local| local.ip())).await;
                match errqueue::attribute(answer, to.ip(), &own) {
                    Fault::Icmp(answer) => ConnectResult::Icmp(answer),
                    Fault::Local(error) => next_hop(error, to.ip(), place).await,
                }
            }
            Fault::Local(error) => next_hop(error, to.ip(), place).await,
        },
        Ok(None) | Err(_) => match explain_errno(error) {
            ConnectResult::Local(error) => next_hop(error, to.ip(), place).await,
            result => result,
        },
    }
}

/// A silent next hop is a gateway, unless the target shares our own link and so is it itself.
async fn next_hop(error: LocalError, to: IpAddr, place: &Place) -> ConnectResult {
    if error != LocalError::GatewaySilent {
        return ConnectResult::Local(error);
    }
    let place = place.clone();
    let asked = tokio::task::spawn_blocking(move || place.is_on_link(to)).await;
    let on_link = matches!(asked, Ok(Ok(true)));
    ConnectResult::Local(if on_link { LocalError::NeighbourSilent } else { error })
}

/// What an errno with an empty error queue means.
fn explain_errno(error: Option<&io::Error>) -> ConnectResult {
    let Some(error) = error else { return ConnectResult::TimedOut };
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => ConnectResult::Refused,
        // Linux says this only of a reset that came after the handshake.
        Some(libc::ECONNRESET | libc::EPIPE) => ConnectResult::Connected,
        Some(libc::ETIMEDOUT) => ConnectResult::TimedOut,
        // The source was bound before, so it is the port that could not be had.
        Some(libc::EADDRNOTAVAIL) => ConnectResult::Local(LocalError::Exhausted),
        _ => ConnectResult::Local(errno::of_route(error)),
    }
}

/// Our own addresses in the place; `known` is one of them and enough when asking fails.
async fn own_addresses(place: &Place, known: Option<IpAddr>) -> Vec<IpAddr> {
    let place = place.clone();
    let asked = tokio::task::spawn_blocking(move || place.addresses()).await;
    let mut own = asked.ok().and_then(Result::ok).unwrap_or_default();
    own.extend(known.filter(|known| !known.is_unspecified()));
    own
}

#[cfg(test)]
mod tests;
