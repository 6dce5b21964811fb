//! The far end of a TUN device: a host in user space that answers as it is told to, and counts.

mod forgery;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use reachd_core::monitor::FIRST_PORT;
use reachd_core::probe::FULL_TTL;
use reachd_core::sweep::SWEEP_PORT;
use reachd_core::wire::icmp::Icmp;
use reachd_core::wire::packet::{Body, Checksums, Packet};
use reachd_core::wire::reply::{Stack, emit_echo_reply, emit_rst_ack, emit_syn_ack};

use reachd_lab::tun::{self, Kind};

/// How it treats the probes that come from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Habit {
    /// Each answer comes once, after [`HELD`].
    Honest,
    /// Each answer comes three times: at once, again, and once more after [`AGAIN`].
    Thrice,
    /// Each answer comes after [`TARDY`], when nobody waits for it any more.
    Tardy,
    /// Lies come first, and the truth after [`HELD`].
    Outrun,
    /// Lies only.
    Lying,
    /// Each answer comes with a checksum that is wrong.
    Corrupt,
}

/// How long an honest answer is held back.
pub(super) const HELD: Duration = Duration::from_millis(60);
/// When the last of three equal answers comes: longer than copies of one packet are apart.
const AGAIN: Duration = Duration::from_millis(40);
/// Later than the verdict.
const TARDY: Duration = Duration::from_millis(3_400);

/// What became of the probes of one kind toward one address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ledger {
    /// Probes that came.
    pub(super) asked: u64,
    /// True answers in time, the first of each.
    pub(super) answered: u64,
    /// True answers beyond the first.
    pub(super) again: u64,
    /// True answers that came late.
    pub(super) late: u64,
    /// Forgeries with a guess in them that is wrong.
    pub(super) forged: u64,
    /// Lies that miss even the port of a probe, or acknowledge nothing, and reach for the sweep's
    /// ports.
    pub(super) aside: u64,
    /// Answers with a wrong checksum.
    pub(super) corrupt: u64,
    /// For how long the answers in time were held back, all together.
    pub(super) held: Duration,
}

