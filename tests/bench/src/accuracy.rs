//! Whether reported round trips are true.
//!
//! Three independent clocks are held against the prober's. The *witness* is a packet socket on the
//! prober's wire that stamps a sixteenth of all echoes, request and reply. The *reference* is a
//! slow prober of our own whose requests are stamped by its socket's error queue; run under the
//! witness, it shows that the witness can be believed (the error queue stamps in the driver, about
//! a microsecond after the witness). The *TUN peer* is no kernel at all: a program that delays each
//! reply by a known time and logs when it read the request and wrote the reply.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read as _, Write as _};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};

use crate::measured::Measured;
use crate::null::Begun;
use crate::packet::{self, Seen};
use crate::stage::Stage;
use crate::{part, stats, sys};

/// What the reference prober does.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Load {
    /// How many targets, each asked once in turn.
    pub(crate) targets: u32,
    /// Probes a second.
    pub(crate) rate: f64,
    /// For how long.
    pub(crate) seconds: f64,
}

/// What the witness watches: it ends when its standard input does.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Watch {
    /// Targets whose index is a multiple of this, a power of two up to 256, are watched.
    pub(crate) every: u32,
}

/// What the TUN peer does: it ends when its standard input does.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Tun {
    /// The shortest delay, which every fourth target has; the others have two to four times it.
    pub(crate) delay: Duration,
}

/// How far reported round trips are from the truth, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Errors {
    /// How many were compared.
    pub(crate) count: usize,
    /// Error (reported minus true), first percentile.
    pub(crate) p1: f64,
    /// Median error.
    pub(crate) p50: f64,
    /// Size of the error, whatever its sign, 99th percentile.
    pub(crate) size_p99: f64,
    /// Largest size of the error.
    pub(crate) size_max: f64,
}

/// Compares reported round trips with true ones, by key; `None` if no key is in both.
///
/// A key that came more often on one side than on the other is left out, for nobody can say which
/// one of them belongs to which.
pub(crate) fn compare(reported: &[(u32, Duration)], truth: &[(u32, Duration)]) -> Option<Errors> {
    let (reported, truth) = (by_key(reported), by_key(truth));
    let micros = |time: &Duration| time.as_secs_f64() * 1e6;
    let mut errors = Vec::new();
    for (key, times) in &reported {
        if let Some(true_times) = truth.get(key).filter(|other| other.len() == times.len()) {
            let pairs = times.iter().zip(true_times);
            errors.extend(pairs.map(|(reported, truth)| micros(reported) - micros(truth)));
        }
    }
    let sizes: Vec<f64> = errors.iter().map(|error| error.abs()).collect();
    Some(Errors {
        count: errors.len(),
        p1: stats::percentile(&errors, 0.01)?,
        p50: stats::percentile(&errors, 0.5)?,
        size_p99: stats::percentile(&sizes, 0.99)?,
        size_max: stats::percentile(&sizes, 1.0)?,
    })
}

fn by_key(times: &[(u32, Duration)]) -> BTreeMap<u32, Vec<Duration>> {
    let mut map = BTreeMap::<u32, Vec<Duration>>::new();
    for &(key, time) in times {
        map.entry(key).or_default().push(time);
    }
    map
}

/// Runs the reference prober: one packet a call, departure by the error queue, arrival by the
/// socket, both stamped by the kernel.
pub(crate) fn reference(load: &Load) -> Result<Measured> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))
        .context("open a raw ICMP socket")?;
    socket.set_nonblocking(true)?;
    sys::widen(&socket, RECEIVE_BUFFER).context("widen the receive buffer")?;
    sys::set_option(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, &sys::send_flags())
        .context("ask for stamps")?;
    let mut stamps = Stamps::default();
    let (mut measured, begun) = (Measured::default(), Begun::now()?);
    loop {
        let elapsed = begun.at.elapsed().as_secs_f64();
        let due = (elapsed.min(load.seconds) * load.rate) as u64;
        while measured.sent < due {
            let index = u32::try_from(measured.sent % u64::from(load.targets))?;
            let request = packet::echo(IDENTIFIER, measured.sent as u16);
            socket
                .send_to(
                    &request,
                    &SockAddr::from(std::net::SocketAddr::from((Stage::target(index), 0))),
                )
                .context("send an echo")?;
            stamps.keys.push(index);
            measured.sent += 1;
            stamps.take(&socket)?;
        }
        stamps.take(&socket)?;
        if elapsed >= load.seconds + LINGER.as_secs_f64() {
            break;
        }
        thread::sleep(TICK);
    }
    begun.finish(&mut measured)?;
    measured.rtts = stamps.round_trips();
    measured.received = measured.rtts.len() as u64;
    measured.lost = measured.sent - measured.received;
    Ok(measured)
}

