//! Whose answer it is: what a packet, or a socket, says of a row's probe.

use std::net::IpAddr;
use std::time::Duration;

use super::row::Flag;
use super::token::{self, Flow, SWEEP_PORT, Token};
use super::{Sweep, What};
use crate::evidence::{
    Answer, IcmpAnswer, IcmpKind, InvalidReason, LocalError, Observation, Probe, TcpAnswer,
};
use crate::monitor::{Captured, Direction, TapId};
use crate::time::{Instant, Stamp};
use crate::wire::Family;
use crate::wire::icmp::{Icmp, IcmpError};
use crate::wire::packet::{Body, Packet};
use crate::wire::quote::{Quoted, QuotedTransport};
use crate::wire::tcp::Segment;

/// An identical answer on another interface within this time is a copy of one packet.
const COPY_WINDOW: Duration = Duration::from_millis(5);
/// IPv6 quotes are long enough (RFC 4443 2.4) to hold an echo's payload, which is keyed.
const PAYLOAD_AT_V6: usize = 40 + 8;

/// Whose a captured packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It is, or proves to answer, a probe of the sweep.
    Ours,
    /// It claims to answer one and proves nothing; it was counted.
    Doubtful,
    /// It is nothing to the sweep.
    Foreign,
}

/// A probe that was found: its row and how many probes ago it was.
#[derive(Debug, Clone, Copy)]
struct Found {
    slot: u32,
    age: u32,
    token: Token,
}

/// What was heard of probes whose row keeps no moment of it any more: a packet's copies on other
/// devices come within milliseconds, so a few places are enough.
#[derive(Debug)]
pub(super) struct Lately([Option<(Token, Instant, u32)>; LATELY]);

/// Places of [`Lately`].
const LATELY: usize = 256;

impl Default for Lately {
    fn default() -> Self {
        Self([None; LATELY])
    }
}

impl Lately {
    fn place(token: Token) -> usize {
        usize::try_from(token.slot()).unwrap_or(0) % LATELY
    }

    /// Whether this was heard just now on another device.
    fn holds_copy(&self, token: Token, at: Instant, interface: u32) -> bool {
        let known = self.0.get(Self::place(token)).copied().flatten();
        known.is_some_and(|(heard, when, on)| {
            heard == token && on != interface && at.since(when) < COPY_WINDOW
        })
    }

    fn note(&mut self, token: Token, at: Instant, interface: u32) {
        if let Some(place) = self.0.get_mut(Self::place(token)) {
            *place = Some((token, at, interface));
        }
    }
}

impl Sweep {
    /// Takes a captured packet; says whether it is about a probe of the sweep.
    pub fn handle_packet(&mut self, captured: &Captured<'_>, packet: &Packet<'_>) -> Heard {
        match captured.direction {
            Direction::Sent if self.note_sent(captured, packet) => Heard::Ours,
            Direction::Sent => Heard::Foreign,
            Direction::Received => {
                let before = self.unmatched;
                match self.note_received(captured, packet) {
                    true => Heard::Ours,
                    false if self.unmatched > before => Heard::Doubtful,
                    false => Heard::Foreign,
                }
            }
        }
    }

    fn note_sent(&mut self, captured: &Captured<'_>, packet: &Packet<'_>) -> bool {
        let to = packet.dest;
        let found = match packet.body {
            Body::Icmp(Icmp::EchoRequest { id, seq, .. }) => {
                self.find(Token::from_echo(id, seq), to, (Probe::Echo, 0), captured.tap)
            }
            Body::Tcp(segment) if segment.source_port >= SWEEP_PORT => {
                let flags = (segment.flags.syn(), segment.flags.rst(), segment.flags.ack());
                let isn = match flags {
                    (true, false, false) => segment.seq,
                    (false, true, _) => segment.seq.wrapping_sub(1),
                    _ => return false,
                };
                let token = Flow::to(&self.secret, to, segment.dest_port).unhide(isn);
                let asked = (Probe::Syn, segment.dest_port);
                let found = self.find(token, to, asked, captured.tap);
                if let Some(found) = found.filter(|_| segment.flags.rst()) {
                    if found.age == 0 {
                        self.note_reset(found.slot);
                    }
                    return true;
                }
                found
            }
            Body::Tcp(_) | Body::Icmp(_) | Body::Udp(_) | Body::Fragment | Body::Other { .. } => {
                None
            }
        };
        let Some(found) = found else { return false };
        if let Some((row, memory)) = self.at_mut(found.slot) {
            row.note_left(memory, found.age, captured.at.at);
        }
        true
    }

