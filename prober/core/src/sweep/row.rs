//! A row: one kind of probe toward one address from one vantage.
//!
//! What every probe touches lies in one cache line; what only answers touch lies beside it, and the
//! numbers that others read lie in pages of their own ([`super::tally`]). All told a row takes 192
//! bytes.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::chart::Charts;
use super::wheel::Link;
use crate::evidence::{AnswerKind, IcmpKind, Probe};
use crate::time::Instant;

/// Probes of one row in flight at most: at an interval of a second three are, while a target is
/// silent.
pub(super) const IN_FLIGHT: u32 = 4;

/// What the wheel, a send and an answer touch.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Row {
    address: [u8; 16],
    /// When the current probe was ordered, in nanoseconds, whole microseconds.
    pub(super) ordered: u64,
    /// When the current probe was seen leaving; once it is answered, when that was; 0 is never.
    pub(super) stamp: u64,
    pub(super) link: Link,
    pub(super) interval_us: u32,
    /// The monitor's number for what this row is about.
    pub(super) owner: u32,
    pub(super) generation: u16,
    pub(super) port: u16,
    pub(super) lane: u16,
    /// Which of the last four probes are awaited, the current one lowest; above them [`PHASED`],
    /// and above that which stage of a look is counted.
    pub(super) open: u8,
    flags: u8,
    /// The usual answer (low) and the current probe's (high).
    kinds: u8,
    /// Probes in a row that the target left unanswered.
    pub(super) misses: u8,
    /// Received hop limit of the target's last answer; 0 is unknown.
    pub(super) ttl: u8,
    /// Where the current probe's answer was seen, as far as a byte can tell.
    pub(super) interface: u8,
}

/// What only answers and verdicts touch.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Memory {
    /// Which of the last 64 probes went unanswered and were not heard of since.
    pub(super) unheard: u64,
    /// The probes before the current one.
    older: [Older; IN_FLIGHT as usize - 1],
    pub(super) charts: Charts,
}

/// When an older probe was ordered (microseconds modulo 2^32) and seen leaving after that
/// (nanoseconds; 0 is never).
#[derive(Debug, Clone, Copy, Default)]
struct Older {
    ordered_us: u32,
    left_ns: u32,
}

/// Those of [`Row::open`] that say which probes are awaited.
const AWAITED: u8 = (1 << IN_FLIGHT) - 1;
/// The next probe is due at the row's own phase, not an interval after the last.
const PHASED: u8 = 1 << IN_FLIGHT;

/// Counted with what follows the first words of RDP: these bits of [`Row::open`] tell the stage.
const STAGE_SHIFT: u32 = IN_FLIGHT + 1;

const PROBE_BITS: u8 = 0b11;
const LIVE: u8 = 1 << 2;
const EVER: u8 = 1 << 3;
const RESET_DUE: u8 = 1 << 4;
const ANSWERED: u8 = 1 << 5;
const EAGER: u8 = 1 << 6;
const RESET_ORDERED: u8 = 1 << 7;

/// A flag of a row.
#[derive(Debug, Clone, Copy)]
pub(super) enum Flag {
    /// The row is in use.
    Live,
    /// The target answered at least once.
    Ever,
    /// A SYN-ACK came and the reset that must follow it was not seen leaving yet.
    ResetDue,
    /// The current probe is answered: the stamp is the answer's.
    Answered,
    /// The next turn sends, whatever the interval says.
    Eager,
    /// A reset of our own was ordered and not seen leaving yet.
    ResetOrdered,
}

impl Flag {
    const fn bit(self) -> u8 {
        match self {
            Self::Live => LIVE,
            Self::Ever => EVER,
            Self::ResetDue => RESET_DUE,
            Self::Answered => ANSWERED,
            Self::Eager => EAGER,
            Self::ResetOrdered => RESET_ORDERED,
        }
    }
}

impl Row {
    /// A row that nobody uses.
    pub(super) const FREE: Self = Self {
        address: [0; 16],
        ordered: 0,
        stamp: 0,
        link: Link::IDLE,
        interval_us: 0,
        owner: 0,
        generation: 0,
        port: 0,
        lane: 0,
        open: 0,
        flags: 0,
        kinds: 0,
        misses: 0,
        ttl: 0,
        interface: 0,
    };

    /// Makes it another row; the generation goes on, so that no old answer fits the new row.
    pub(super) fn begin(&mut self, address: IpAddr, probe: Probe) {
        let generation = self.generation.wrapping_add(64);
        *self = Self { address: octets(address), generation, flags: LIVE, ..Self::FREE };
        let (probe, stage) = match probe {
            Probe::Echo => (0, 0),
            Probe::Syn => (1, 0),
            Probe::Connect => (2, 0),
            Probe::X224 => (3, 0),
            Probe::Tls => (3, 1),
            Probe::Ntlm => (3, 2),
        };
        self.flags |= probe;
        self.open = stage << STAGE_SHIFT;
    }

