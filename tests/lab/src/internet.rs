//! A virtual Internet behind a TUN device: tier T1 of the corpus.
//!
//! The daemon, its sockets, its capture ring and the kernel's TCP are real; routers, hosts and what
//! befalls packets on the way are those of the simulator, in real time. So there is what no kernel
//! here can do: delay and jitter, bursts of loss, duplicated, late and forged answers, equal paths
//! of any number, limits on ICMP of any shape, and answers of any hop limit.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant as Moment};

use anyhow::{Context, Result};
use reachd_core::time::Instant;
use reachd_core::wire::packet::{Body, Checksums, Packet};
use reachd_sim::{Delivery, World, forge};

use crate::address::Family;
use crate::node::Node;
use crate::tun::{self, Kind};

/// A service of this port greets first (RFC 4253 section 4.2).
const SSH: u16 = 22;
/// The device.
const DEVICE: &str = "net0";

/// What befalls answers beside what the world does with them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// How often an answer comes so much later than it should.
    pub late: Option<(f64, Duration)>,
    /// How often somebody off the path answers a packet with guesses of its numbers.
    pub forged: f64,
}

/// What went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that left the node.
    pub sent: u64,
    /// Packets that came back to it, forgeries not among them.
    pub returned: u64,
    /// Of these, those that came late.
    pub late: u64,
    /// Forgeries.
    pub forged: u64,
}

/// The far side of a node's only device; it falls silent when dropped.
#[derive(Debug)]
pub struct Internet {
    shared: Arc<Mutex<Far>>,
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Far {
    world: World,
    counts: Counts,
}

impl Internet {
    /// Puts a node into a world, where the vantage of this name stands.
    pub fn open(node: &Node, place: &str, world: World, weather: Weather) -> Result<Self> {
        let stand = world.places.get(place).with_context(|| format!("no vantage {place}"))?;
        let (v4, v6) = (stand.v4, stand.v6);
        let device = tun::open(node, DEVICE, Kind::Tun)?;
        let lines = |address: IpAddr, prefix: u8, rest: &str| {
            [
                format!("addr add {address}/{prefix} dev {DEVICE}{rest}"),
                format!("link set {DEVICE} up"),
                format!("route add default dev {DEVICE}"),
            ]
        };
        node.ip(Family::V4, &lines(v4, 32, ""))?;
        node.ip(Family::V6, &lines(v6, 128, " nodad"))?;
        let (stop, stopped) = UnixStream::pair().context("make a socket pair")?;
        let shared = Arc::new(Mutex::new(Far { world, counts: Counts::default() }));
        let bridge = Bridge {
            device,
            stopped,
            place: place.to_owned(),
            weather,
            shared: Arc::clone(&shared),
            begun: Moment::now(),
            due: BTreeMap::new(),
            next: 0,
            talks: BTreeMap::new(),
            greeted: BTreeSet::new(),
        };
        let work = move || {
            if let Err(error) = bridge.run() {
                eprintln!("the virtual Internet ended: {error}");
            }
        };
        let thread = thread::Builder::new().name("internet".into()).spawn(work);
        Ok(Self { shared, stop: Some(stop), thread: Some(thread.context("start a thread")?) })
    }

    /// Changes the world while it works.
    pub fn change(&self, change: impl FnOnce(&mut World)) {
        change(&mut lock(&self.shared).world);
    }

