//! Bursts of the mass sweep's probes: few calls, no allocation and no hashing per probe.
//!
//! The sweep probes the same destinations again and again, so source address and way out of each
//! are remembered by the sweep's row. They hold until the kernel tells of a change of
//! links, addresses, routes or rules (a new epoch: all rows are asked anew when their next probe
//! is due), or for about a minute.
//!
//! [`Means::Raw`] leaves everything to the kernel. [`Means::Packet`] hands frames to the device:
//! faster, but past the OUTPUT hooks of netfilter (our own firewall neither stops nor counts these
//! probes), past IPsec policies and past cgroup filters. Next hops come from the kernel's tables,
//! and every 15 s a packet for each goes through the kernel, which then verifies its neighbour.
//! `PACKET_QDISC_BYPASS` stays off: the capture ring would not see the packets leave.

mod journal;
mod netlink;
mod routes;
mod slots;
mod template;

use std::io;
use std::net::IpAddr;

use reachd_core::evidence::LocalError;
use reachd_core::monitor::{Flight, SendOrder};
use reachd_core::time::Instant;
use reachd_core::vantage::Means;
use socket2::{Domain, Socket, Type};

use crate::clock::Clock;
use crate::errno;
use crate::sys::batch::{BATCH_MAX, Batch, To};
use crate::sys::{self};
use crate::vantage::{Place, SourceAsker, open_raw};
pub(crate) use journal::Journal;
use netlink::{Neighbours, News, Watch};
use routes::Routes;
use slots::{Slots, Way};
use template::Templates;

/// Room for several bursts in a socket; a small packet counts for about 800 bytes.
const SEND_BUFFER: libc::c_int = 4 << 20;

/// Routes asked for in one burst, at about 13 us each. Without a limit a change of routes would
/// make every burst of the next interval three times as dear; with it the rows that are left over
/// go by the raw socket until it is their turn.
const QUESTIONS_PER_BURST: usize = 16;

/// Sends the sweep's probes from one vantage.
#[derive(Debug)]
pub struct Transmit {
    asker: SourceAsker,
    /// A vantage bound to a source uses that; no question is needed.
    place: Place,
    templates: Templates,
    slots: Slots,
    watch: Watch,
    epoch: u32,
    raw_v4: Lane,
    raw_v6: Lane,
    frames: Option<Frames>,
    /// What a lane refused, by index in the burst.
    refused: Vec<(usize, io::Error)>,
    /// What left, where nobody sees it leave.
    journal: Option<Journal>,
}

/// What [`Means::Packet`] needs besides.
#[derive(Debug)]
struct Frames {
    routes: Routes,
    /// Routes that this burst may still ask for.
    questions_left: usize,
    lane: Lane,
}

/// One socket and what is about to leave through it.
#[derive(Debug)]
struct Lane {
    socket: Option<Socket>,
    batch: Batch,
    /// The index in the burst of each packet of the batch.
    indices: Vec<usize>,
}

impl Transmit {
    /// Opens the sockets; the caller is inside the place's namespace.
    ///
    /// # Errors
    ///
    /// When a socket cannot be had, for lack of `CAP_NET_RAW` above all.
    pub fn open_inside(place: &Place, means: Means) -> io::Result<Self> {
        let mut raw = open_raw(place)?.into_iter();
        let (raw_v4, raw_v6) = (raw.next().flatten(), raw.next().flatten());
        let (frames, neighbours) = match means {
            Means::Raw => (None, Neighbours::Ignored),
            Means::Packet => {
                let lane = Lane::new(Some(open_packet(place)?));
                let routes = Routes::open_inside(place)?;
                (Some(Frames { routes, questions_left: 0, lane }), Neighbours::Heard)
            }
        };
        Ok(Self {
            asker: SourceAsker::open_inside(place)?,
            place: place.clone(),
            templates: Templates::new(),
            slots: Slots::default(),
            watch: Watch::open_inside(neighbours)?,
            epoch: 0,
            raw_v4: Lane::new(raw_v4),
            raw_v6: Lane::new(raw_v6),
            frames,
            refused: Vec::with_capacity(BATCH_MAX),
            journal: None,
        })
    }

