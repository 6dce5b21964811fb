//! Large packets: does what is as large as a path should carry arrive, there and back?
//!
//! Echoes of three sizes that no router may fragment go first, since their replies are as large.
//! Where some vanish while smaller ones return, they are asked again (RFC 8899 5.1.2: a size fails
//! after three losses), at last beside a small echo: a bad spell that began just then takes both.
//! Segments of no connection tell which way it happens: they draw a short reset. A small segment
//! goes beside the large one, for many firewalls swallow such segments of any size. A router that
//! says "too big" does what it should: that is no failure.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::{Ask, Engine, FULL_TTL, Question};
use crate::evidence::{Answer, IcmpKind, InvalidReason, Observation};
use crate::time::Instant;

/// The smallest size that is asked first: what IPv6 demands of every link.
pub const SMALLEST: u16 = 1_280;
/// What is asked where even that vanishes, since tunnels in tunnels leave less of IPv4. Firewalls
/// that limit echoes for being echoes do so at 1024 bytes or less.
pub const NARROW: u16 = 1_100;
/// The largest size: Ethernet's.
pub const LARGEST: u16 = 1_500;
/// Sizes of echoes in bytes; tunnels usually leave between 1,400 and 1,500.
const ECHOES: [u16; 3] = [SMALLEST, 1_400, LARGEST];
/// A small packet: both headers of IPv6 and a few bytes.
pub const CONTROL: u16 = 80;
/// How often a size is asked before it has failed.
pub const TRIES: u32 = 3;
/// How often the control is asked.
const CONTROLS: u32 = 2;
/// How often it is asked where only SYNs seem to be lost.
const WITNESSES: u32 = 8;
/// What so many of them say, if none is lost.
const ENOUGH: u32 = 6;
/// Packets that may be asked again because we ourselves missed what became of them.
const SPARE: u8 = 4;
/// Between two probes of a kind, so that one bad spell does not take all.
const GAP: Duration = Duration::from_millis(450);
const WITNESS_GAP: Duration = Duration::from_millis(200);
const AT_ONCE: Duration = Duration::from_millis(20);
/// An answer this much later than twice the slowest before it is taken for missing.
const JITTER: Duration = Duration::from_millis(250);

/// A kind of packet of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Packet {
    /// An echo of this size, answered by a reply of this size.
    Echo(u16),
    /// A small echo that goes beside the large ones that are asked for the last time.
    Beside,
    /// A segment of this size, answered by a short reset.
    Segment(u16),
}

/// What became of the packets of one kind and size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SizeFate {
    /// How many the target answered.
    pub answered: u32,
    /// How many vanished.
    pub lost: u32,
    /// Who said that they are too big.
    pub told: Option<IpAddr>,
}

impl SizeFate {
    fn note(&mut self, answer: &Answer) {
        match answer {
            Answer::EchoReply { .. } | Answer::Reset(_) => self.answered += 1,
            Answer::Icmp(error) if error.kind == IcmpKind::TooBig => self.told = Some(error.from),
            Answer::Silence => self.lost += 1,
            // Whoever answers anything else has at least received it, or our own side has not sent
            // it: neither says that the size vanishes.
            Answer::SynAck(_)
            | Answer::BareReset(_)
            | Answer::ChallengeAck(_)
            | Answer::Icmp(_)
            | Answer::Invalid(_) => {}
        }
    }

    /// Whether it was asked often enough and never answered.
    pub const fn has_failed(self) -> bool {
        self.answered == 0 && self.told.is_none() && self.lost >= TRIES
    }
}

/// What is known of all kinds and sizes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SizeFates(pub BTreeMap<Packet, SizeFate>);

impl SizeFates {
    fn of(&self, packet: Packet) -> SizeFate {
        self.0.get(&packet).copied().unwrap_or_default()
    }

    /// The largest echo that came back, in bytes.
    pub fn echo_passes(&self) -> Option<u16> {
        let passing = self.0.iter().rev().filter(|(_, fate)| fate.answered > 0);
        passing.filter_map(|(packet, _)| packet.echo_size()).next()
    }