    /// What went through by now.
    pub fn counts(&self) -> Counts {
        lock(&self.shared).counts
    }
}

impl Drop for Internet {
    fn drop(&mut self) {
        // Closing our end wakes the thread.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock(shared: &Mutex<Far>) -> MutexGuard<'_, Far> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One end and the other of a TCP flow, as the node sees it.
type Flow = (u16, IpAddr, u16);

struct Bridge {
    device: File,
    stopped: UnixStream,
    place: String,
    weather: Weather,
    shared: Arc<Mutex<Far>>,
    begun: Moment,
    /// What comes back, by when it is due; equal moments keep their order.
    due: BTreeMap<(Instant, u64), Vec<u8>>,
    next: u64,
    /// Flows whose SYN was accepted and that have not ended since, and the next number in them.
    talks: BTreeMap<Flow, u32>,
    /// Those in which the host has had the first word.
    greeted: BTreeSet<Flow>,
}

impl Bridge {
    fn now(&self) -> Instant {
        Instant::from_start(self.begun.elapsed())
    }

    fn run(mut self) -> std::io::Result<()> {
        let mut buffer = vec![0; 65_536];
        loop {
            let first = self.due.keys().next();
            let timeout = first.map(|(at, _)| at.since(self.now()));
            let [readable, stopped] =
                tun::wait([self.device.as_fd(), self.stopped.as_fd()], timeout)?;
            if stopped {
                return Ok(());
            }
            if readable {
                self.take_all(&mut buffer)?;
            }
            self.give()?;
        }
    }

    fn take_all(&mut self, buffer: &mut [u8]) -> std::io::Result<()> {
        loop {
            match self.device.read(buffer) {
                Ok(length) => self.take(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Carries what the node sent into the world.
    fn take(&mut self, bytes: &[u8]) {
        let now = self.now();
        let shared = Arc::clone(&self.shared);
        let mut far = lock(&shared);
        far.counts.sent += 1;
        let back = self.carry(&mut far.world, now, bytes);
        let random = &mut far.world.random;
        let mut due = Vec::new();
        let mut late = 0;
        for Delivery { after, bytes } in back {
            let delayed = self.weather.late.filter(|(share, _)| random.chance(*share));
            late += u64::from(delayed.is_some());
            due.push((now + after + delayed.map_or(Duration::ZERO, |(_, by)| by), bytes));
        }
        let returned = due.len() as u64;
        if random.chance(self.weather.forged) {
            due.extend(forge(bytes, random).into_iter().map(|bytes| (now, bytes)));
        }
        far.counts.returned += returned;
        far.counts.late += late;
        far.counts.forged += due.len() as u64 - returned;
        drop(far);
        for (at, bytes) in due {
            self.next += 1;
            self.due.insert((at, self.next), bytes);
        }
    }

    fn carry(&mut self, world: &mut World, now: Instant, bytes: &[u8]) -> Vec<Delivery> {
        let Ok(packet) = Packet::parse(bytes, Checksums::Verify) else { return Vec::new() };
        let Body::Tcp(segment) = packet.body else { return world.carry(now, &self.place, bytes) };
        let flow = (segment.source_port, packet.dest, segment.dest_port);
        if segment.flags.syn() {
            let back = world.carry(now, &self.place, bytes);
            if back.iter().any(|delivery| accepts(&delivery.bytes)) {
                self.talks.insert(flow, segment.seq.wrapping_add(1));
                self.greeted.remove(&flow);
            }
            return back;
        }
        let Some(next) = self.talks.get_mut(&flow) else {
            return world.carry(now, &self.place, bytes);
        };
        // A reset that our kernel sends to a forgery fits into no connection (RFC 9293 3.10.7.4).
        if segment.flags.rst() && segment.seq != *next {
            return Vec::new();
        }
        if segment.flags.rst() || segment.flags.fin() {
            self.talks.remove(&flow);
            return world.carry(now, &self.place, bytes);
        }
        let length = u32::try_from(segment.payload.len()).unwrap_or_default();
        *next = segment.seq.wrapping_add(length);
        let greets = segment.dest_port == SSH && self.greeted.insert(flow);
        if segment.payload.is_empty() && !greets {
            return Vec::new();
        }
        world.carry_said(now, &self.place, bytes)
    }

    /// Writes what is due to the node.
    fn give(&mut self) -> std::io::Result<()> {
        let now = self.now();
        while let Some(entry) = self.due.first_entry().filter(|entry| entry.key().0 <= now) {
            match self.device.write(&entry.remove()) {
                Ok(_) => {}
                // The kernel takes no more at the moment, or nothing of this kind: so do routers.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::InvalidInput => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn accepts(bytes: &[u8]) -> bool {
    let packet = Packet::parse(bytes, Checksums::Verify);
    packet.is_ok_and(|packet| match packet.body {
        Body::Tcp(segment) => segment.flags.syn() && segment.flags.ack(),
        _ => false,
    })
}
