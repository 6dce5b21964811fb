//! Traffic of others: what fills queues and keeps policers busy.

use std::io;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::node::{Node, in_namespace};

/// A stream of datagrams that nobody reads; it ends when dropped.
#[derive(Debug)]
pub struct Flood {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _drain: UdpSocket,
}

impl Drop for Flood {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Sends datagrams of 200 bytes from one node to an address of another, at this rate.
pub fn udp_flood(from: &Node, to: (&Node, SocketAddr), kbit_per_second: u32) -> Result<Flood> {
    let (node, target) = to;
    // Somebody must own the port, or its host would answer each datagram with an error.
    let drain = in_namespace(node, || UdpSocket::bind(target))?
        .with_context(|| format!("take {target} of {node}"))?;
    let any: SocketAddr = match target {
        SocketAddr::V4(_) => ([0; 4], 0).into(),
        SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let open = || -> io::Result<UdpSocket> {
        let socket = UdpSocket::bind(any)?;
        socket.connect(target)?;
        Ok(socket)
    };
    let socket = in_namespace(from, open)?.with_context(|| format!("open a socket in {from}"))?;
    let gap = Duration::from_secs_f64(f64::from(DATAGRAM_BITS) / f64::from(kbit_per_second) / 1e3);
    let (stop, stopped) = mpsc::channel::<()>();
    let work = move || {
        let datagram = [0; DATAGRAM];
        while stopped.recv_timeout(gap) == Err(RecvTimeoutError::Timeout) {
            // A full queue of our own is part of the congestion.
            let _ = socket.send(&datagram);
        }
    };
    let thread = thread::Builder::new().name("flood".into()).spawn(work);
    let thread = Some(thread.context("start a thread")?);
    Ok(Flood { stop: Some(stop), thread, _drain: drain })
}

/// Opens connections and holds them without a word, as many as are taken at once.
pub fn hold_connections(from: &Node, target: SocketAddr, count: usize) -> Result<Vec<TcpStream>> {
    let open = || -> io::Result<Vec<TcpStream>> {
        (0..count).map(|_| TcpStream::connect_timeout(&target, PATIENCE)).collect()
    };
    in_namespace(from, open)?.with_context(|| format!("hold connections from {from} to {target}"))
}

/// A queue that large packets overflow still has room for small probes.
const DATAGRAM: usize = 200;
/// With the UDP, IP and Ethernet headers, which the queue counts as well.
const DATAGRAM_BITS: u32 = (200 + 8 + 20 + 14) * 8;
const PATIENCE: Duration = Duration::from_secs(3);