    /// The smallest echo that failed, and how many of that size and above were lost. What is
    /// smaller than one that came back did not fail for its size, and nothing did where small ones
    /// vanished as well.
    pub fn echo_fails(&self) -> Option<(u16, u32)> {
        if self.of(Packet::Beside).lost > 0 {
            return None;
        }
        let passes = self.echo_passes().unwrap_or(0);
        let above = |packet: &Packet| packet.echo_size().is_some_and(|size| size > passes);
        let failed = || self.0.iter().filter(|(packet, fate)| above(packet) && fate.has_failed());
        let sizes = || failed().filter_map(|(packet, fate)| Some((packet.echo_size()?, fate.lost)));
        let (size, _) = sizes().next()?;
        Some((size, sizes().map(|(_, lost)| lost).sum()))
    }

    /// Who said that a packet is too big, and the smallest size that was said of.
    pub fn told(&self) -> Option<(u16, IpAddr)> {
        let size = |packet: &Packet| match packet {
            Packet::Echo(size) | Packet::Segment(size) => *size,
            Packet::Beside => CONTROL,
        };
        let told = self.0.iter().filter_map(|(packet, fate)| Some((size(packet), fate.told?)));
        told.min()
    }

    /// Whether a large segment was answered; `None` where segments prove nothing: not even a small
    /// one was answered, or not enough was asked.
    pub fn segment_passes(&self) -> Option<bool> {
        let (small, large) = (Packet::Segment(CONTROL), Packet::Segment(LARGEST));
        let large = self.of(large);
        let decided = large.answered > 0 || self.of(small).answered > 0 && large.has_failed();
        decided.then_some(large.answered > 0)
    }

    /// Whether small segments that belong to no connection are answered without loss; `None` where
    /// they are not answered at all, or too few were asked.
    pub fn small_segments_pass(&self) -> Option<bool> {
        let small = self.of(Packet::Segment(CONTROL));
        match (small.answered, small.lost) {
            (0, _) => None,
            (answered, 0) => (answered >= ENOUGH).then_some(true),
            (_, _) => Some(false),
        }
    }

    /// Takes over what is known of segments, where none were asked.
    pub fn complete_from(&mut self, known: &Self) {
        let is_segment = |packet: &Packet| matches!(packet, Packet::Segment(_));
        if !self.0.keys().any(is_segment) {
            self.0.extend(known.0.iter().filter(|(packet, _)| is_segment(packet)));
        }
    }

    /// Whether anything failed for its size, so that it is worth asking again.
    pub fn any_failed(&self) -> bool {
        self.echo_fails().is_some() || self.segment_passes() == Some(false)
    }
}

impl Packet {
    const fn echo_size(self) -> Option<u16> {
        match self {
            Self::Echo(size) => Some(size),
            Self::Segment(_) | Self::Beside => None,
        }
    }
}

/// The question of large packets in progress.
#[derive(Debug)]
pub struct Large {
    port: Option<u16>,
    due: VecDeque<(Instant, Packet)>,
    outstanding: BTreeMap<u16, (Packet, Instant)>,
    fates: SizeFates,
    slowest: Duration,
    next_id: u16,
    echoes_again: bool,
    segments: bool,
    spare: u8,
}

impl Large {
    /// Asks from now on; `port` is the one for segments, where they may be sent, and `rtt` the
    /// slowest answer of a small packet.
    pub fn new(port: Option<u16>, rtt: Duration) -> Self {
        Self {
            port,
            due: VecDeque::new(),
            outstanding: BTreeMap::new(),
            fates: SizeFates::default(),
            slowest: rtt,
            next_id: 0,
            echoes_again: false,
            segments: false,
            spare: SPARE,
        }
    }

    /// Sends one echo of each size.
    pub fn ask_echoes(&mut self, now: Instant) {
        let times = (0_u32..).map(|at| now + AT_ONCE * at);
        self.plan(times.zip(ECHOES.map(Packet::Echo)).collect());
    }

    /// Sends segments, small and large; once.
    pub fn ask_segments(&mut self, now: Instant) {
        if self.segments || self.port.is_none() {
            return;
        }
        self.segments = true;
        let sizes = [(CONTROL, CONTROLS), (LARGEST, TRIES)];
        let planned = sizes.into_iter().zip(0_u32..).flat_map(|((size, tries), at)| {
            let start = now + AT_ONCE * at;
            (0..tries).map(move |again| (start + GAP * again, Packet::Segment(size)))
        });
        self.plan(planned.collect());
    }

