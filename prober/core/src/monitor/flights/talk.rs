//! Talks: what the ring sees of full connections, whose packets the kernel writes.
//!
//! A socket tells that a connection was ended, not by whom. The ring sees the segment that ended
//! it, with its hop limit and its moment. What is noted must fit the connection as its peer knows
//! it: an acceptance has to acknowledge our own SYN, and an end has to carry the very next number,
//! which is also all that the kernel believes (RFC 5961 section 3.2).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::FIRST_PORT;
use crate::evidence::{Overheard, PeerEnd, TcpAnswer};
use crate::monitor::{Captured, Direction, Flight, TapId};
use crate::time::Stamp;
use crate::wire::packet::{Body, Packet};
use crate::wire::tcp::Segment;

/// Lines followed for each connection of ours: other programs of this machine may talk to the same
/// port.
const LINES: usize = 4;

/// More bytes than a full connection says before it is answered.
const ASKED_MAX: u32 = 1 << 16;

/// The ring, and to whom.
type Place = (TapId, IpAddr, u16);

/// The full connections in flight, as the ring sees them.
#[derive(Debug, Default)]
pub(super) struct Talks(BTreeMap<Place, Talk>);

/// What is said to one port, by local port.
#[derive(Debug, Default)]
struct Talk {
    ordered: BTreeSet<Flight>,
    lines: BTreeMap<u16, Line>,
}

#[derive(Debug)]
struct Line {
    /// The number of our SYN.
    isn: u32,
    /// When it left, the last time.
    dialled: Stamp,
    accepted: Option<(TcpAnswer, Stamp)>,
    /// The next number of theirs.
    expected: u32,
    /// When our first data left.
    asked: Option<Stamp>,
    /// Whether anything of it was acknowledged.
    acknowledged: bool,
    end: Option<PeerEnd>,
}

impl Talks {
    /// A connection to this place is ordered.
    pub(super) fn open(&mut self, place: Place, flight: Flight) {
        self.0.entry(place).or_default().ordered.insert(flight);
    }

    /// It is over; with the last one all that was overheard there is forgotten.
    pub(super) fn close(&mut self, place: Place, flight: Flight) {
        if let Some(talk) = self.0.get_mut(&place) {
            talk.ordered.remove(&flight);
            if talk.ordered.is_empty() {
                self.0.remove(&place);
            }
        }
    }

    /// What was overheard of an accepted connection from this local port.
    pub(super) fn overheard(&self, place: Place, local_port: u16) -> Option<Overheard> {
        let line = self.0.get(&place)?.lines.get(&local_port)?;
        let (accepted, at) = line.accepted?;
        let round_trip = at.at.since(line.dialled.at);
        let acknowledged = line.asked.map(|_| line.acknowledged);
        Some(Overheard { accepted, round_trip, end: line.end, acknowledged })
    }

    /// Takes a packet that may belong to one of them.
    pub(super) fn note(&mut self, captured: &Captured<'_>, packet: &Packet<'_>) {
        let Body::Tcp(segment) = packet.body else { return };
        match captured.direction {
            Direction::Sent => {
                let place = (captured.tap, packet.dest, segment.dest_port);
                if let Some(talk) = self.0.get_mut(&place) {
                    talk.note_sent(captured.at, &segment);
                }
            }
            Direction::Received => {
                let place = (captured.tap, packet.source, segment.source_port);
                let talk = self.0.get_mut(&place);
                let line = talk.and_then(|talk| talk.lines.get_mut(&segment.dest_port));
                if let Some(line) = line {
                    let facts = TcpAnswer {
                        ttl: Some(packet.ttl),
                        window: Some(segment.window),
                        ip_id: packet.ip_id,
                    };
                    line.note_received(captured.at, &segment, facts);
                }
            }
        }
    }
}

impl Talk {
    fn note_sent(&mut self, at: Stamp, segment: &Segment<'_>) {
        // Ports from here on are those of raw SYNs, which are probes of their own.
        if segment.source_port >= FIRST_PORT {
            return;
        }
        let room = self.lines.len() < self.ordered.len() * LINES;
        let known = self.lines.get_mut(&segment.source_port);
        if segment.flags.syn() && !segment.flags.ack() {
            match known {
                Some(line) if line.isn == segment.seq && line.accepted.is_none() => {
                    line.dialled = at;
                }
                Some(line) if line.isn == segment.seq => {}
                Some(line) => *line = Line::new(segment.seq, at),
                None if room => {
                    self.lines.insert(segment.source_port, Line::new(segment.seq, at));
                }
                None => {}
            }
        } else if let Some(line) = known.filter(|_| !segment.payload.is_empty()) {
            line.asked.get_or_insert(at);
        }
    }
}

impl Line {
    const fn new(isn: u32, dialled: Stamp) -> Self {
        Self {
            isn,
            dialled,
            accepted: None,
            expected: 0,
            asked: None,
            acknowledged: false,
            end: None,
        }
    }

    fn note_received(&mut self, at: Stamp, segment: &Segment<'_>, facts: TcpAnswer) {
        let flags = segment.flags;
        if flags.syn() {
            let ours = flags.ack() && segment.ack == self.isn.wrapping_add(1);
            if ours && self.accepted.is_none() {
                self.accepted = Some((facts, at));
                self.expected = segment.seq.wrapping_add(1);
            }
            return;
        }
        // Beyond our SYN, and not beyond all reason: whoever has the data says so.
        let beyond = segment.ack.wrapping_sub(self.isn.wrapping_add(1));
        self.acknowledged |=
            self.asked.is_some() && flags.ack() && (1..=ASKED_MAX).contains(&beyond);
        let is_next = self.accepted.is_some() && segment.seq == self.expected;
        if !is_next || self.end.is_some() {
            return;
        }
        if flags.rst() || flags.fin() {
            let after = self.asked.map(|asked| at.at.since(asked.at));
            let ttl = facts.ttl.unwrap_or_default();
            self.end = Some(PeerEnd { reset: flags.rst(), ttl, after });
            return;
        }
        let length = u32::try_from(segment.payload.len()).unwrap_or_default();
        self.expected = self.expected.wrapping_add(length);
    }
}

#[cfg(test)]
mod tests;