/// The stamps of the reference prober's packets.
#[derive(Default)]
struct Stamps {
    /// The target of each packet sent, in order.
    keys: Vec<u32>,
    departed: BTreeMap<u32, Vec<Duration>>,
    arrived: BTreeMap<u32, Vec<Duration>>,
}

impl Stamps {
    fn take(&mut self, socket: &Socket) -> Result<()> {
        let mut buffer = [0; 128];
        while let Some(stamped) = sys::receive_stamped(socket, &mut buffer, libc::MSG_ERRQUEUE)? {
            let key = stamped.number.and_then(|number| self.keys.get(number as usize));
            if let (Some(&key), Some(at)) = (key, stamped.at) {
                self.departed.entry(key).or_default().push(at);
            }
        }
        while let Some(stamped) = sys::receive_stamped(socket, &mut buffer, 0)? {
            let seen = packet::read(&buffer[..stamped.length]);
            if let (Some(Seen::Reply(target)), Some(at)) = (seen, stamped.at)
                && let Some(key) = Stage::index(target)
            {
                self.arrived.entry(key).or_default().push(at);
            }
        }
        Ok(())
    }

    fn round_trips(&self) -> Vec<(u32, Duration)> {
        let of_key = |(key, departed): (&u32, &Vec<Duration>)| {
            let arrived = self.arrived.get(key).filter(|arrived| arrived.len() == departed.len());
            let pairs = arrived.into_iter().flatten().zip(departed);
            let key = *key;
            pairs.map(move |(back, out)| (key, back.saturating_sub(*out))).collect::<Vec<_>>()
        };
        self.departed.iter().flat_map(of_key).collect()
    }
}

/// Watches the prober's wire until told to end.
pub(crate) fn witness(stage: &Stage, watch: &Watch) -> Result<Measured> {
    ensure!(watch.every.is_power_of_two() && watch.every <= 256, "a power of two up to 256");
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, None).context("open a packet socket")?;
    socket.attach_filter(&filter(watch.every - 1)).context("attach the filter")?;
    sys::widen(&socket, RECEIVE_BUFFER).context("widen the receive buffer")?;
    sys::set_option(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, &1_i32)
        .context("ask for stamps")?;
    sys::bind_packet(&socket, stage.interface).context("bind to the wire")?;
    part::ready()?;
    let mut departed = BTreeMap::<u32, Duration>::new();
    let mut measured = Measured::default();
    let mut buffer = [0; 128];
    loop {
        let over = part::is_over();
        while let Some(stamped) = sys::receive_stamped(&socket, &mut buffer, 0)? {
            let seen = packet::read(&buffer[..stamped.length]);
            let (Some(at), Some(seen)) = (stamped.at, seen) else { continue };
            match (seen, stamped.is_outgoing) {
                (Seen::Request(target), true) => {
                    measured.sent += 1;
                    departed.extend(Stage::index(target).map(|key| (key, at)));
                }
                (Seen::Reply(target), false) => {
                    let key = Stage::index(target);
                    let out = key.and_then(|key| departed.remove(&key));
                    if let (Some(key), Some(out)) = (key, out) {
                        measured.received += 1;
                        measured.rtts.push((key, at.saturating_sub(out)));
                    }
                }
                (Seen::Request(_), false) | (Seen::Reply(_), true) => {}
            }
        }
        if over {
            return Ok(measured);
        }
        thread::sleep(TICK);
    }
}

