//! What hosts show of Remote Desktop before any login, in good health and in bad.

mod script;

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{PATIENCE, TcpServer, bind, discard, read_until, read_whole, serve};
use crate::kernel;
use crate::node::Node;
use crate::traffic::hold_connections;

pub use script::{RdpScript, TlsScript, rdp_scripted};

/// Serves what a host shows of RDP before any login: an X.224 Connection Confirm and a certificate.
///
/// It takes TLS and nothing below it, shows the certificate of a ClientHello's answer, and waits
/// five seconds at most for the client to close.
pub fn rdp_confirm(node: &Node, port: u16) -> Result<TcpServer> {
    serve(node, port, |stream| confirm(stream, Duration::ZERO, 0))
}

/// Serves the same on a host without breath: the answer comes, but this late.
pub fn rdp_slow(node: &Node, port: u16, delay: Duration) -> Result<TcpServer> {
    serve(node, port, move |stream| confirm(stream, delay, 0))
}

/// Serves the same and leaves the first connection unanswered, until its client ends it.
pub fn rdp_after_one(node: &Node, port: u16) -> Result<TcpServer> {
    let served = AtomicBool::new(false);
    serve(node, port, move |mut stream| match served.swap(true, Ordering::Relaxed) {
        true => confirm(stream, Duration::ZERO, 0),
        false => io::copy(&mut stream, &mut io::sink()).map(drop),
    })
}

/// Serves the same with a chain of certificates, so that its first flight takes this many bytes at
/// least.
pub fn rdp_certificate(node: &Node, port: u16, bytes: usize) -> Result<TcpServer> {
    serve(node, port, move |stream| confirm(stream, Duration::ZERO, bytes))
}

/// Serves a host under waves of connections: for a spell all is well, and for the next one others
/// fill its queue and nothing is accepted.
pub fn rdp_in_waves(
    node: &Node,
    port: u16,
    (from, target): (&Node, SocketAddr),
    (backlog, spell): (u16, Duration),
) -> Result<Waves> {
    let listener = bind(node, port)?;
    listener.set_nonblocking(true).context("make the listener nonblocking")?;
    kernel::set_backlog(&listener, backlog).context("set the backlog")?;
    let (stop, stopped) = UnixStream::pair().context("make a socket pair")?;
    let host = Host { listener, stopped, from: from.clone(), target, backlog, spell };
    let work = move || {
        if let Err(error) = host.run() {
            eprintln!("the waves ended: {error:#}");
        }
    };
    let thread = thread::Builder::new().name("waves".into()).spawn(work);
    Ok(Waves { stop: Some(stop), thread: Some(thread.context("start a thread")?) })
}

/// A host under waves of connections; it stops when dropped.
#[derive(Debug)]
pub struct Waves {
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Waves {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Host {
    listener: TcpListener,
    stopped: UnixStream,
    from: Node,
    target: SocketAddr,
    backlog: u16,
    spell: Duration,
}

impl Host {
    fn run(&self) -> Result<()> {
        loop {
            // One more than the backlog fits.
            let fillers = hold_connections(&self.from, self.target, usize::from(self.backlog) + 1)?;
            let [stopped] = kernel::wait_readable([self.stopped.as_fd()], Some(self.spell))?;
            drop(fillers);
            if stopped || !self.accept_for(self.spell)? {
                return Ok(());
            }
        }
    }

    /// Serves for a time; `false` when it was stopped.
    fn accept_for(&self, spell: Duration) -> Result<bool> {
        let end = Instant::now() + spell;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(true);
            }
            let [_, stopped] =
                kernel::wait_readable([self.listener.as_fd(), self.stopped.as_fd()], Some(left))?;
            if stopped {
                return Ok(false);
            }
            if let Ok((stream, _)) = self.listener.accept() {
                stream.set_nonblocking(false).context("make a connection blocking")?;
                // It ends with its client, or by its own patience.
                thread::spawn(move || confirm(stream, Duration::ZERO, 0));
            }
        }
    }
}