/// All ledgers, by address and kind of probe.
pub(super) type Ledgers = BTreeMap<(IpAddr, &'static str), Ledger>;

struct Shared {
    habit: Mutex<Habit>,
    ledgers: Mutex<Ledgers>,
}

/// A responder at work; it stops when dropped.
pub(super) struct Responder {
    shared: Arc<Shared>,
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Responder {
    /// Answers whatever comes out of a device, for any address.
    pub(super) fn start(device: File, kind: Kind) -> Result<Self> {
        let (stop, stopped) = UnixStream::pair().context("make a socket pair")?;
        let shared = Arc::new(Shared { habit: Habit::Honest.into(), ledgers: Mutex::default() });
        let for_thread = Arc::clone(&shared);
        let mut host =
            Host { device, kind, stopped, shared: for_thread, queue: BTreeMap::new(), serial: 0 };
        let work = move || {
            if let Err(error) = host.run() {
                eprintln!("the responder ended: {error}");
            }
        };
        let thread = thread::Builder::new().name("responder".into()).spawn(work);
        Ok(Self { shared, stop: Some(stop), thread: Some(thread.context("start a thread")?) })
    }

    /// Changes its habit.
    pub(super) fn be(&self, habit: Habit) {
        *lock(&self.shared.habit) = habit;
    }

    /// What it has counted.
    pub(super) fn ledgers(&self) -> Ledgers {
        lock(&self.shared.ledgers).clone()
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        // Closing our end wakes the thread.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What a packet on its way out is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// The first true answer, and for how long it was held back.
    First(Duration),
    /// A true answer beyond it.
    Again,
    /// A true answer after the verdict.
    Late,
    /// A lie with a wrong guess.
    Forged,
    /// A lie beside it.
    Aside,
    /// A true answer, spoilt.
    Corrupt,
    /// Nothing to be counted.
    Plain,
}

/// A packet on its way out, and whose ledger it is written into.
struct Outgoing {
    bytes: Vec<u8>,
    part: Part,
    key: (IpAddr, &'static str),
}

struct Host {
    device: File,
    kind: Kind,
    stopped: UnixStream,
    shared: Arc<Shared>,
    queue: BTreeMap<(Instant, u64), Outgoing>,
    serial: u64,
}

impl Host {
    fn run(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4_096];
        loop {
            self.send_due()?;
            let next = self.queue.first_key_value().map(|((due, _), _)| *due);
            let timeout = next.map(|due| due.saturating_duration_since(Instant::now()));
            let [_, stopped] = tun::wait([self.device.as_fd(), self.stopped.as_fd()], timeout)?;
            if stopped {
                return Ok(());
            }
            match self.device.read(&mut buffer) {
                Ok(length) => self.take(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn send_due(&mut self) -> io::Result<()> {
        while let Some(entry) = self.queue.first_entry() {
            if entry.key().0 > Instant::now() {
                break;
            }
            let Outgoing { bytes, part, key } = entry.remove();
            self.book(key, |ledger| match part {
                Part::First(held) => {
                    ledger.answered += 1;
                    ledger.held += held;
                }
                Part::Again => ledger.again += 1,
                Part::Late => ledger.late += 1,
                Part::Forged => ledger.forged += 1,
                Part::Aside => ledger.aside += 1,
                Part::Corrupt => ledger.corrupt += 1,
                Part::Plain => {}
            });
            self.device.write_all(&bytes)?;
        }
        Ok(())
    }

    fn book(&self, key: (IpAddr, &'static str), change: impl FnOnce(&mut Ledger)) {
        change(lock(&self.shared.ledgers).entry(key).or_default());
    }

    /// Reads a packet or frame and plans what is to be said to it.
    fn take(&mut self, bytes: &[u8]) {
        let came = Instant::now();
        let (head, request) = match self.kind {
            Kind::Tun => (Vec::new(), bytes),
            Kind::Tap => match bytes.split_first_chunk::<ETHERNET_LEN>() {
                Some((head, request)) => (turned(*head), request),
                None => return,
            },
        };
        // Neighbour discovery and the like do not parse as anything we answer.
        let Ok(packet) = Packet::parse(request, Checksums::Skip) else { return };
        let Some((name, answer)) = answer(request, &packet) else { return };
        let key = (packet.dest, name);
        // Large echoes ask for sizes and are in no books.
        let is_probe = packet.ttl == FULL_TTL && name != CONNECT && packet.total_len < 1_000;
        let plan = if is_probe {
            self.book(key, |ledger| ledger.asked += 1);
            let habit = *lock(&self.shared.habit);
            probe_answers(habit, request, &packet, answer)
        } else {
            // Traces, sizes and full connections meet an honest host at once.
            vec![(Duration::ZERO, Part::Plain, answer)]
        };
        for (delay, part, bytes) in plan {
            let bytes = [head.as_slice(), &bytes].concat();
            self.serial += 1;
            self.queue.insert((came + delay, self.serial), Outgoing { bytes, part, key });
        }
    }
}

/// The true answer to a packet, and the kind of probe it is.
fn answer(request: &[u8], packet: &Packet<'_>) -> Option<(&'static str, Vec<u8>)> {
    let stack = Stack { ip_id: 7, ..Stack::default() };
    match packet.body {
        Body::Icmp(Icmp::EchoRequest { .. }) => Some(("echo", emit_echo_reply(request, &stack)?)),
        Body::Tcp(segment) if segment.flags.rst() => None,
        Body::Tcp(segment) if segment.flags.syn() => {
            let name = if segment.source_port >= FIRST_PORT { "syn" } else { CONNECT };
            Some((name, emit_syn_ack(request, 0x0102_0304, &stack)?))
        }
        // The end of a full connection: a short way out.
        Body::Tcp(segment) if segment.flags.fin() => {
            Some((CONNECT, emit_rst_ack(request, &stack)?))
        }
        _ => None,
    }
}

/// What is said to a probe, and when.
fn probe_answers(
    habit: Habit,
    request: &[u8],
    packet: &Packet<'_>,
    truth: Vec<u8>,
) -> Vec<(Duration, Part, Vec<u8>)> {
    let lies = || {
        forgery::lies(request, packet).into_iter().map(|(counts, bytes)| {
            let part = if counts { Part::Forged } else { aside(&bytes) };
            (Duration::ZERO, part, bytes)
        })
    };
    match habit {
        Habit::Honest => vec![(HELD, Part::First(HELD), truth)],
        Habit::Thrice => vec![
            (Duration::ZERO, Part::First(Duration::ZERO), truth.clone()),
            (Duration::ZERO, Part::Again, truth.clone()),
            (AGAIN, Part::Again, truth),
        ],
        Habit::Tardy => vec![(TARDY, Part::Late, truth)],
        Habit::Outrun => {
            let talk_over = forgery::unproven(packet).into_iter();
            let talk_over = talk_over.map(|bytes| (Duration::ZERO, aside(&bytes), bytes));
            lies().chain(talk_over).chain([(HELD, Part::First(HELD), truth)]).collect()
        }
        Habit::Lying => lies().collect(),
        Habit::Corrupt => vec![(Duration::ZERO, Part::Corrupt, forgery::spoil(truth))],
    }
}

/// Whether a lie that is nobody's answer reaches for a port of the sweep's, where it is counted.
fn aside(bytes: &[u8]) -> Part {
    match Packet::parse(bytes, Checksums::Skip).map(|packet| packet.body) {
        Ok(Body::Tcp(segment)) if segment.dest_port >= SWEEP_PORT => Part::Aside,
        _ => Part::Plain,
    }
}

/// An Ethernet header that goes back where it came from.
fn turned(head: [u8; ETHERNET_LEN]) -> Vec<u8> {
    let (to, rest) = head.split_at(6);
    let (from, kind) = rest.split_at(6);
    [from, to, kind].concat()
}

/// Takes a lock; a panic elsewhere does not make what it guards any worse for a test.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const CONNECT: &str = "connect";
const ETHERNET_LEN: usize = 14;
