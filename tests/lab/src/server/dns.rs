//! A small name server over UDP whose records and moods a test can change.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

use super::lock;
use crate::kernel;
use crate::node::{Node, in_namespace};

/// Serves names on UDP port 53 of a node, with a TTL of 60 seconds until told otherwise.
pub fn dns(node: &Node, records: &[(&str, &[IpAddr])]) -> Result<DnsServer> {
    let socket = in_namespace(node, || UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 53)))?
        .with_context(|| format!("bind UDP port 53 of {node}"))?;
    let (stop, stopped) = UnixStream::pair().context("make a socket pair")?;
    let zone = Arc::new(Mutex::new(Zone {
        records: BTreeMap::new(),
        behaviour: Behaviour::Answer,
        ttl_seconds: 60,
        queries: 0,
    }));
    let serving = Arc::clone(&zone);
    let thread = thread::Builder::new()
        .name("dns".into())
        .spawn(move || run(&socket, &stopped, &serving))
        .context("start a thread")?;
    let server = DnsServer { zone, stop: Some(stop), thread: Some(thread) };
    for (name, addresses) in records {
        server.set_record(name, addresses);
    }
    Ok(server)
}

/// How a name server treats every query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// It answers from its records; other names do not exist.
    #[default]
    Answer,
    /// It says that no name exists.
    NameError,
    /// It says that it failed.
    ServerFailure,
    /// It says nothing.
    Silent,
}

/// A name server at work; it stops when dropped.
#[derive(Debug)]
pub struct DnsServer {
    zone: Arc<Mutex<Zone>>,
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl DnsServer {
    /// Gives a name these addresses in place of others; none means that it has no address.
    pub fn set_record(&self, name: &str, addresses: &[IpAddr]) {
        lock(&self.zone).records.insert(canonical(name), addresses.to_vec());
    }

    /// Makes a name not exist.
    pub fn remove(&self, name: &str) {
        lock(&self.zone).records.remove(&canonical(name));
    }

    /// Chooses how queries are treated from now on.
    pub fn set_behaviour(&self, behaviour: Behaviour) {
        lock(&self.zone).behaviour = behaviour;
    }

    /// Chooses how long answers may be kept.
    pub fn set_ttl(&self, ttl: Duration) {
        lock(&self.zone).ttl_seconds = u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX);
    }

    /// Says how many queries have come.
    pub fn queries(&self) -> u64 {
        lock(&self.zone).queries
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[derive(Debug)]
struct Zone {
    records: BTreeMap<String, Vec<IpAddr>>,
    behaviour: Behaviour,
    ttl_seconds: u32,
    queries: u64,
}

impl Zone {
    /// Builds the answer to a query (RFC 1035 4.1), or none to stay silent.
    fn answer(&mut self, query: &[u8]) -> Option<Vec<u8>> {
        let question = Question::parse(query)?;
        self.queries += 1;
        let known = self.records.get(&question.name);
        let (code, addresses) = match (self.behaviour, known) {
            (Behaviour::Silent, _) => return None,
            (Behaviour::ServerFailure, _) => (2, &[][..]),
            (Behaviour::NameError, _) | (Behaviour::Answer, None) => (3, &[][..]),
            (Behaviour::Answer, Some(addresses)) => (0, addresses.as_slice()),
        };
        let answers: Vec<Vec<u8>> =
            addresses.iter().filter_map(|address| question.data(*address)).collect();
        let mut bytes = query.get(..2)?.to_vec();
        // QR, AA and RA, and RD as it was asked.
        bytes.extend([0x84 | (query[2] & 0x01), 0x80 | code, 0, 1]);
        bytes.extend((answers.len() as u16).to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(question.bytes);
        for data in answers {
            bytes.extend(POINTER_TO_QUESTION);
            bytes.extend(question.kind.to_be_bytes());
            bytes.extend(CLASS_IN.to_be_bytes());
            bytes.extend(self.ttl_seconds.to_be_bytes());
            bytes.extend((data.len() as u16).to_be_bytes());
            bytes.extend(data);
        }
        Some(bytes)
    }
}

struct Question<'a> {
    name: String,
    kind: u16,
    bytes: &'a [u8],
}

impl<'a> Question<'a> {
    fn parse(query: &'a [u8]) -> Option<Self> {
        let body = query.get(12..)?;
        let mut at = 0;
        let mut labels = Vec::new();
        loop {
            let length = usize::from(*body.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            labels.push(String::from_utf8_lossy(body.get(at..at + length)?).into_owned());
            at += length;
        }
        let kind = u16::from_be_bytes(*body.get(at..)?.first_chunk()?);
        Some(Self { name: canonical(&labels.join(".")), kind, bytes: body.get(..at + 4)? })
    }

    /// Gives the record data when the address is of the kind asked for.
    fn data(&self, address: IpAddr) -> Option<Vec<u8>> {
        match (self.kind, address) {
            (TYPE_A, IpAddr::V4(address)) => Some(address.octets().into()),
            (TYPE_AAAA, IpAddr::V6(address)) => Some(address.octets().into()),
            _ => None,
        }
    }
}

fn run(socket: &UdpSocket, stopped: &UnixStream, zone: &Mutex<Zone>) {
    let mut buffer = [0; 1500];
    while let Ok([_, false]) = kernel::wait_readable([socket.as_fd(), stopped.as_fd()], None) {
        let Ok((length, client)) = socket.recv_from(&mut buffer) else { continue };
        let answer = lock(zone).answer(&buffer[..length]);
        if let Some(answer) = answer {
            // A client that has gone away needs no answer.
            let _ = socket.send_to(&answer, client);
        }
    }
}

fn canonical(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const CLASS_IN: u16 = 1;
const POINTER_TO_QUESTION: [u8; 2] = [0xc0, 12];