    /// Writes down what leaves from now on.
    pub(crate) fn keep_journal(&mut self, clock: &Clock) {
        self.journal = Some(Journal::new(clock));
    }

    /// What has left, if it is written down.
    pub(crate) const fn journal(&mut self) -> Option<&mut Journal> {
        self.journal.as_mut()
    }

    /// The sockets that packets leave by.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = &Socket> + Clone {
        let frames = self.frames.as_ref().map(|frames| &frames.lane);
        let lanes = [&self.raw_v4, &self.raw_v6].into_iter().chain(frames);
        lanes.filter_map(|lane| lane.socket.as_ref())
    }

    /// Sends these, and adds to `failed` what our own side refused: index in `orders`, and why.
    ///
    /// Packets of one family and one way out keep their order.
    pub fn send(
        &mut self,
        orders: &[SendOrder],
        now: Instant,
        failed: &mut Vec<(usize, LocalError)>,
    ) {
        // One call a burst, so that no probe leaves by what is no longer so.
        self.hear_news(now);
        for (turn, burst) in orders.chunks(BATCH_MAX).enumerate() {
            let before = failed.len();
            self.send_burst(burst, now, failed);
            failed.iter_mut().skip(before).for_each(|(index, _)| *index += turn * BATCH_MAX);
        }
    }

    /// Takes the kernel's news into account; gives the epoch, which changes when the ways or the
    /// source addresses may have.
    pub fn hear_news(&mut self, now: Instant) -> u32 {
        let mut is_changed = false;
        let Self { watch, frames, .. } = self;
        watch.read(|news| match (news, frames.as_mut()) {
            (News::Routes | News::Lost, _) => is_changed = true,
            (News::Neighbour(neighbour), Some(frames)) => frames.routes.hear(&neighbour, now),
            (News::Neighbour(_), None) => {}
        });
        if is_changed {
            self.epoch = self.epoch.wrapping_add(1);
            if let Some(frames) = &mut self.frames {
                frames.routes.clear();
            }
        }
        self.epoch
    }

    fn send_burst(
        &mut self,
        burst: &[SendOrder],
        now: Instant,
        failed: &mut Vec<(usize, LocalError)>,
    ) {
        if let Some(frames) = &mut self.frames {
            frames.questions_left = QUESTIONS_PER_BURST;
        }
        for (index, order) in burst.iter().enumerate() {
            if let Err(error) = self.queue(index, order, now) {
                failed.push((index, error));
            }
        }
        self.send_frames(burst, failed);
        let Self { raw_v4, raw_v6, refused, journal, .. } = self;
        raw_v4.send(journal, refused);
        raw_v6.send(journal, refused);
        let mut refused = std::mem::take(&mut self.refused);
        for (index, error) in refused.drain(..) {
            let Some(order) = burst.get(index) else { continue };
            failed.push((index, self.explain(order, &error)));
        }
        self.refused = refused;
    }

    /// What the errno of sending an order means.
    fn explain(&mut self, order: &SendOrder, error: &io::Error) -> LocalError {
        let error = errno::of_send(error);
        if error == LocalError::Exhausted {
            return error;
        }
        // Whatever was believed of the route led here. If it is the route that changed, asking
        // tells more: sending says EHOSTUNREACH for an `unreachable` route too.
        self.slots.forget(slot(order));
        self.asker.ask(order.to).err().unwrap_or(error)
    }

    /// Puts an order into the lane of its way.
    fn queue(&mut self, index: usize, order: &SendOrder, now: Instant) -> Result<(), LocalError> {
        let (source, way) = self.way(order, now)?;
        if let (Way::Hop(hop), Some(frames)) = (way, &mut self.frames)
            && let Some(to) = frames.routes.aim(hop, order.to.is_ipv6(), now)
        {
            return frames.lane.push(index, to, &self.templates, order, source);
        }
        self.queue_raw(index, order, source)
    }

    fn queue_raw(
        &mut self,
        index: usize,
        order: &SendOrder,
        source: IpAddr,
    ) -> Result<(), LocalError> {
        let lane = if order.to.is_ipv4() { &mut self.raw_v4 } else { &mut self.raw_v6 };
        lane.push(index, To::Ip(order.to), &self.templates, order, source)
    }

    /// Sends the frames. What their device refuses goes to the kernel instead, which either knows
    /// better or says why.
    fn send_frames(&mut self, burst: &[SendOrder], failed: &mut Vec<(usize, LocalError)>) {
        let Some(frames) = &mut self.frames else { return };
        let mut refused = std::mem::take(&mut self.refused);
        frames.lane.send(&mut self.journal, &mut refused);
        for (index, error) in refused.drain(..) {
            let error = errno::of_send(&error);
            let Some(order) = burst.get(index) else { continue };
            if error == LocalError::Exhausted {
                failed.push((index, error));
                continue;
            }
            self.slots.forget(slot(order));
            let source = self.source(order.to);
            if let Err(error) = source.and_then(|source| self.queue_raw(index, order, source)) {
                failed.push((index, error));
            }
        }
        self.refused = refused;
    }

    /// The source address of an order and its way, or the local fact that forbids it.
    fn way(&mut self, order: &SendOrder, now: Instant) -> Result<(IpAddr, Way), LocalError> {
        let slot = slot(order);
        if let Some(known) = self.slots.get(slot, order.to, self.epoch, now) {
            return Ok(known);
        }
        let source = self.source(order.to)?;
        let way = match &mut self.frames {
            None => Way::Raw,
            Some(frames) => {
                let Some(left) = frames.questions_left.checked_sub(1) else {
                    // Not remembered: the next burst asks.
                    return Ok((source, Way::Raw));
                };
                frames.questions_left = left;
                frames.routes.find(order.to, now)
            }
        };
        self.slots.set((slot, order.to), self.epoch, now, (source, way));
        Ok((source, way))
    }

    /// The source address toward a destination, or the local fact that forbids one.
    fn source(&self, dest: IpAddr) -> Result<IpAddr, LocalError> {
        match self.place.source() {
            Some(source) if self.place.serves(dest) => Ok(source),
            Some(_) => Err(LocalError::NoRoute),
            None => self.asker.ask(dest),
        }
    }
}

