//! A survey's probes in flight: what was asked, what proves an answer, and when to give up.
//!
//! Every probe hides a keyed secret: the sequence number of a SYN is a keyed permutation of its
//! token, the identifier of an echo is keyed per address and its payload per probe, and a keyed
//! IPv4 identification must come back in every quote. An answer that does not prove that it saw
//! the probe is counted as unmatched and believed nowhere.

mod forget;
mod recognise;
mod room;
mod talk;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::{Captured, Direction, Flight, TapId};
use crate::evidence::{Answer, AnswerKind, Observation, Overheard};
use crate::plan::LISTEN_TIMER;
use crate::probe::FULL_TTL;
use crate::secret::{Secret, low16};
use crate::survey::Part;
use crate::sweep::SWEEP_PORT;
use crate::target::TargetName;
use crate::time::{Instant, Stamp};
use crate::vantage::VantageId;
use crate::wire::icmp::Icmp;
use crate::wire::packet::{Body, Packet};
use crate::wire::tcp::Segment;

/// The first source port of raw SYNs: above the kernel's ephemeral range (32768 to 60999), so that
/// no socket of ours can own it.
pub const FIRST_PORT: u16 = 61_000;
/// Probes in flight at most; more wait for a free slot.
const CAPACITY: usize = 1 << 17;
/// An identical answer on another interface within this time is a copy of one packet: capture
/// rings see it once per device it passes.
const COPY_WINDOW: Duration = Duration::from_millis(5);

/// Whose probe it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ViewKey {
    /// The target, or a canary's name.
    pub(super) target: TargetName,
    /// The vantage.
    pub(super) vantage: VantageId,
    /// The address.
    pub(super) address: IpAddr,
}

/// What a probe is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// One ask of a survey.
    Survey {
        /// Which survey.
        number: u64,
        /// Which part of it.
        part: Part,
        /// Which ask of that part.
        ask: u16,
    },
    /// The full connection of this survey.
    SurveyConnect(u64),
    /// The look at the RDP server of this survey.
    SurveyLook(u64),
    /// A SYN on this port to an address that nobody has.
    Decoy(u16),
}

/// What a settled or revisited probe says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    /// Whose it is.
    pub(super) key: ViewKey,
    /// What it was for.
    pub(super) purpose: Purpose,
    /// The hop limit it was sent with.
    pub(super) ttl: u8,
    /// The news.
    pub(super) news: News,
}

/// The news about one probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// Its fate.
    Settled(Observation),
    /// Another, different fact after that.
    Afterthought {
        /// The fact.
        observation: Observation,
        /// Whether the probe had been given up as silent.
        late: bool,
    },
    /// The same answer once more.
    Duplicate,
    /// The driver never told how a full connection ended.
    ConnectLost,
}

#[derive(Debug)]
struct InFlight {
    key: ViewKey,
    purpose: Purpose,
    to: IpAddr,
    ttl: u8,
    ip_id: u16,
    wire: Wire,
    ordered: Instant,
    sent: Option<Stamp>,
    tap: Option<TapId>,
    /// An answer that does not prove it saw the probe: the fate only if nothing better comes.
    unproven: Option<(Answer, Stamp)>,
    settled: Option<Settled>,
    /// The last other answer after that.
    revised: Option<Settled>,
}

impl InFlight {
    fn new(key: ViewKey, purpose: Purpose, (to, ttl): (IpAddr, u8), wire: Wire) -> Self {
        Self {
            key,
            purpose,
            to,
            ttl,
            ip_id: 0,
            wire,
            ordered: Instant::ZERO,
            sent: None,
            tap: None,
            unproven: None,
            settled: None,
            revised: None,
        }
    }

    fn report(&self, news: News) -> Report {
        Report { key: self.key.clone(), purpose: self.purpose, ttl: self.ttl, news }
    }

    /// The answer of this kind that it has drawn before.
    fn known(&mut self, kind: AnswerKind) -> Option<&mut Settled> {
        self.settled.iter_mut().chain(&mut self.revised).find(|known| known.kind == kind)
    }

    const fn is_connect(&self) -> bool {
        matches!(self.wire, Wire::Connect { .. })
    }