    pub(super) fn address(&self) -> IpAddr {
        Ipv6Addr::from(self.address).to_canonical()
    }

    pub(super) fn is_at(&self, address: IpAddr) -> bool {
        self.address == octets(address)
    }

    pub(super) const fn probe(&self) -> Probe {
        match self.flags & PROBE_BITS {
            0 => Probe::Echo,
            1 => Probe::Syn,
            2 => Probe::Connect,
            _ => match self.open >> STAGE_SHIFT {
                0 => Probe::X224,
                1 => Probe::Tls,
                _ => Probe::Ntlm,
            },
        }
    }

    pub(super) const fn has(&self, flag: Flag) -> bool {
        self.flags & flag.bit() != 0
    }

    pub(super) const fn set(&mut self, flag: Flag, on: bool) {
        if on {
            self.flags |= flag.bit();
        } else {
            self.flags &= !flag.bit();
        }
    }

    pub(super) const fn interval(&self) -> Duration {
        Duration::from_micros(self.interval_us as u64)
    }

    /// What the monitor expects, if it said so.
    pub(super) const fn usual(&self) -> Option<AnswerKind> {
        kind_of(self.kinds & 0xf)
    }

    pub(super) const fn set_usual(&mut self, kind: Option<AnswerKind>) {
        self.kinds = self.kinds & 0xf0 | code_of(kind);
    }

    /// What the current probe drew.
    pub(super) const fn drawn(&self) -> Option<AnswerKind> {
        kind_of(self.kinds >> 4)
    }

    pub(super) const fn set_drawn(&mut self, kind: Option<AnswerKind>) {
        self.kinds = self.kinds & 0x0f | code_of(kind) << 4;
    }

    /// Turns to the next generation, ordered now; gives the moment as it is kept.
    pub(super) fn advance(&mut self, memory: &mut Memory, now: Instant) -> Instant {
        let whole = now.as_nanos() / 1_000 * 1_000;
        let left = if self.has(Flag::Answered) { 0 } else { self.stamp };
        let left_ns = match left {
            0 => 0,
            left => u32::try_from(left.saturating_sub(self.ordered)).unwrap_or(0).max(1),
        };
        let last = Older { ordered_us: low32(self.ordered / 1_000), left_ns };
        let [first, second, _] = memory.older;
        memory.older = [last, first, second];
        memory.unheard <<= 1;
        self.open = self.open << 1 & AWAITED | 1;
        self.generation = self.generation.wrapping_add(1);
        (self.ordered, self.stamp) = (whole, 0);
        self.set(Flag::Answered, false);
        self.set(Flag::ResetDue, false);
        self.set(Flag::ResetOrdered, false);
        self.set(Flag::Eager, false);
        self.set_drawn(None);
        Instant::from_nanos(whole)
    }

    /// When the probe of this age was ordered, as far as that is kept.
    pub(super) fn ordered(&self, memory: &Memory, age: u32, now: Instant) -> Option<Instant> {
        if age == 0 {
            return Some(Instant::from_nanos(self.ordered));
        }
        let older = memory.older(age)?;
        let now_us = now.as_nanos() / 1_000;
        let since = low32(now_us).wrapping_sub(older.ordered_us);
        Some(Instant::from_nanos(now_us.saturating_sub(since.into()) * 1_000))
    }

    /// When the probe of this age was seen leaving, if it was.
    pub(super) fn left(&self, memory: &Memory, age: u32, now: Instant) -> Option<Instant> {
        if age == 0 {
            let left = !self.has(Flag::Answered) && self.stamp != 0;
            return left.then(|| Instant::from_nanos(self.stamp));
        }
        let left = memory.older(age)?.left_ns;
        let ordered = self.ordered(memory, age, now)?;
        (left != 0).then(|| ordered + Duration::from_nanos(left.into()))
    }

    /// Notes that the probe of this age was seen leaving, the first time.
    pub(super) fn note_left(&mut self, memory: &mut Memory, age: u32, at: Instant) {
        if age == 0 {
            if self.stamp == 0 && !self.has(Flag::Answered) {
                self.stamp = at.as_nanos();
            }
            return;
        }
        let Some(ordered) = self.ordered(memory, age, at) else { return };
        let left = u32::try_from(at.since(ordered).as_nanos()).unwrap_or(0).max(1);
        if let Some(older) = memory.older_mut(age)
            && older.left_ns == 0
        {
            older.left_ns = left;
        }
    }

    /// Whether the probe of this age is awaited.
    pub(super) const fn is_open(&self, age: u32) -> bool {
        age < IN_FLIGHT && self.open & 1 << age != 0
    }