impl Lane {
    fn new(socket: Option<Socket>) -> Self {
        if let Some(socket) = &socket {
            enlarge(socket);
        }
        Self { socket, batch: Batch::new(), indices: Vec::with_capacity(BATCH_MAX) }
    }

    fn push(
        &mut self,
        index: usize,
        to: To,
        templates: &Templates,
        order: &SendOrder,
        source: IpAddr,
    ) -> Result<(), LocalError> {
        if self.socket.is_none() {
            return Err(LocalError::NoRoute);
        }
        if !self.batch.push(to, |room| templates.write(order, source, room)) {
            return Err(LocalError::Other(libc::EAFNOSUPPORT));
        }
        self.indices.push(index);
        Ok(())
    }

    /// Sends all that was pushed.
    fn send(&mut self, journal: &mut Option<Journal>, refused: &mut Vec<(usize, io::Error)>) {
        let Self { socket, batch, indices } = self;
        if let Some(socket) = socket
            && !indices.is_empty()
        {
            batch.send(socket, journal, |at, error| {
                if let Some(index) = indices.get(at) {
                    refused.push((*index, error));
                }
            });
        }
        indices.clear();
    }
}

/// The sweep's row of an order; a survey's order, which does not come here, has none.
fn slot(order: &SendOrder) -> usize {
    match order.flight {
        Flight::Sweep(token) => usize::try_from(token.slot()).unwrap_or(0),
        Flight::Survey(_) => 0,
    }
}

/// A packet socket that only sends: protocol 0 receives nothing.
fn open_packet(place: &Place) -> io::Result<Socket> {
    let socket = Socket::new(Domain::PACKET, Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    if let Some(mark) = place.mark() {
        socket.set_mark(mark)?;
    }
    Ok(socket)
}

/// Makes room for bursts as far as we may; with the default room only a burst or two fit.
fn enlarge(socket: &Socket) {
    let level = libc::SOL_SOCKET;
    if sys::set_int(socket, level, libc::SO_SNDBUFFORCE, SEND_BUFFER).is_err() {
        let _ = sys::set_int(socket, level, libc::SO_SNDBUF, SEND_BUFFER);
    }
}

#[cfg(test)]
mod tests;