    /// Whether the target itself has answered: nothing more is to be waited for.
    fn is_answered(&self) -> bool {
        self.settled.is_some_and(|first| first.from_target) && self.revised.is_none()
    }
}

#[derive(Debug, Clone, Copy)]
struct Settled {
    kind: AnswerKind,
    from_target: bool,
    at: Instant,
    interface: u32,
}

impl Settled {
    /// Whether the same packet was seen again on another device.
    fn is_copied_by(&self, next: &Self) -> bool {
        self.interface != next.interface && next.at.since(self.at) < COPY_WINDOW
    }
}

#[derive(Debug, Clone, Copy)]
enum Wire {
    Echo {
        id: u16,
        seq: u16,
        proof: [u8; 8],
    },
    Syn {
        source_port: u16,
        dest_port: u16,
        isn: u32,
        timestamp: Option<u32>,
    },
    /// A segment of no connection; a reset proves that it saw it by its `ack`.
    Segment {
        source_port: u16,
        dest_port: u16,
        seq: u32,
        ack: u32,
    },
    /// A connection of the kernel's own.
    Connect {
        dest_port: u16,
    },
}

impl Wire {
    /// Whether this segment is the probe itself; SYNs of one flow differ in their time stamps.
    fn is(&self, segment: &Segment<'_>) -> bool {
        match *self {
            Self::Syn { isn, timestamp, .. } => {
                let told = segment.options.timestamps.map(|(value, _)| value);
                let is_syn = segment.flags.syn() && !segment.flags.ack();
                is_syn && isn == segment.seq && timestamp == told
            }
            Self::Segment { seq, ack, .. } => {
                !segment.flags.syn() && (seq, ack) == (segment.seq, segment.ack)
            }
            Self::Echo { .. } | Self::Connect { .. } => false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Verdict,
    Listen,
}

/// A flow that a trace's pass shares.
#[derive(Debug, Clone, Copy)]
struct Flow {
    source_port: u16,
    isn: u32,
}

/// All probes in flight.
#[derive(Debug)]
pub(super) struct Flights {
    secret: Secret,
    flying: BTreeMap<Flight, InFlight>,
    by_view: BTreeSet<(ViewKey, Flight)>,
    by_echo: BTreeMap<(IpAddr, u16, u16), Flight>,
    by_flow: BTreeMap<(IpAddr, u16, u16), Vec<Flight>>,
    talks: talk::Talks,
    deadlines: BTreeSet<(Instant, Flight, Stage)>,
    passes: BTreeMap<(ViewKey, u8, u64), Flow>,
    next_token: u32,
    next_port: u16,
    next_seq: u16,
    unmatched: u64,
    sources: BTreeMap<(VantageId, bool), IpAddr>,
}

impl Flights {
    /// No probes yet.
    pub(super) fn new(secret: Secret) -> Self {
        Self {
            next_port: low16(secret.hash(&[1])) % (SWEEP_PORT - FIRST_PORT),
            next_seq: low16(secret.hash(&[2])),
            secret,
            flying: BTreeMap::new(),
            by_view: BTreeSet::new(),
            by_echo: BTreeMap::new(),
            by_flow: BTreeMap::new(),
            talks: talk::Talks::default(),
            deadlines: BTreeSet::new(),
            passes: BTreeMap::new(),
            next_token: 1,
            unmatched: 0,
            sources: BTreeMap::new(),
        }
    }

    /// Answers that proved nothing.
    pub(super) const fn unmatched(&self) -> u64 {
        self.unmatched
    }

    /// Takes back what another has counted already.
    pub(super) const fn set_unmatched(&mut self, known: u64) {
        self.unmatched = known;
    }

    /// The source address a vantage's packets were last seen leaving with, toward this family.
    pub(super) fn source(&self, vantage: VantageId, v4: bool) -> Option<IpAddr> {
        self.sources.get(&(vantage, v4)).copied()
    }

    /// The next moment a probe's fate is due.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _, _)| *at)
    }

    /// Notes a full connection, whose fate the socket tells; `tap` is a ring that sees its packets.
    pub(super) fn order_connect(
        &mut self,
        now: Instant,
        (key, purpose): (ViewKey, Purpose),
        (dest_port, tap): (u16, Option<TapId>),
        limit: Duration,
    ) -> Flight {
        let flight = self.token();
        let to = (key.address, FULL_TTL);
        self.by_view.insert((key.clone(), flight));
        if let Some(tap) = tap {
            self.talks.open((tap, key.address, dest_port), flight);
        }
        let probe = InFlight::new(key, purpose, to, Wire::Connect { dest_port });
        self.flying.insert(flight, InFlight { ordered: now, tap, ..probe });
        self.deadlines.insert((now + limit, flight, Stage::Listen));
        flight
    }

    /// Ends a full connection; gives whose it was, when it was ordered, and what was overheard of
    /// it if this was its local port.
    pub(super) fn end_connect(
        &mut self,
        flight: Flight,
        local_port: Option<u16>,
    ) -> Option<(ViewKey, Purpose, (Instant, Option<Overheard>))> {
        if !self.flying.get(&flight)?.is_connect() {
            return None;
        }
        let overheard = local_port.and_then(|port| self.overheard(flight, port));
        let probe = self.forget(flight)?;
        Some((probe.key, probe.purpose, (probe.ordered, overheard)))
    }

    /// Whether the ring may still show how a connection ended that has ended: it may not even have
    /// handed on yet how it began.
    pub(super) fn awaits_end(&self, flight: Flight, local_port: Option<u16>) -> bool {
        let watched = self.flying.get(&flight).is_some_and(|probe| probe.tap.is_some());
        let ended = |port| self.overheard(flight, port).is_some_and(|line| line.end.is_some());
        watched && local_port.is_some_and(|port| !ended(port))
    }

    /// What the ring has seen so far of the connection from this local port.
    fn overheard(&self, flight: Flight, local_port: u16) -> Option<Overheard> {
        let probe = self.flying.get(&flight)?;
        let Wire::Connect { dest_port } = probe.wire else { return None };
        self.talks.overheard((probe.tap?, probe.to, dest_port), local_port)
    }

    /// Takes a probe's fate as a socket or a failed send tells it.
    pub(super) fn settle(&mut self, flight: Flight, seen: Observation) -> Option<Report> {
        let probe = self.flying.get_mut(&flight)?;
        let at = seen.arrived.map_or(probe.ordered, |stamp| stamp.at);
        if seen.sent.is_some() {
            probe.sent = seen.sent;
        }
        self.take(flight, seen.answer, (at, seen.arrived, 0))
    }

    /// Keeps an answer that proves nothing for the case that no better one comes: an attacker who
    /// guesses a port must not be able to talk over the target.
    fn doubt(&mut self, flight: Flight, answer: Answer, at: Stamp) {
        if let Some(probe) = self.flying.get_mut(&flight)
            && probe.settled.is_none()
        {
            probe.unproven.get_or_insert((answer, at));
        }
    }

    /// Takes a captured packet; gives news if it proves to be about one of our probes.
    pub(super) fn handle_packet(
        &mut self,
        captured: &Captured<'_>,
        packet: &Packet<'_>,
    ) -> Option<Report> {
        self.talks.note(captured, packet);
        match captured.direction {
            Direction::Sent => {
                self.note_sent(captured, packet);
                None
            }
            Direction::Received => {
                let (flight, answer) = self.recognise(packet)?;
                if self.flying.get(&flight)?.tap != Some(captured.tap) {
                    return None;
                }
                let at = captured.at;
                if matches!(answer, Answer::BareReset(_) | Answer::ChallengeAck(_)) {
                    self.doubt(flight, answer, at);
                    return None;
                }
                self.take(flight, answer, (at.at, Some(at), captured.interface))
            }
        }
    }

    /// Gives up probes whose time is over. `excuse` says why a silence is our own fault, given
    /// when the probe was ordered, and whether it was seen leaving.
    pub(super) fn expire(
        &mut self,
        now: Instant,
        excuse: impl Fn(&ViewKey, Instant, bool) -> Option<Answer>,
    ) -> Option<Report> {
        loop {
            let (at, flight, stage) = *self.deadlines.first()?;
            if at > now {
                return None;
            }
            self.deadlines.pop_first();
            match stage {
                Stage::Listen => {
                    let lost = self.forget(flight);
                    if let Some(probe) = lost.filter(InFlight::is_connect) {
                        return Some(probe.report(News::ConnectLost));
                    }
                }
                Stage::Verdict => {
                    let Some(probe) = self.flying.get(&flight) else { continue };
                    // Only what the target left unanswered is worth listening for any longer.
                    if probe.is_answered() {
                        self.forget(flight);
                        continue;
                    }
                    self.deadlines.insert((probe.ordered + LISTEN_TIMER, flight, Stage::Listen));
                    if probe.settled.is_some() {
                        continue;
                    }
                    let seen_leaving = probe.sent.is_some() || probe.tap.is_none();
                    let excused = excuse(&probe.key, probe.ordered, seen_leaving);
                    let unproven = probe.unproven.filter(|_| excused.is_none());
                    let answer = unproven.map(|(answer, _)| answer).or(excused);
                    let arrived = unproven.map(|(_, at)| at);
                    let answer = answer.unwrap_or(Answer::Silence);
                    if let Some(report) = self.take(flight, answer, (now, arrived, 0)) {
                        return Some(report);
                    }
                }
            }
        }
    }

    fn take(
        &mut self,
        flight: Flight,
        answer: Answer,
        (at, arrived, interface): (Instant, Option<Stamp>, u32),
    ) -> Option<Report> {
        let probe = self.flying.get_mut(&flight)?;
        let observation = Observation { answer, sent: probe.sent, arrived };
        let from_target = answer.is_from_target();
        let next = Settled { kind: answer.kind(), from_target, at, interface };
        // What never left draws no answer: our own firewall's reset is none of the target's.
        let left = probe.sent.is_some() || probe.tap.is_none();
        let refused = probe.settled.is_some_and(|first| first.kind == AnswerKind::Invalid);
        if refused && !left && next.kind != AnswerKind::Invalid {
            return None;
        }
        if let Some(known) = probe.known(next.kind) {
            if known.is_copied_by(&next) {
                return None;
            }
            // Copies of a repeated answer follow the repetition, not the first.
            *known = next;
            return Some(probe.report(News::Duplicate));
        }
        let news = match probe.settled {
            None => {
                probe.settled = Some(next);
                News::Settled(observation)
            }
            Some(first) => {
                probe.revised = Some(next);
                let late = matches!(first.kind, AnswerKind::Silence | AnswerKind::Invalid);
                News::Afterthought { observation, late }
            }
        };
        Some(probe.report(news))
    }

    fn note_sent(&mut self, captured: &Captured<'_>, packet: &Packet<'_>) {
        let flight = match packet.body {
            Body::Icmp(Icmp::EchoRequest { id, seq, .. }) => {
                self.by_echo.get(&(packet.dest, id, seq)).copied()
            }
            Body::Tcp(segment) if !segment.flags.rst() => {
                let flow = (packet.dest, segment.dest_port, segment.source_port);
                let flights = self.by_flow.get(&flow);
                let same = |flight: &&Flight| {
                    let probe = self.flying.get(flight);
                    probe.is_some_and(|probe| probe.ttl == packet.ttl && probe.wire.is(&segment))
                };
                flights.and_then(|flights| flights.iter().find(same)).copied()
            }
            Body::Tcp(_) | Body::Icmp(_) | Body::Udp(_) | Body::Fragment | Body::Other { .. } => {
                None
            }
        };
        let probe = flight.and_then(|flight| self.flying.get_mut(&flight));
        if let Some(probe) = probe
            && probe.tap == Some(captured.tap)
            && probe.sent.is_none()
        {
            probe.sent = Some(captured.at);
            self.sources.insert((probe.key.vantage, packet.source.is_ipv4()), packet.source);
        }
    }

    pub(super) fn token(&mut self) -> Flight {
        let flight = Flight::Survey(self.next_token);
        self.next_token = self.next_token.wrapping_add(1);
        flight
    }

    fn index(&mut self, to: IpAddr, wire: &Wire, flight: Flight) {
        match *wire {
            Wire::Echo { id, seq, .. } => {
                self.by_echo.insert((to, id, seq), flight);
            }
            Wire::Syn { source_port, dest_port, .. }
            | Wire::Segment { source_port, dest_port, .. } => {
                self.by_flow.entry((to, dest_port, source_port)).or_default().push(flight);
            }
            Wire::Connect { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests;
