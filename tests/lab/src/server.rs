//! Servers in a node's namespace: threads of the test that play a part, and real programs.
//!
//! A socket belongs to the namespace it was opened in, so only a thread's binding happens there; a
//! program lives there whole. All listen on both families and stop, their connections cut, when
//! the handle is dropped.

mod certificate;
mod dns;
mod freerdp;
mod program;
mod rdp;
mod webhook;
mod xrdp;

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv6Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::kernel;
use crate::node::{Node, in_namespace};

pub use certificate::Certificate;
pub use dns::{Behaviour, DnsServer, dns};
pub use freerdp::{FreeRdp, FreeRdpSpec, Security};
pub use rdp::{
    RdpScript, TlsScript, Waves, rdp_after_one, rdp_certificate, rdp_confirm, rdp_in_waves,
    rdp_scripted, rdp_slow,
};
pub use webhook::{Delivery, Webhook, webhook};
pub use xrdp::{SecurityLayer, TlsOffer, Xrdp, XrdpSpec};

/// Serves what a hung program shows: connections are accepted and never answered.
pub fn silent(node: &Node, port: u16) -> Result<TcpServer> {
    // Kept unread until the server stops and drops the handler.
    let held = Mutex::new(Vec::new());
    serve(node, port, move |stream| {
        lock(&held).push(stream);
        Ok(())
    })
}

/// Serves what a program that hangs before accept shows: the kernel connects up to its queue.
///
/// One more than `backlog` connections fit, and then SYNs are dropped.
pub fn no_accept(node: &Node, port: u16, backlog: u16) -> Result<TcpServer> {
    let listener = bind(node, port)?;
    kernel::set_backlog(&listener, backlog).context("set the backlog")?;
    Ok(TcpServer { port, shared: Arc::default(), held: Some(listener), stop: None, thread: None })
}

/// Serves the first line of OpenSSH.
pub fn ssh_banner(node: &Node, port: u16) -> Result<TcpServer> {
    serve(node, port, |mut stream| {
        stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n")?;
        discard(&mut stream, Instant::now() + PATIENCE)
    })
}

/// Serves a small page over HTTP, whatever is asked.
pub fn http(node: &Node, port: u16) -> Result<TcpServer> {
    serve(node, port, |mut stream| {
        webhook::read_request(&mut stream)?;
        stream.write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\
              Connection: close\r\n\r\nok\n",
        )
    })
}

/// Serves a drain: it reads everything and says nothing.
pub fn sink(node: &Node, port: u16) -> Result<TcpServer> {
    serve(node, port, |mut stream| io::copy(&mut stream, &mut io::sink()).map(drop))
}

/// Serves connections with a handler of your own; each runs on its own thread.
///
/// An error of the handler ends the connection and is otherwise ignored, as clients under test
/// come and go as they like.
pub fn serve(
    node: &Node,
    port: u16,
    handler: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static,
) -> Result<TcpServer> {
    let listener = bind(node, port)?;
    listener.set_nonblocking(true).context("make the listener nonblocking")?;
    let (stop, stopped) = UnixStream::pair().context("make a socket pair")?;
    let shared = Arc::new(Shared::default());
    let acceptor = Acceptor { listener, stopped, shared: Arc::clone(&shared) };
    let thread = thread::Builder::new()
        .name(format!("server-{port}"))
        .spawn(move || acceptor.run(&Arc::new(handler)))
        .context("start a thread")?;
    Ok(TcpServer { port, shared, held: None, stop: Some(stop), thread: Some(thread) })
}

/// A TCP server at work; it stops when dropped, and its port is then closed.
#[derive(Debug)]
pub struct TcpServer {
    port: u16,
    shared: Arc<Shared>,
    held: Option<TcpListener>,
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl TcpServer {
    /// Gives the port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Says how many connections it has accepted.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Stops listening and cuts the connections.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for TcpServer {
    fn drop(&mut self) {
        drop(self.held.take());
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[derive(Debug, Default)]
struct Shared {
    accepted: AtomicU64,
    open: Mutex<BTreeMap<u64, TcpStream>>,
}

struct Acceptor {
    listener: TcpListener,
    stopped: UnixStream,
    shared: Arc<Shared>,
}

impl Acceptor {
    fn run<H>(self, handler: &Arc<H>)
    where
        H: Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static,
    {
        let mut threads: Vec<JoinHandle<()>> = Vec::new();
        while let Ok([_, false]) =
            kernel::wait_readable([self.listener.as_fd(), self.stopped.as_fd()], None)
        {
            threads.retain(|thread| !thread.is_finished());
            match self.listener.accept() {
                Ok((stream, _)) => threads.extend(self.start(stream, Arc::clone(handler))),
                // A client that went away before accept is no fault of ours.
                Err(_) => continue,
            }
        }
        drop(self.listener);
        for stream in lock(&self.shared.open).values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
        for thread in threads {
            let _ = thread.join();
        }
    }

    fn start<H>(&self, stream: TcpStream, handler: Arc<H>) -> Option<JoinHandle<()>>
    where
        H: Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static,
    {
        stream.set_nonblocking(false).ok()?;
        let shared = Arc::clone(&self.shared);
        let number = shared.accepted.fetch_add(1, Ordering::Relaxed);
        lock(&shared.open).insert(number, stream.try_clone().ok()?);
        let work = move || {
            let _ = handler(stream);
            lock(&shared.open).remove(&number);
        };
        thread::Builder::new().name(format!("connection-{number}")).spawn(work).ok()
    }
}

/// Takes a lock; a panic elsewhere does not make what it guards any worse for a test.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn bind(node: &Node, port: u16) -> Result<TcpListener> {
    in_namespace(node, || TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)))?
        .with_context(|| format!("listen on port {port} of {node}"))
}

fn read_whole(stream: &mut TcpStream, mut buffer: &mut [u8], deadline: Instant) -> io::Result<()> {
    while !buffer.is_empty() {
        match read_until(stream, buffer, deadline)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => buffer = &mut buffer[count..],
        }
    }
    Ok(())
}

fn discard(stream: &mut TcpStream, deadline: Instant) -> io::Result<()> {
    let mut buffer = [0; 4096];
    while read_until(stream, &mut buffer, deadline)? > 0 {}
    Ok(())
}

fn read_until(stream: &mut TcpStream, buffer: &mut [u8], deadline: Instant) -> io::Result<usize> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    stream.set_read_timeout(Some(left))?;
    stream.read(buffer)
}

/// How long a server waits for a client's next move.
const PATIENCE: Duration = Duration::from_secs(5);
