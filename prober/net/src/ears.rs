//! The Ears: what stands in for the [`Tap`](crate::tap::Tap) where no capture ring can be had.
//!
//! One set of raw sockets per network namespace hears the answers, stamped by the kernel. What
//! leaves is seen on the error queues of the sending sockets (`SO_TIMESTAMPING`), which give the
//! packet back as the device got it; or, on the lowest rung, is only what the sender wrote down.
//!
//! Less is heard than a ring sees: nothing that our own INPUT chain drops, nothing that is not for
//! an address of ours, no echo request, and no packet of the kernel's own, its resets included.

mod ear;
mod frame;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use reachd_core::monitor::{Captured, Direction, TapId};
use reachd_core::time::{Instant, Stamp, StampSource};
use reachd_core::vantage::VantageId;
use socket2::Socket;

use crate::clock::Clock;
use crate::sys::catch::{Catch, HEADROOM, Queue};
use crate::sys::{self, Interest};
use crate::tap::store::{Record, Store};
use ear::{Ear, Kind};

/// Answers by one device without a single stamp of what left by it, after which no stamp is waited
/// for any more.
const MUTE_AFTER: u64 = 16;

/// Packets that leave are stamped by the driver, and come back with their data and interface.
const STAMPING: libc::c_uint = libc::SOF_TIMESTAMPING_TX_SOFTWARE
    | libc::SOF_TIMESTAMPING_SOFTWARE
    | libc::SOF_TIMESTAMPING_OPT_CMSG;

/// The size of the ears' sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EarsOptions {
    /// Bytes of each socket's receive buffer; without `CAP_NET_ADMIN` up to `net.core.rmem_max`.
    pub receive_buffer: u32,
}

impl Default for EarsOptions {
    /// Four MiB: a small packet counts for about 800 bytes.
    fn default() -> Self {
        Self { receive_buffer: 4 << 20 }
    }
}

/// A sending socket whose error queue tells what left.
#[derive(Debug)]
struct Lane {
    vantage: VantageId,
    socket: Socket,
}

/// What was heard by one device.
#[derive(Debug, Default)]
struct Device {
    /// Packets whose leaving by it an error queue told.
    stamped: u64,
    /// What came by it before the first of those.
    answers: u64,
}

/// The raw receivers of one network namespace.
#[derive(Debug)]
pub struct Ears {
    id: TapId,
    options: EarsOptions,
    ears: Vec<Ear>,
    lanes: Vec<Lane>,
    caught: Catch,
    left: Catch,
    packets: u64,
    drops: u64,
    devices: BTreeMap<u32, Device>,
}

impl Ears {
    /// Opens the sockets in the calling thread's network namespace.
    ///
    /// # Errors
    ///
    /// When a socket cannot be had, for lack of `CAP_NET_RAW` above all.
    pub fn open(id: TapId, options: EarsOptions, ports: &BTreeSet<u16>) -> io::Result<Self> {
        let mut ears = Vec::new();
        let mut caught = Catch::new();
        for kind in [Kind::IcmpV4, Kind::TcpV4, Kind::IcmpV6, Kind::TcpV6] {
            match Ear::open(kind, options.receive_buffer, ports) {
                Ok(ear) => {
                    ear.forget_unfiltered(&mut caught)?;
                    ears.push(ear);
                }
                // A kernel without IPv6.
                Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => {}
                Err(error) => return Err(error),
            }
        }
        let (left, lanes, devices) = (Catch::new(), Vec::new(), BTreeMap::new());
        Ok(Self { id, options, ears, lanes, caught, left, packets: 0, drops: 0, devices })
    }

    /// Which receiver this is.
    pub const fn id(&self) -> TapId {
        self.id
    }

