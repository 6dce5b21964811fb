//! The bare kernel: what one core can do at all, with nothing of a prober around it.
//!
//! The loop sends batches by `sendmmsg` on a RAW ICMP socket and takes the replies by `recvmmsg`.
//! It counts, and that is all: no slots, no timers, no stamps, no matching. A bounded window keeps
//! the responder's queues from overflowing, as every prober that wants its answers must.
//! The transmit ceilings send and ignore what comes back, which the kernel still has to receive.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, Socket, Type};

use crate::cpu::Process;
use crate::measured::Measured;
use crate::packet;
use crate::stage::Stage;
use crate::sys::{self, Destination, Inbox, Outbox};

/// Which kernel path is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Path {
    /// RAW ICMP, sending and receiving: the null loop.
    Echo,
    /// Sending only, the IP header being ours.
    SendHeader,
    /// Sending only, the Ethernet header being ours too.
    SendPacket,
}

/// What to run.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Load {
    /// Which kernel path.
    pub(crate) path: Path,
    /// How many targets are asked in turn.
    pub(crate) targets: u32,
    /// For how long.
    pub(crate) seconds: f64,
}

/// Runs one load; the caller is in the prober's namespace, on its processor.
pub(crate) fn run(stage: &Stage, load: &Load) -> Result<Measured> {
    match load.path {
        Path::Echo => echo(load),
        Path::SendHeader | Path::SendPacket => send(stage, load),
    }
}

fn echo(load: &Load) -> Result<Measured> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))
        .context("open a raw ICMP socket")?;
    socket.set_nonblocking(true)?;
    sys::widen(&socket, RECEIVE_BUFFER).context("widen the receive buffer")?;
    // Bit n refuses type n: everything but the echo reply, which is type 0.
    sys::set_option(&socket, libc::SOL_RAW, ICMP_FILTER, &!1_u32).context("filter ICMP")?;

    let mut outbox = Outbox::new(BATCH, &packet::echo(IDENTIFIER, 0), Destination::Routed);
    let mut inbox = Inbox::new(RECEIVE_BATCH);
    let mut next = 0..load.targets;
    let (mut measured, begun) = (Measured::default(), Begun::now()?);
    let mut in_flight = 0;
    let mut last_answer = Instant::now();
    loop {
        let now = Instant::now();
        if now.duration_since(begun.at).as_secs_f64() >= load.seconds {
            break;
        }
        if in_flight + BATCH <= WINDOW {
            for index in 0..BATCH {
                outbox.address(index, Stage::target(following(&mut next, load.targets)));
            }
            let sent = outbox.send(&socket, BATCH).context("send echoes")?;
            in_flight += sent;
            measured.sent += sent as u64;
        }
        let received = inbox.receive(&socket).context("receive replies")?;
        if received > 0 {
            in_flight = in_flight.saturating_sub(received);
            measured.received += received as u64;
            last_answer = now;
        } else if in_flight + BATCH > WINDOW {
            sys::wait_readable(&socket, Duration::from_millis(1)).context("wait for replies")?;
            // What has not come by now was dropped by the responder; its window is free again.
            if last_answer.elapsed() > GIVE_UP {
                in_flight = 0;
            }
        }
    }
    begun.finish(&mut measured)?;
    std::thread::sleep(GIVE_UP);
    while let Ok(received @ 1..) = inbox.receive(&socket) {
        measured.received += received as u64;
    }
    measured.lost = measured.sent.saturating_sub(measured.received);
    Ok(measured)
}

fn send(stage: &Stage, load: &Load) -> Result<Measured> {
    let ip = packet::ip_echo(stage.source, Stage::target(0), IDENTIFIER);
    let (socket, mut outbox, offset) = if load.path == Path::SendHeader {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(libc::IPPROTO_RAW.into()))
            .context("open a raw IP socket")?;
        (socket, Outbox::new(BATCH, &ip, Destination::Routed), 0)
    } else {
        // Protocol 0 receives nothing.
        let socket =
            Socket::new(Domain::PACKET, Type::RAW, None).context("open a packet socket")?;
        let index = sys::interface_index(stage.interface).context("find the interface")?;
        let frame = packet::ethernet(stage.gateway_hardware, stage.hardware, &ip);
        (socket, Outbox::new(BATCH, &frame, Destination::Interface(index)), frame.len() - ip.len())
    };
    let mut next = 0..load.targets;
    let (mut measured, begun) = (Measured::default(), Begun::now()?);
    while begun.at.elapsed().as_secs_f64() < load.seconds {
        for index in 0..BATCH {
            let target = Stage::target(following(&mut next, load.targets));
            packet::retarget(&mut outbox.packet_mut(index)[offset..], target);
            outbox.address(index, target);
        }
        measured.sent += outbox.send(&socket, BATCH).context("send echoes")? as u64;
    }
    begun.finish(&mut measured)?;
    // Nobody listens: what was taken for sending is what counts here.
    measured.received = measured.sent;
    Ok(measured)
}

/// The moment a run began, and what the process had used by then.
pub(crate) struct Begun {
    /// When.
    pub(crate) at: Instant,
    usage: Process,
}

impl Begun {
    /// Notes the moment.
    pub(crate) fn now() -> Result<Self> {
        Ok(Self { usage: Process::ourselves()?, at: Instant::now() })
    }

    /// Writes the time and the processor time since then.
    pub(crate) fn finish(&self, measured: &mut Measured) -> Result<()> {
        measured.seconds = self.at.elapsed().as_secs_f64();
        let usage = Process::ourselves()?;
        measured.cpu_user = usage.user - self.usage.user;
        measured.cpu_sys = usage.system - self.usage.system;
        measured.rss_bytes = usage.rss;
        measured.rss_peak = usage.rss_peak;
        Ok(())
    }
}

fn following(next: &mut std::ops::Range<u32>, targets: u32) -> u32 {
    next.next().unwrap_or_else(|| {
        *next = 1..targets;
        0
    })
}

/// Gains saturate between 8 and 64 packets a call.
const BATCH: usize = 64;
const RECEIVE_BATCH: usize = 256;

/// A quarter of the default of `netdev_max_backlog`, which a window must fit in on either side. The
/// rate is the same from 128 to 900; from 512 on the responder now and then has no room.
const WINDOW: usize = 256;

/// Ten thousand times the round trip.
const GIVE_UP: Duration = Duration::from_millis(100);

const RECEIVE_BUFFER: libc::c_int = 16 << 20;
const IDENTIFIER: u16 = 0x7265;

/// `ICMP_FILTER` of linux/icmp.h, which libc does not have.
const ICMP_FILTER: libc::c_int = 1;