    fn note_received(&mut self, captured: &Captured<'_>, packet: &Packet<'_>) -> bool {
        let recognised = match packet.body {
            Body::Icmp(Icmp::EchoReply { id, seq, payload }) => {
                let token = Token::from_echo(id, seq);
                let found = self.find(token, packet.source, (Probe::Echo, 0), captured.tap);
                let answer = Answer::EchoReply { ttl: Some(packet.ttl) };
                found.and_then(|found| {
                    let marks = token::echo_marks(&self.secret, packet.source, token);
                    let proven = payload.starts_with(&marks.proof);
                    self.unmatched += u64::from(!proven);
                    proven.then_some((found, answer))
                })
            }
            Body::Icmp(Icmp::Error(error)) => self.read_error(captured.tap, packet, &error),
            Body::Tcp(segment) if segment.dest_port >= SWEEP_PORT => {
                self.read_segment(captured.tap, packet, &segment)
            }
            Body::Tcp(_) | Body::Icmp(_) | Body::Udp(_) | Body::Fragment | Body::Other { .. } => {
                None
            }
        };
        let Some((found, answer)) = recognised else { return false };
        self.take(found, answer, captured.at, captured.interface);
        true
    }

    /// The row and age of a token, if the row asks just this of just this address.
    fn find(
        &self,
        token: Token,
        address: IpAddr,
        (probe, port): (Probe, u16),
        tap: TapId,
    ) -> Option<Found> {
        let row = self.rows.get(token.slot())?;
        let age = token.age(row.generation);
        let is_ours = row.has(Flag::Live)
            && age < u64::BITS
            && row.is_at(address)
            && row.probe() == probe
            && row.port == port
            && self.lanes.get(row.lane).tap() == Some(tap);
        is_ours.then_some(Found { slot: token.slot(), age, token })
    }

    fn read_segment(
        &mut self,
        tap: TapId,
        packet: &Packet<'_>,
        segment: &Segment<'_>,
    ) -> Option<(Found, Answer)> {
        let (from, port) = (packet.source, segment.source_port);
        let facts =
            TcpAnswer { ttl: Some(packet.ttl), window: Some(segment.window), ip_id: packet.ip_id };
        let flags = (segment.flags.syn(), segment.flags.rst(), segment.flags.ack());
        let answer = match flags {
            (true, false, true) => Some(Answer::SynAck(facts)),
            (false, true, true) => Some(Answer::Reset(facts)),
            _ => None,
        };
        // The acknowledgement leads to the row. A reset without one, or an acknowledgement of
        // something else, leads nowhere: it proves nothing, is counted, and the survey that the
        // silence brings about looks closer.
        let flow = Flow::to(&self.secret, from, port);
        let token = flow.unhide(segment.ack.wrapping_sub(1));
        let found = self.find(token, from, (Probe::Syn, port), tap);
        let found = found.filter(|_| flow.source_port(token) == segment.dest_port);
        let recognised = found.zip(answer);
        self.unmatched += u64::from(recognised.is_none());
        recognised
    }

    fn read_error(
        &mut self,
        tap: TapId,
        packet: &Packet<'_>,
        error: &IcmpError<'_>,
    ) -> Option<(Found, Answer)> {
        let kind = match error.family {
            Family::V4 => IcmpKind::from_v4(error.ty, error.code),
            Family::V6 => IcmpKind::from_v6(error.ty, error.code),
        }?;
        let quoted = error.quoted_packet().ok()?;
        let found = self.find_quoted(tap, &quoted, error.quoted)?;
        // Our own kernel wrote this to itself: nobody on the path said anything (DESIGN section 4
        // rule 1). Toward an address of our own it is the target that speaks.
        if packet.source == packet.dest && packet.source != quoted.dest {
            return Some((found, Answer::Invalid(InvalidReason::SendError)));
        }
        let (from, ttl) = (packet.source, Some(packet.ttl));
        Some((found, Answer::Icmp(IcmpAnswer { from, kind, ty: error.ty, code: error.code, ttl })))
    }

    fn find_quoted(&mut self, tap: TapId, quoted: &Quoted, bytes: &[u8]) -> Option<Found> {
        let to = quoted.dest;
        let (found, proven) = match quoted.transport {
            QuotedTransport::Echo { id, seq } => {
                let token = Token::from_echo(id, seq);
                let found = self.find(token, to, (Probe::Echo, 0), tap)?;
                let marks = token::echo_marks(&self.secret, to, token);
                let payload = bytes.get(PAYLOAD_AT_V6..);
                let by_payload = || payload.is_some_and(|bytes| bytes.starts_with(&marks.proof));
                (found, quoted.ip_id.map_or_else(by_payload, |ip_id| ip_id == marks.ip_id))
            }
            QuotedTransport::Tcp { source_port, dest_port, seq: Some(seq), .. } => {
                if source_port < SWEEP_PORT {
                    return None;
                }
                let flow = Flow::to(&self.secret, to, dest_port);
                let token = flow.unhide(seq);
                let Some(found) = self.find(token, to, (Probe::Syn, dest_port), tap) else {
                    self.unmatched += 1;
                    return None;
                };
                let same_id = quoted.ip_id.is_none_or(|ip_id| ip_id == flow.ip_id(token));
                (found, same_id && flow.source_port(token) == source_port)
            }
            QuotedTransport::Tcp { .. }
            | QuotedTransport::Udp { .. }
            | QuotedTransport::Other { .. }
            | QuotedTransport::None => return None,
        };
        self.unmatched += u64::from(!proven);
        proven.then_some(found)
    }

