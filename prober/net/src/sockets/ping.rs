//! ICMP echo over ping sockets (`SOCK_DGRAM`, `IPPROTO_ICMP`), which need no capability where
//! `net.ipv4.ping_group_range` allows them.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use reachd_core::evidence::{Answer, LocalError};
use reachd_core::monitor::{Flight, SendOrder};
use reachd_core::plan::LISTEN_TIMER;
use reachd_core::time::{Instant, Stamp, StampSource};
use socket2::{Protocol, Socket, Type};

use super::Fate;
use crate::clock::Clock;
use crate::errno;
use crate::errqueue::{self, Fault};
use crate::sys::message;
use crate::sys::{self, FamilyOptions, Interest};
use crate::vantage::{FAMILIES, Place};

/// Echoes waited for at most.
const PENDING_MAX: usize = 65_536;
/// Datagrams read in one go, so that one busy socket does not starve the engine.
const BATCH: usize = 1_024;
/// ICMP header of an echo: type, code, checksum, identifier, sequence number.
pub(super) const HEADER_LEN: usize = 8;
const ECHO_V4: u8 = 8;
const ECHO_V6: u8 = 128;
const REPLY_V4: u8 = 0;
const REPLY_V6: u8 = 129;

/// An echo without an answer so far.
#[derive(Debug)]
struct Pending {
    flight: Flight,
    payload: [u8; 24],
    sent: Instant,
}

/// The ping sockets of one vantage, IPv4 first, and what they wait for.
#[derive(Debug)]
pub(super) struct Pings {
    sockets: Vec<Result<Socket, LocalError>>,
    pending: HashMap<(IpAddr, u16), Vec<Pending>>,
    count: usize,
    swept: Instant,
}

impl Pings {
    /// Opens both sockets; the caller is in the place's namespace.
    pub(super) fn open_inside(place: &Place) -> io::Result<Self> {
        let open = |family| open_one(place, family).map_err(|error| errno::of_open(&error));
        let sockets = FAMILIES.into_iter().map(open).collect();
        Ok(Self { sockets, pending: HashMap::new(), count: 0, swept: Instant::ZERO })
    }

    pub(super) fn interests(&self) -> impl Iterator<Item = Interest<'_>> {
        let open = self.sockets.iter().filter_map(|socket| socket.as_ref().ok());
        open.map(|socket| Interest { fd: socket.as_fd(), events: libc::POLLIN })
    }

    /// Sends an echo whose data is this payload, filled up with zeros to `length`.
    pub(super) fn send(
        &mut self,
        order: &SendOrder,
        (seq, payload, length): (u16, &[u8; 24], usize),
        clock: &Clock,
    ) -> Result<(), LocalError> {
        if self.count >= PENDING_MAX {
            return Err(LocalError::Exhausted);
        }
        let socket = match self.sockets.get(usize::from(order.to.is_ipv6())) {
            Some(Ok(socket)) => socket,
            Some(Err(error)) => return Err(*error),
            None => return Err(LocalError::NoRoute),
        };
        let ty = if order.to.is_ipv4() { ECHO_V4 } else { ECHO_V6 };
        let [seq_high, seq_low] = seq.to_be_bytes();
        let mut packet = vec![ty, 0, 0, 0, 0, 0, seq_high, seq_low];
        packet.extend_from_slice(payload);
        packet.resize(packet.len().max(HEADER_LEN + length), 0);
        let to = SocketAddr::new(order.to, 0);
        let sent = clock.now();
        let mut result = message::send_with_ttl(socket, &packet, to, order.ttl);
        if result.is_err() {
            // An ICMP error of an earlier probe makes the next send fail once, and is cleared by
            // that. An error of this send comes again.
            result = message::send_with_ttl(socket, &packet, to, order.ttl);
        }
        result.map_err(|error| errno::of_send(&error))?;
        let pending = Pending { flight: order.flight, payload: *payload, sent };
        self.pending.entry((order.to, seq)).or_default().push(pending);
        self.count += 1;
        Ok(())
    }

    pub(super) fn read(&mut self, clock: &Clock, fates: &mut Vec<(Fate, IpAddr)>) {
        for index in 0..self.sockets.len() {
            for _ in 0..BATCH {
                let Some(Ok(socket)) = self.sockets.get(index) else { break };
                let Some(heard) = hear(socket, clock) else { break };
                if let Some(back) = heard.read() {
                    fates.extend(self.settle(&back, heard.at));
                }
            }
        }
        self.sweep(clock.now());
    }

    /// Finds the probe an answer belongs to: by its payload, or where an error quotes none of
    /// it, by destination and sequence number if only one waits there.
    fn settle(&mut self, back: &Back<'_>, at: Stamp) -> Option<(Fate, IpAddr)> {
        let Back { answer, peer, seq, data } = *back;
        let waiting = self.pending.get_mut(&(peer, seq))?;
        let found = match (answer, data.len()) {
            (Answer::Icmp(_), 0..24) => (waiting.len() == 1).then_some(0),
            _ => waiting.iter().position(|one| data.get(..24) == Some(one.payload.as_slice())),
        };
        let one = waiting.swap_remove(found?);
        if waiting.is_empty() {
            self.pending.remove(&(peer, seq));
        }
        self.count -= 1;
        let sent = Some(Stamp { at: one.sent, source: StampSource::User });
        Some((Fate::Answered { flight: one.flight, sent, answer, at }, peer))
    }

    /// Forgets what is no longer listened for.
    fn sweep(&mut self, now: Instant) {
        if now.since(self.swept) < LISTEN_TIMER / 10 {
            return;
        }
        self.swept = now;
        self.pending.retain(|_, waiting| {
            waiting.retain(|one| now.since(one.sent) < LISTEN_TIMER);
            !waiting.is_empty()
        });
        self.count = self.pending.values().map(Vec::len).sum();
    }
}

