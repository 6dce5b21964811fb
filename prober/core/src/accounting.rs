//! Counting packets by their fate: `sent = received + lost + invalid`, always.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::evidence::{Answer, IcmpKind, InvalidReason, LossReason, Observation};

/// The fate of one kind of packet toward one target from one vantage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets whose fate is known.
    pub sent: u64,
    /// The target itself answered in time.
    pub received: u64,
    /// It did not, by reason.
    pub lost: BTreeMap<LossReason, u64>,
    /// Our own fault, by reason.
    pub invalid: BTreeMap<InvalidReason, u64>,
    /// Answers that came after the verdict; the packet stays lost.
    pub late: u64,
    /// Answers beyond the first.
    pub duplicate: u64,
}

/// What an answer means for the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The target itself answered.
    Received,
    /// It did not.
    Lost(LossReason),
    /// Our own fault.
    Invalid(InvalidReason),
}

/// Decides a probe's fate from its answer.
pub const fn fate(answer: &Answer) -> Fate {
    match answer {
        Answer::EchoReply { .. } | Answer::SynAck(_) | Answer::Reset(_) => Fate::Received,
        Answer::BareReset(_) => Fate::Lost(LossReason::ForeignReset),
        Answer::ChallengeAck(_) | Answer::Silence => Fate::Lost(LossReason::Silent),
        Answer::Icmp(icmp) => match icmp.kind {
            IcmpKind::Prohibited => Fate::Lost(LossReason::IcmpProhibited),
            IcmpKind::TimeExceeded => Fate::Lost(LossReason::TtlExceeded),
            IcmpKind::NetUnreachable
            | IcmpKind::HostUnreachable
            | IcmpKind::PortUnreachable
            | IcmpKind::TooBig
            | IcmpKind::Other => Fate::Lost(LossReason::IcmpUnreachable),
        },
        Answer::Invalid(reason) => Fate::Invalid(*reason),
    }
}

impl Counters {
    /// Books one probe whose fate is known.
    pub fn settle(&mut self, observation: &Observation) {
        self.book(fate(&observation.answer));
    }

    /// Books one fate.
    pub fn book(&mut self, fate: Fate) {
        self.sent += 1;
        match fate {
            Fate::Received => self.received += 1,
            Fate::Lost(reason) => *self.lost.entry(reason).or_default() += 1,
            Fate::Invalid(reason) => *self.invalid.entry(reason).or_default() += 1,
        }
    }

    /// All losses together.
    pub fn lost_total(&self) -> u64 {
        self.lost.values().sum()
    }

    /// All invalid samples together.
    pub fn invalid_total(&self) -> u64 {
        self.invalid.values().sum()
    }

    /// Whether every packet has exactly one fate.
    pub fn adds_up(&self) -> bool {
        self.sent == self.received + self.lost_total() + self.invalid_total()
    }
}

/// Upper bounds of the round-trip time buckets in seconds: 100 us doubling to 3.3 s, near the
/// verdict timer. What is slower falls into `+Inf`.
pub const BUCKET_BOUNDS: [f64; 16] = [
    0.0001, 0.0002, 0.0004, 0.0008, 0.0016, 0.0032, 0.0064, 0.0128, 0.0256, 0.0512, 0.1024, 0.2048,
    0.4096, 0.8192, 1.6384, 3.2768,
];

/// A histogram of round-trip times.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Histogram {
    /// Count per bucket of [`BUCKET_BOUNDS`], not cumulative; what is slower only adds to `count`.
    pub buckets: [u64; BUCKET_BOUNDS.len()],
    /// All observations.
    pub count: u64,
    /// Sum of all observations in seconds.
    pub sum: f64,
}

impl Histogram {
    /// Adds one round-trip time.
    pub fn observe(&mut self, rtt: Duration) {
        let seconds = rtt.as_secs_f64();
        let slot = BUCKET_BOUNDS.iter().position(|bound| seconds <= *bound);
        if let Some(bucket) = slot.and_then(|slot| self.buckets.get_mut(slot)) {
            *bucket += 1;
        }
        self.count += 1;
        self.sum += seconds;
    }
}

impl Counters {
    /// Adds another address's counts.
    pub fn merge(&mut self, other: &Self) {
        self.sent += other.sent;
        self.received += other.received;
        self.late += other.late;
        self.duplicate += other.duplicate;
        for (reason, count) in &other.lost {
            *self.lost.entry(*reason).or_default() += count;
        }
        for (reason, count) in &other.invalid {
            *self.invalid.entry(*reason).or_default() += count;
        }
    }
}

impl Counters {
    /// Forgets half of everything.
    pub fn halve(&mut self) {
        self.received /= 2;
        self.late /= 2;
        self.duplicate /= 2;
        self.lost.values_mut().for_each(|count| *count /= 2);
        self.invalid.values_mut().for_each(|count| *count /= 2);
        self.sent = self.received + self.lost_total() + self.invalid_total();
    }
}

impl Histogram {
    /// Adds another address's observations.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, more) in self.buckets.iter_mut().zip(other.buckets) {
            *bucket += more;
        }
        self.count += other.count;
        self.sum += other.sum;
    }
}