    /// Takes what a packet says of a probe.
    fn take(&mut self, found: Found, answer: Answer, at: Stamp, interface: u32) {
        let Found { slot, age, token } = found;
        if matches!(answer, Answer::SynAck(_)) && age == 0 {
            self.await_reset(slot, token, at.at);
        }
        let Some((row, _)) = self.at(slot) else { return };
        if row.is_open(age) {
            let sent = self.sent(slot, age, at.at);
            let seen = Observation { answer, sent, arrived: Some(at) };
            return self.settle_open(slot, age, seen, interface);
        }
        self.take_afterthought(found, answer, at, interface);
    }

    /// Takes what comes after a probe's fate was settled.
    fn take_afterthought(&mut self, found: Found, answer: Answer, at: Stamp, interface: u32) {
        let Found { slot, age, token } = found;
        if self.lately.holds_copy(token, at.at, interface) {
            return;
        }
        let Some((row, memory)) = self.at(slot) else { return };
        // What never left draws no answer: our own firewall's reset is none of the target's.
        let left =
            row.left(memory, age, at.at).is_some() || self.lanes.get(row.lane).tap().is_none();
        let Some((row, memory)) = self.at_mut(slot) else { return };
        if memory.is_unheard(age) {
            if !left {
                return;
            }
            self.lately.note(token, at.at, interface);
            let Some((row, memory)) = self.at_mut(slot) else { return };
            if answer.is_from_target() {
                memory.set_unheard(age, false);
                self.page(slot).into_iter().for_each(|(page, index)| page.count_late(index));
            } else if matches!(answer, Answer::Icmp(_)) {
                let repeated = age == 0 && row.drawn() == Some(answer.kind());
                let sent = self.sent(slot, age, at.at);
                if repeated {
                    self.page(slot)
                        .into_iter()
                        .for_each(|(page, index)| page.count_duplicate(index));
                } else {
                    let seen = Observation { answer, sent, arrived: Some(at) };
                    self.tell(slot, What::Fact(seen));
                }
            }
            return;
        }
        // Of the current probe it is known what came, when and where.
        if age == 0 && row.has(Flag::Answered) {
            let other_kind = row.drawn() != Some(answer.kind());
            let answered = Instant::from_nanos(row.stamp);
            let elsewhere = row.interface != interface.to_le_bytes()[0];
            let copied = elsewhere && at.at.since(answered) < COPY_WINDOW;
            if other_kind || copied {
                return;
            }
            // Copies of a repeated answer follow the repetition, not the first.
            (row.stamp, row.interface) = (at.at.as_nanos(), interface.to_le_bytes()[0]);
        }
        if answer.is_from_target() {
            self.lately.note(token, at.at, interface);
            self.page(slot).into_iter().for_each(|(page, index)| page.count_duplicate(index));
        }
    }

    /// When a probe of a row was seen leaving; a row keeps the moment, its vantage who took it.
    fn sent(&self, slot: u32, age: u32, now: Instant) -> Option<Stamp> {
        let (row, memory) = self.at(slot)?;
        let at = row.left(memory, age, now)?;
        let source = self.lanes.get(row.lane).state.mode?.sent_source();
        Some(Stamp { at, source })
    }

    /// Takes a probe's fate as a socket tells it.
    pub fn handle_answer(&mut self, token: Token, seen: Observation) {
        let Some(row) = self.rows.get(token.slot()) else { return };
        let age = token.age(row.generation);
        if row.is_open(age) {
            return self.settle_open(token.slot(), age, seen, 0);
        }
        if let Some((_, memory)) = self.at_mut(token.slot())
            && memory.is_unheard(age)
        {
            if seen.answer.is_from_target() {
                memory.set_unheard(age, false);
                let page = self.page(token.slot());
                page.into_iter().for_each(|(page, index)| page.count_late(index));
            } else if matches!(seen.answer, Answer::Icmp(_)) {
                self.tell(token.slot(), What::Fact(seen));
            }
        }
    }

    /// The kernel refused to send a probe.
    pub fn handle_send_failed(&mut self, token: Token, error: LocalError) {
        let reason = error.invalid_reason();
        let seen = Observation { answer: Answer::Invalid(reason), sent: None, arrived: None };
        let Some(row) = self.rows.get(token.slot()) else { return };
        let age = token.age(row.generation);
        if row.is_open(age) {
            self.settle_open(token.slot(), age, seen, 0);
        }
    }
}
