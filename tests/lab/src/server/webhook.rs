//! A receiver of webhooks that remembers what it was sent.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};

use super::{PATIENCE, TcpServer, lock, serve};
use crate::node::Node;

/// Serves a webhook receiver that answers 200 until told otherwise.
pub fn webhook(node: &Node, port: u16) -> Result<Webhook> {
    let shared = Arc::new(Inbox::default());
    shared.status.store(200, Ordering::Relaxed);
    let inbox = Arc::clone(&shared);
    let server = serve(node, port, move |mut stream| {
        let request = read_request(&mut stream)?;
        let status = inbox.status.load(Ordering::Relaxed);
        let Request { path, headers, body } = request;
        lock(&inbox.deliveries).push(Delivery { path, headers, body, status });
        inbox.arrived.notify_all();
        let answer =
            format!("HTTP/1.1 {status} Told\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        stream.write_all(answer.as_bytes())
    })?;
    Ok(Webhook { shared, server })
}

/// A webhook receiver at work.
#[derive(Debug)]
pub struct Webhook {
    shared: Arc<Inbox>,
    server: TcpServer,
}

impl Webhook {
    /// Gives the port.
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// Chooses the status of answers from now on, such as 503 for a receiver in trouble.
    pub fn set_status(&self, status: u16) {
        self.shared.status.store(status, Ordering::Relaxed);
    }

    /// Gives every request so far, the refused ones too.
    pub fn deliveries(&self) -> Vec<Delivery> {
        lock(&self.shared.deliveries).clone()
    }

    /// Gives the bodies that were answered with a 2xx status, in order of arrival.
    pub fn bodies(&self) -> Vec<String> {
        accepted(&lock(&self.shared.deliveries))
    }

    /// Waits until at least `count` bodies were taken, and gives them all.
    pub fn wait_for(&self, count: usize, within: Duration) -> Result<Vec<String>> {
        let too_few = |deliveries: &mut Vec<Delivery>| accepted(deliveries).len() < count;
        let guard = lock(&self.shared.deliveries);
        let (guard, _) = self
            .shared
            .arrived
            .wait_timeout_while(guard, within, too_few)
            .unwrap_or_else(PoisonError::into_inner);
        let bodies = accepted(&guard);
        ensure!(
            bodies.len() >= count,
            "{} of {count} webhook bodies within {within:?}: {bodies:#?}",
            bodies.len()
        );
        Ok(bodies)
    }
}

/// One request to a webhook receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The path asked for.
    pub path: String,
    /// The header fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
    /// The status it was answered with.
    pub status: u16,
}

#[derive(Debug, Default)]
struct Inbox {
    status: AtomicU16,
    deliveries: Mutex<Vec<Delivery>>,
    arrived: Condvar,
}

/// An HTTP request, read to the end of its body.
pub(super) struct Request {
    path: String,
    headers: Vec<(String, String)>,
    body: String,
}

/// Reads one request whose body, if any, has a stated length.
pub(super) fn read_request(stream: &mut TcpStream) -> io::Result<Request> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.take(REQUEST_BYTES_MAX));
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).ok_or(io::ErrorKind::InvalidData)?.to_owned();
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    let mut body = vec![0; usize::min(length, REQUEST_BYTES_MAX as usize)];
    reader.read_exact(&mut body)?;
    Ok(Request { path, headers, body: String::from_utf8_lossy(&body).into_owned() })
}

fn accepted(deliveries: &[Delivery]) -> Vec<String> {
    let taken = deliveries.iter().filter(|delivery| (200..300).contains(&delivery.status));
    taken.map(|delivery| delivery.body.clone()).collect()
}

const REQUEST_BYTES_MAX: u64 = 4 << 20;