    /// The age of the oldest probe that is awaited.
    pub(super) const fn oldest_open(&self) -> Option<u32> {
        let awaited = self.open & AWAITED;
        if awaited == 0 { None } else { Some(u8::BITS - 1 - awaited.leading_zeros()) }
    }

    /// Whether the next probe is due at the row's own phase; [`Self::advance`] ends it.
    pub(super) const fn is_phased(&self) -> bool {
        self.open & PHASED != 0
    }

    /// Lets the next probe be due at the row's own phase.
    pub(super) const fn set_phased(&mut self) {
        self.open |= PHASED;
    }

    /// Whether another probe would push an awaited one out.
    pub(super) const fn is_full(&self) -> bool {
        self.open & 1 << (IN_FLIGHT - 1) != 0
    }
}

impl Memory {
    fn older(&self, age: u32) -> Option<&Older> {
        self.older.get(usize::try_from(age.checked_sub(1)?).ok()?)
    }

    fn older_mut(&mut self, age: u32) -> Option<&mut Older> {
        self.older.get_mut(usize::try_from(age.checked_sub(1)?).ok()?)
    }

    /// Whether the probe of this age went unanswered and was not heard of since.
    pub(super) const fn is_unheard(&self, age: u32) -> bool {
        age < u64::BITS && self.unheard & 1 << age != 0
    }

    pub(super) const fn set_unheard(&mut self, age: u32, on: bool) {
        if age < u64::BITS {
            if on {
                self.unheard |= 1 << age;
            } else {
                self.unheard &= !(1 << age);
            }
        }
    }
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn low32(word: u64) -> u32 {
    u32::try_from(word & u64::from(u32::MAX)).unwrap_or_default()
}

const fn code_of(kind: Option<AnswerKind>) -> u8 {
    match kind {
        None => 0,
        Some(AnswerKind::EchoReply) => 1,
        Some(AnswerKind::SynAck) => 2,
        Some(AnswerKind::Reset) => 3,
        Some(AnswerKind::BareReset) => 4,
        Some(AnswerKind::ChallengeAck) => 5,
        Some(AnswerKind::Silence) => 6,
        Some(AnswerKind::Invalid) => 7,
        Some(AnswerKind::Icmp(kind)) => 8 + kind as u8,
    }
}

const fn kind_of(code: u8) -> Option<AnswerKind> {
    match code {
        1 => Some(AnswerKind::EchoReply),
        2 => Some(AnswerKind::SynAck),
        3 => Some(AnswerKind::Reset),
        4 => Some(AnswerKind::BareReset),
        5 => Some(AnswerKind::ChallengeAck),
        6 => Some(AnswerKind::Silence),
        7 => Some(AnswerKind::Invalid),
        8 => Some(AnswerKind::Icmp(IcmpKind::NetUnreachable)),
        9 => Some(AnswerKind::Icmp(IcmpKind::HostUnreachable)),
        10 => Some(AnswerKind::Icmp(IcmpKind::PortUnreachable)),
        11 => Some(AnswerKind::Icmp(IcmpKind::Prohibited)),
        12 => Some(AnswerKind::Icmp(IcmpKind::TooBig)),
        13 => Some(AnswerKind::Icmp(IcmpKind::TimeExceeded)),
        14 => Some(AnswerKind::Icmp(IcmpKind::Other)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_takes_192_bytes_of_which_64_are_hot() {
        assert_eq!((size_of::<Row>(), align_of::<Row>()), (64, 64));
        assert_eq!(super::super::ROW_BYTES, 192);
    }

    #[test]
    fn kinds_survive_their_codes() {
        for code in 1..15 {
            assert_eq!(code_of(kind_of(code)), code);
        }
    }

    #[test]
    fn stamps_of_four_probes_are_kept() {
        let (mut row, mut memory) = (Row::FREE, Memory::default());
        row.begin("192.0.2.1".parse().unwrap(), Probe::Syn);
        let at = |millis| Instant::from_start(Duration::from_millis(millis));
        for second in 0..4 {
            row.advance(&mut memory, at(second * 1_000));
            row.note_left(&mut memory, 0, at(second * 1_000 + 7));
        }
        let now = at(3_500);
        for age in 0..4_u32 {
            let second = u64::from(3 - age) * 1_000;
            assert_eq!(row.ordered(&memory, age, now), Some(at(second)));
            assert_eq!(row.left(&memory, age, now), Some(at(second + 7)));
        }
        assert_eq!((row.oldest_open(), row.is_full()), (Some(3), true));
        assert_eq!(row.left(&memory, 4, now), None);
        row.note_left(&mut memory, 2, now);
        assert_eq!(row.left(&memory, 2, now), Some(at(1_007)), "the first stamp stays");
    }
}
