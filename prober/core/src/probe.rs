//! Probes without IO: one engine per file, driven by asks and observations.

pub mod asides;
pub mod exchange;
pub mod flows;
pub mod large;
pub mod rates;
pub mod rdp;
pub mod series;
pub mod trace;

use crate::evidence::Observation;
use crate::time::Instant;

/// One packet an engine wants sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// The engine's own number for it.
    pub id: u16,
    /// What to send.
    pub what: Question,
    /// Hop limit; 64 asks the target itself.
    pub ttl: u8,
}

/// The hop limit of probes that ask the target itself.
pub const FULL_TTL: u8 = 64;

/// What to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// An ICMP echo.
    Echo,
    /// A SYN on a flow of its own.
    Syn {
        /// Destination port.
        port: u16,
    },
    /// A SYN on a flow shared by a whole pass, so that every packet takes the same path.
    FlowSyn {
        /// Destination port.
        port: u16,
        /// Which pass; one source port and one sequence number belong to it.
        pass: u8,
    },
    /// A SYN on a flow that was asked before: whatever divides flows treats it as it did then.
    SameFlow {
        /// Destination port.
        port: u16,
        /// The source port of that flow.
        source_port: u16,
    },
    /// An ICMP echo of this size, which no router may fragment; its reply is as large.
    SizedEcho {
        /// Bytes on the wire, network header included.
        size: u16,
    },
    /// A segment of a connection that does not exist, which no router may fragment. Hosts refuse it
    /// with a reset of 40 or 60 bytes (RFC 9293 3.10.7.2): only the way there is put to the test.
    Segment {
        /// Destination port.
        port: u16,
        /// Bytes on the wire, network header included.
        size: u16,
    },
}

/// A probe without IO. Exactly one observation follows each ask; more facts may follow it.
pub trait Engine {
    /// Gives the next packet due, if any.
    fn poll_ask(&mut self, now: Instant) -> Option<Ask>;

    /// Takes the fate of one ask.
    fn handle_observation(&mut self, now: Instant, ask: u16, observation: &Observation);

    /// Takes a fact that came after the fate was settled: a second answer, or a late one.
    fn handle_afterthought(&mut self, now: Instant, ask: u16, observation: &Observation);

    /// When [`Self::poll_ask`] or [`Self::is_done`] may change without an observation.
    fn poll_timeout(&self) -> Option<Instant>;

    /// Whether nothing is due or waited for any more.
    fn is_done(&self) -> bool;

    /// Packets that it means to send to the very end and has not asked for yet.
    fn planned(&self) -> usize {
        0
    }
}
