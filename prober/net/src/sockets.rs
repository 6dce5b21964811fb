//! Probing without `CAP_NET_RAW`: ping sockets and connects, with their error queues.
//!
//! What cannot be known here: the hop limit of a SYN's answer, who sent a reset, and whether a
//! packet left at all. The kernel repeats a SYN after one second.

mod ping;
mod syn;

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use reachd_core::evidence::{Answer, LocalError};
use reachd_core::monitor::{Flight, ProbePacket, SendOrder};
use reachd_core::time::{Instant, Stamp};
use reachd_core::wire::{ipv4, ipv6};

use crate::clock::Clock;
use crate::errqueue::{self, Fault};
use crate::sys::Interest;
use crate::vantage::Place;
use ping::Pings;
use syn::Syns;

/// How long our own addresses are believed.
const ADDRESSES_BELIEVED_FOR: Duration = Duration::from_secs(10);

/// The fate of one probe, as a socket tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Something came.
    Answered {
        /// The probe.
        flight: Flight,
        /// When it was sent, if that is known.
        sent: Option<Stamp>,
        /// What came.
        answer: Answer,
        /// When it came.
        at: Stamp,
    },
    /// Our own side failed it.
    Failed {
        /// The probe.
        flight: Flight,
        /// Why.
        error: LocalError,
    },
}

/// The sockets of one vantage without raw sockets.
#[derive(Debug)]
pub struct Hands {
    place: Place,
    pings: Pings,
    syns: Syns,
    own: Option<(Instant, Vec<IpAddr>)>,
}

impl Hands {
    /// Opens what can be opened; a ping socket that may not be opened fails its probes only.
    pub fn open(place: &Place) -> io::Result<Self> {
        let pings = place.enter(|| Pings::open_inside(place))?;
        Ok(Self { place: place.clone(), pings, syns: Syns::default(), own: None })
    }

    /// Sends one probe.
    pub fn send(&mut self, order: &SendOrder, clock: &Clock) -> Result<(), LocalError> {
        if !self.place.serves(order.to) {
            return Err(LocalError::NoRoute);
        }
        match &order.what {
            ProbePacket::Echo { seq, payload, .. } => {
                self.pings.send(order, (*seq, payload, payload.len()), clock)
            }
            ProbePacket::SizedEcho { seq, payload, size, .. } => {
                let header = if order.to.is_ipv4() { ipv4::HEADER_LEN } else { ipv6::HEADER_LEN };
                let data = usize::from(*size).saturating_sub(header + ping::HEADER_LEN);
                self.pings.send(order, (*seq, payload, data), clock)
            }
            // No socket but a raw one sends what belongs to no connection.
            ProbePacket::Segment { .. } => Err(LocalError::NoPrivilege),
            ProbePacket::Syn { dest_port, .. } | ProbePacket::Connect { dest_port } => {
                self.syns.send(order, *dest_port, &self.place, clock)
            }
            // The kernel ends what its own sockets began.
            ProbePacket::Reset { .. } => Ok(()),
        }
    }

    /// What to wait for.
    pub(crate) fn interests(&self) -> impl Iterator<Item = Interest<'_>> {
        self.pings.interests().chain(self.syns.interests())
    }

    /// Collects every fate that is known by now and forgets what has been silent too long.
    pub fn read(&mut self, clock: &Clock, mut deliver: impl FnMut(Fate)) {
        let mut fates = Vec::new();
        self.pings.read(clock, &mut fates);
        self.syns.read(clock, &mut fates);
        for (fate, dest) in fates {
            let fate = self.attribute(fate, dest, clock.now());
            deliver(fate);
        }
    }

    /// Makes a local fact of an ICMP error that our own kernel wrote.
    fn attribute(&mut self, fate: Fate, dest: IpAddr, now: Instant) -> Fate {
        let Fate::Answered { flight, answer: Answer::Icmp(icmp), .. } = fate else {
            return fate;
        };
        let is_fresh = |at: &Instant| now.since(*at) < ADDRESSES_BELIEVED_FOR;
        if !self.own.as_ref().is_some_and(|(at, _)| is_fresh(at)) {
            self.own = Some((now, self.place.addresses().unwrap_or_default()));
        }
        let own = self.own.as_ref().map(|(_, own)| own.as_slice()).unwrap_or_default();
        match errqueue::attribute(icmp, dest, own) {
            Fault::Icmp(_) => fate,
            Fault::Local(error) => Fate::Failed { flight, error },
        }
    }
}

#[cfg(test)]
mod tests;