/// Lets through requests to, and replies from, targets whose last octet has none of the bits of
/// the mask. The packet begins with its IPv4 header, which has no options here.
fn filter(mask: u32) -> [SockFilter; 12] {
    const LOAD: u16 = 0x30;
    const JUMP_IF: u16 = 0x15;
    const JUMP: u16 = 0x05;
    const AND: u16 = 0x54;
    const RETURN: u16 = 0x06;
    let line = |code, jt, jf, k| SockFilter::new(code, jt, jf, k);
    [
        line(LOAD, 0, 0, 9),
        line(JUMP_IF, 0, 8, 1),
        line(LOAD, 0, 0, 20),
        // A request: the destination tells; the jump skips the reply's two lines.
        line(JUMP_IF, 0, 2, 8),
        line(LOAD, 0, 0, 19),
        line(JUMP, 0, 0, 2),
        line(JUMP_IF, 0, 3, 0),
        line(LOAD, 0, 0, 15),
        line(AND, 0, 0, mask),
        line(JUMP_IF, 1, 0, 0),
        line(RETURN, 0, 0, 0),
        line(RETURN, 0, 0, 256),
    ]
}

/// Answers behind a TUN device until told to end, and gives the time each packet was held.
///
/// It spins: a program that sleeps wakes up too late to know when a packet came.
pub(crate) fn tun(tun: &Tun) -> Result<Measured> {
    let mut device = sys::open_tun(TUN_DEVICE).context("make a TUN device")?;
    for line in TUN_ROUTES {
        let status = Command::new("ip").args(line.split(' ')).status().context("start ip")?;
        ensure!(status.success(), "ip {line}: {status}");
    }
    part::ready()?;
    let mut held: [VecDeque<Held>; DELAYS] = Default::default();
    let mut measured = Measured::default();
    let mut buffer = [0; 256];
    for turn in 0_u32.. {
        if let Ok(length) = device.read(&mut buffer) {
            let came = Instant::now();
            if let Some(Seen::Request(target)) = packet::read(&buffer[..length])
                && let Some(key) = Stage::index(target)
            {
                let queue = key as usize % DELAYS;
                let due = came + tun.delay * (queue as u32 + 1);
                held[queue].push_back(Held { key, came, due, packet: buffer[..length].into() });
                measured.received += 1;
            }
        }
        for queue in &mut held {
            let Some(mut first) = queue.pop_front_if(|first| first.due <= Instant::now()) else {
                continue;
            };
            packet::answer(&mut first.packet);
            measured.rtts.push((first.key, first.came.elapsed()));
            device.write_all(&first.packet).context("write a reply to the TUN device")?;
            measured.sent += 1;
        }
        // Asking costs a call, which would delay what is measured.
        if turn % 4_096 == 0 && part::is_over() && held.iter().all(VecDeque::is_empty) {
            break;
        }
    }
    Ok(measured)
}

/// A request that waits for its reply.
struct Held {
    key: u32,
    came: Instant,
    due: Instant,
    packet: Vec<u8>,
}

/// How many delays there are.
const DELAYS: usize = 4;

const TUN_DEVICE: &str = "tun0";

/// More specific than the stage's own route, and gone with the device.
const TUN_ROUTES: [&str; 3] = [
    "link set tun0 up",
    "route add 10.64.0.0/11 dev tun0 src 10.9.0.1",
    "route add 10.96.0.0/11 dev tun0 src 10.9.0.1",
];

const RECEIVE_BUFFER: libc::c_int = 32 << 20;
const IDENTIFIER: u16 = 0x7266;
const TICK: Duration = Duration::from_micros(500);
const LINGER: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::compare;

    const fn time(key: u32, micros: u64) -> (u32, Duration) {
        (key, Duration::from_micros(micros))
    }

    #[test]
    fn errors_are_reported_minus_true_by_key() {
        let reported = [time(1, 30), time(2, 38), time(3, 55)];
        let truth = [time(3, 50), time(2, 40), time(1, 20), time(4, 1)];
        let errors = compare(&reported, &truth).unwrap();
        assert_eq!(errors.count, 3);
        let near = |value: f64, expected: f64| (value - expected).abs() < 1e-6;
        assert!(near(errors.p1, -2.0) && near(errors.p50, 5.0), "{errors:?}");
        assert!(near(errors.size_p99, 10.0) && near(errors.size_max, 10.0), "{errors:?}");
    }

    #[test]
    fn keys_seen_unequally_often_are_not_compared() {
        let reported = [time(1, 30), time(1, 31), time(2, 9)];
        assert_eq!(compare(&reported, &[time(1, 30), time(2, 9)]).unwrap().count, 1);
        assert_eq!(compare(&reported, &[time(1, 30)]), None);
    }
}