fn open_one(place: &Place, family: IpAddr) -> io::Result<Socket> {
    let protocol = if family.is_ipv4() { Protocol::ICMPV4 } else { Protocol::ICMPV6 };
    let socket = place.socket_inside(family, Type::DGRAM, Some(protocol))?;
    let options = FamilyOptions::of(family);
    options.queue_errors(&socket)?;
    options.tell_ttl(&socket)?;
    options.probe_sizes(&socket)?;
    sys::set_int(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
    // The default holds about 270 answers; a smaller buffer than asked for is no error.
    socket.set_recv_buffer_size(4 * 1_024 * 1_024)?;
    if place.serves(family) {
        place.bind_source(&socket)?;
    }
    Ok(socket)
}

/// Something a ping socket heard: an answer, or an error with the quoted echo.
struct Heard {
    bytes: [u8; 128],
    length: usize,
    peer: Option<IpAddr>,
    ttl: Option<u8>,
    fault: Option<Fault>,
    at: Stamp,
}

/// Reads the error queue first, then the data; `None` when both are empty.
fn hear(socket: &Socket, clock: &Clock) -> Option<Heard> {
    let mut bytes = [0; 128];
    let stamp = |stamp: Option<u64>| match stamp {
        Some(nanos) => Stamp { at: clock.of_wall(nanos), source: StampSource::Kernel },
        None => Stamp { at: clock.now(), source: StampSource::User },
    };
    if let Ok(Some(entry)) = errqueue::next(socket, &mut bytes) {
        return Some(Heard {
            bytes,
            length: entry.length,
            peer: entry.dest.map(|dest| dest.ip()),
            ttl: None,
            fault: Some(entry.fault),
            at: stamp(entry.stamp),
        });
    }
    // A pending socket error is given once in place of data; the next read gives the data.
    let received = message::receive(socket, &mut bytes, false)
        .or_else(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Err(error),
            _ => message::receive(socket, &mut bytes, false),
        })
        .ok()?;
    Some(Heard {
        bytes,
        length: received.length,
        peer: received.peer.map(|peer| peer.ip()),
        ttl: received.ttl,
        fault: None,
        at: stamp(received.stamp),
    })
}

/// What came back of an echo.
struct Back<'a> {
    answer: Answer,
    peer: IpAddr,
    seq: u16,
    data: &'a [u8],
}

impl Heard {
    /// What it brings back, if it is an answer to an echo.
    fn read(&self) -> Option<Back<'_>> {
        let message = self.bytes.get(..self.length.min(self.bytes.len()))?;
        let peer = self.peer?;
        let ty = *message.first()?;
        let seq = u16::from_be_bytes(*message.get(6..)?.first_chunk()?);
        let data = message.get(HEADER_LEN..)?;
        let answer = match self.fault {
            Some(Fault::Icmp(icmp)) => Answer::Icmp(icmp),
            // What our kernel says of itself came with the errno of the send already.
            Some(Fault::Local(_)) => return None,
            None => {
                let reply = if peer.is_ipv4() { REPLY_V4 } else { REPLY_V6 };
                if ty != reply {
                    return None;
                }
                Answer::EchoReply { ttl: self.ttl }
            }
        };
        Some(Back { answer, peer, seq, data })
    }
}