fn confirm(mut stream: TcpStream, delay: Duration, flight: usize) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE + delay;
    let Some(offered) = read_request(&mut stream, deadline)? else { return Ok(()) };
    if !delay.is_zero() && !stays_for(&mut stream, delay)? {
        return Ok(());
    }
    let takes = offered & PROTOCOL_SSL != 0;
    let [kind, value] = if takes { [2, 1] } else { [3, SSL_REQUIRED_BY_SERVER] };
    stream.write_all(&connection_confirm(kind, value))?;
    if takes && read_until(&mut stream, &mut [0; 4096], deadline)? > 0 {
        stream.write_all(&first_flight(flight))?;
    }
    discard(&mut stream, deadline)
}

/// Reads one TPKT frame; gives the protocols it offers if it is an X.224 Connection Request.
fn read_request(stream: &mut TcpStream, deadline: Instant) -> io::Result<Option<u8>> {
    let mut header = [0; 4];
    read_whole(stream, &mut header, deadline)?;
    let [3, _, high, low] = header else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([high, low])).saturating_sub(header.len());
    let mut request = vec![0; length];
    read_whole(stream, &mut request, deadline)?;
    let offered = request.get(11).copied().unwrap_or_default();
    Ok((request.get(1) == Some(&X224_CONNECTION_REQUEST)).then_some(offered))
}

/// Waits, and says whether the client waited as well: one that leaves or speaks ends the wait.
fn stays_for(stream: &mut TcpStream, wait: Duration) -> io::Result<bool> {
    match read_until(stream, &mut [0; 64], Instant::now() + wait) {
        Ok(_) => Ok(false),
        Err(error) if is_timeout(&error) => Ok(true),
        Err(error) => Err(error),
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

/// A ServerHello of TLS 1.2 and a chain of certificates that takes so many bytes at least.
fn first_flight(least: usize) -> Vec<u8> {
    let own = certificate();
    let entry = |der: &[u8]| [&u24(der.len())[..], der].concat();
    let mut list = entry(&own);
    while list.len() < least {
        list.extend(entry(&own));
    }
    let message = |kind: u8, body: &[u8]| [&[kind][..], &u24(body.len()), body].concat();
    let hello = [&[3, 3][..], &[7; 32], &[0, 0xc0, 0x30, 0]].concat();
    let chain = [&u24(list.len())[..], &list].concat();
    let messages = [message(2, &hello), message(11, &chain), message(14, &[])].concat();
    let record = |fragment: &[u8]| {
        let length = u16::try_from(fragment.len()).unwrap_or(u16::MAX);
        [&[0x16, 3, 3][..], &length.to_be_bytes(), fragment].concat()
    };
    messages.chunks(1 << 14).flat_map(record).collect()
}

fn u24(length: usize) -> [u8; 3] {
    let [.., a, b, c] = length.to_be_bytes();
    [a, b, c]
}

/// A certificate that is valid until the middle of the century; its signature is none any more.
fn certificate() -> Vec<u8> {
    let mut der = include_bytes!("../../../captures/rdp/certificates/rsa.der").to_vec();
    for (was, is) in [(b"261126084912Z", b"260101000000Z"), (b"270525084912Z", b"491231235959Z")] {
        if let Some(at) = der.windows(was.len()).position(|bytes| bytes == was) {
            der.splice(at..at + was.len(), is.iter().copied());
        }
    }
    der
}

const X224_CONNECTION_REQUEST: u8 = 0xe0;
const PROTOCOL_SSL: u8 = 1;
const SSL_REQUIRED_BY_SERVER: u8 = 1;

/// TPKT of 19 bytes; X.224 CC with source 0x1234; an RDP negotiation response or failure.
const fn connection_confirm(kind: u8, value: u8) -> [u8; 19] {
    [3, 0, 0, 19, 14, 0xd0, 0, 0, 0x12, 0x34, 0, kind, 1, 8, 0, value, 0, 0, 0]
}