    /// Listens for what leaves by these sockets of a vantage.
    ///
    /// # Errors
    ///
    /// When stamping is refused; then it is asked for on none of them.
    pub fn follow<'a>(
        &mut self,
        vantage: VantageId,
        sockets: impl Iterator<Item = &'a Socket> + Clone,
    ) -> io::Result<()> {
        let before = self.lanes.len();
        for socket in sockets.clone() {
            match stamp(socket, self.options.receive_buffer) {
                Ok(socket) => self.lanes.push(Lane { vantage, socket }),
                Err(error) => {
                    self.lanes.truncate(before);
                    for socket in sockets {
                        let _ = sys::set_int(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, 0);
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Forgets a vantage's sockets.
    pub fn unfollow(&mut self, vantage: VantageId) {
        self.lanes.retain(|lane| lane.vantage != vantage);
    }

    /// Hears TCP from and to these ports from now on; the change is atomic for each socket.
    pub fn set_ports(&self, ports: &BTreeSet<u16>) -> io::Result<()> {
        self.ears.iter().try_for_each(|ear| ear.set_ports(ports))
    }

    /// Whether answers come by a device although no error queue ever told that something left by
    /// it: its stamps cannot be had (`net.core.tstamp_allow_data`, or a driver that takes none), or
    /// answers come by another way than the probes went. Silence alone proves nothing: packets
    /// that wait for a dead gateway do not leave either.
    pub fn is_mute(&self) -> bool {
        let is_mute = |device: &Device| device.stamped == 0 && device.answers >= MUTE_AFTER;
        !self.lanes.is_empty() && self.devices.values().any(is_mute)
    }

    /// Reads some of what waits, keeps it as evidence and hands it on; `None` if nothing waits.
    ///
    /// An answer is taken off its socket before the error queues are read and is handed on after
    /// what they tell, so that no answer comes before its probe.
    pub fn read(
        &mut self,
        clock: &Clock,
        store: &mut Store,
        deliver: impl FnMut(Captured<'_>),
    ) -> Option<usize> {
        let mut sink = Sink { tap: self.id, clock, store, deliver };
        let mut total = 0;
        for at in 0..self.ears.len() {
            // A pending error is told once and concerns nobody here.
            let caught = self.caught.receive(&self.ears[at].socket, Queue::Data).unwrap_or(0);
            if caught > 0 {
                total += self.read_lanes(&mut sink) + self.hand_on(at, caught, &mut sink);
            }
        }
        if total == 0 {
            total = self.read_lanes(&mut sink);
        }
        (total > 0).then_some(total)
    }

    /// Takes a packet that its sender wrote down as seen leaving.
    pub fn note_sent(
        &mut self,
        (at, bytes): (Instant, &[u8]),
        clock: &Clock,
        store: &mut Store,
        deliver: impl FnMut(Captured<'_>),
    ) {
        let mut sink = Sink { tap: self.id, clock, store, deliver };
        self.packets += 1;
        sink.pass((Direction::Sent, 0), Stamp { at, source: StampSource::User }, bytes);
    }

    /// Packets handed on, and packets dropped for lack of room, since the ears were opened.
    ///
    /// Since Linux 6.4 the kernel looks for room before it filters, and so counts packets that we
    /// would not have heard; and it counts ICMPv6 whose checksum is wrong.
    pub fn counts(&mut self) -> io::Result<(u64, u64)> {
        for ear in &mut self.ears {
            self.drops += u64::from(ear.new_drops()?);
        }
        Ok((self.packets, self.drops))
    }

    /// What to wait for; what left is read with what comes, and before time passes.
    pub(crate) fn interests(&self) -> impl Iterator<Item = Interest<'_>> {
        self.ears.iter().map(|ear| Interest { fd: ear.socket.as_fd(), events: libc::POLLIN })
    }

    fn hand_on(
        &mut self,
        ear: usize,
        caught: usize,
        sink: &mut Sink<'_, impl FnMut(Captured<'_>)>,
    ) -> usize {
        let Some(ear) = self.ears.get(ear) else { return 0 };
        let mut count = 0;
        for at in 0..caught {
            let Some((facts, room)) = self.caught.packet(at) else { continue };
            let Some(bytes) = ear.kind.packet(&facts, room) else { continue };
            sink.pass((Direction::Received, facts.interface), sink.stamp(facts.stamp), bytes);
            let device = self.devices.entry(facts.interface).or_default();
            device.answers += u64::from(device.stamped == 0 && frame::may_answer(bytes));
            count += 1;
        }
        self.packets += count;
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    /// Empties the error queues of all followed sockets.
    fn read_lanes(&mut self, sink: &mut Sink<'_, impl FnMut(Captured<'_>)>) -> usize {
        let Self { lanes, left, devices, .. } = self;
        let mut count = 0;
        for lane in lanes {
            loop {
                let entries = left.receive(&lane.socket, Queue::Errors).unwrap_or(0);
                if entries == 0 {
                    break;
                }
                for at in 0..entries {
                    // An entry without a stamp is an error of the kernel's, not a packet.
                    let Some((facts, room)) = left.packet(at) else { continue };
                    let frame = room.get(HEADROOM..).filter(|_| facts.stamp.is_some());
                    let Some(bytes) = frame.and_then(frame::probe_in) else { continue };
                    sink.pass((Direction::Sent, facts.interface), sink.stamp(facts.stamp), bytes);
                    devices.entry(facts.interface).or_default().stamped += 1;
                    count += 1;
                }
            }
        }
        self.packets += count;
        usize::try_from(count).unwrap_or(usize::MAX)
    }
}

/// Where packets go.
struct Sink<'a, D> {
    tap: TapId,
    clock: &'a Clock,
    store: &'a mut Store,
    deliver: D,
}

impl<D: FnMut(Captured<'_>)> Sink<'_, D> {
    fn stamp(&self, stamp: Option<u64>) -> Stamp {
        match stamp {
            Some(nanos) => Stamp { at: self.clock.of_wall(nanos), source: StampSource::Kernel },
            None => Stamp { at: self.clock.now(), source: StampSource::User },
        }
    }

    fn pass(&mut self, (direction, interface): (Direction, u32), at: Stamp, bytes: &[u8]) {
        let wall = Duration::from_nanos(self.clock.wall_nanos(at.at));
        let length = frame::wire_len(bytes);
        self.store.push(Record::new(wall, self.tap, interface, direction, length), bytes);
        (self.deliver)(Captured {
            tap: self.tap,
            interface,
            direction,
            at,
            // The kernel has judged them where it could, and does not say where it could not.
            checksums_final: false,
            bytes,
        });
    }
}

/// Asks for stamps of what leaves by a socket; gives a second handle of it.
fn stamp(socket: &Socket, receive_buffer: u32) -> io::Result<Socket> {
    let clone = socket.try_clone()?;
    // What waits on the error queue counts as received.
    ear::enlarge(&clone, receive_buffer);
    // For the interface, which a packet socket does not tell; each level knows only its own.
    let _ = sys::set_int(&clone, libc::IPPROTO_IP, libc::IP_PKTINFO, 1);
    let _ = sys::set_int(&clone, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1);
    let flags = libc::c_int::try_from(STAMPING).unwrap_or(0);
    sys::set_int(&clone, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, flags)?;
    Ok(clone)
}

#[cfg(test)]
mod tests;