    /// Sends small segments only: are they lost as SYNs are? Once, and not beside large ones.
    pub fn ask_witnesses(&mut self, now: Instant) {
        if self.segments || self.port.is_none() {
            return;
        }
        self.segments = true;
        let times = (0..WITNESSES).map(|at| now + WITNESS_GAP * at);
        self.plan(times.map(|at| (at, Packet::Segment(CONTROL))).collect());
    }

    /// Asks again what seems to vanish; `segments` says whether they may help.
    pub fn follow_up(&mut self, now: Instant, segments: bool) {
        if self.echoes_again || !self.due.is_empty() {
            return;
        }
        // All or none: the sizes went out together.
        let overdue = self.slowest * 2 + JITTER;
        let mut waiting =
            self.outstanding.values().filter(|(asked, _)| asked.echo_size().is_some());
        if waiting.any(|(_, at)| now.since(*at) <= overdue) {
            return;
        }
        let missing = |packet: Packet| {
            let fate = self.fates.of(packet);
            let late = self.outstanding.values().any(|(asked, _)| *asked == packet);
            fate.answered == 0 && fate.told.is_none() && (fate.lost > 0 || late)
        };
        let missing: Vec<_> =
            ECHOES.into_iter().map(Packet::Echo).filter(|p| missing(*p)).collect();
        if missing.is_empty() {
            return;
        }
        self.echoes_again = true;
        let narrow = missing.contains(&Packet::Echo(SMALLEST)).then_some(Packet::Echo(NARROW));
        let again = (1..TRIES).flat_map(|round| {
            let from = now + GAP * (round - 1);
            let beside = (round + 1 == TRIES).then_some(Packet::Beside);
            let asked = missing.clone().into_iter().chain(narrow).chain(beside);
            (0_u32..).map(move |at| from + AT_ONCE * at).zip(asked)
        });
        self.plan(again.collect());
        if segments {
            self.ask_segments(now);
        }
    }

    /// What was found so far.
    pub const fn fates(&self) -> &SizeFates {
        &self.fates
    }

    fn plan(&mut self, more: Vec<(Instant, Packet)>) {
        let mut due: Vec<_> = self.due.drain(..).chain(more).collect();
        due.sort();
        self.due = due.into();
    }
}

impl Engine for Large {
    fn poll_ask(&mut self, now: Instant) -> Option<Ask> {
        let (at, packet) = *self.due.front()?;
        if at > now {
            return None;
        }
        self.due.pop_front();
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        self.outstanding.insert(id, (packet, now));
        let what = match packet {
            Packet::Echo(size) => Question::SizedEcho { size },
            Packet::Beside => Question::SizedEcho { size: CONTROL },
            Packet::Segment(size) => Question::Segment { port: self.port.unwrap_or(0), size },
        };
        Some(Ask { id, what, ttl: FULL_TTL })
    }

    fn handle_observation(&mut self, now: Instant, ask: u16, observation: &Observation) {
        if let Some((packet, _)) = self.outstanding.remove(&ask) {
            // A failure needs all its losses: what passed us by while we were late is asked again.
            let passed_by = matches!(
                observation.answer,
                Answer::Invalid(InvalidReason::Lag | InvalidReason::CaptureDrop)
            );
            if passed_by && self.spare > 0 {
                self.spare -= 1;
                self.plan(vec![(now, packet)]);
            }
            self.slowest = self.slowest.max(observation.rtt().unwrap_or_default());
            self.fates.0.entry(packet).or_default().note(&observation.answer);
        }
    }

    fn handle_afterthought(&mut self, _now: Instant, _ask: u16, _observation: &Observation) {}

    fn poll_timeout(&self) -> Option<Instant> {
        self.due.front().map(|(at, _)| *at)
    }

    fn is_done(&self) -> bool {
        self.due.is_empty() && self.outstanding.is_empty()
    }

    fn planned(&self) -> usize {
        self.due.len()
    }
}

#[cfg(test)]
mod tests;
