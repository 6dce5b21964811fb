//! What a scenario may do to its network, as its file says it.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Deserialize;

use crate::address::Family;
use crate::fault::{DeadEnd, Hook, Spells, With};
use crate::matching::Match;

use super::Stage;

/// One thing that is put in and healed. Nodes and addresses go by their names (see
/// [`Stage::prefixes`]).
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are named as the lab's own parameters")]
pub enum Act {
    /// A route that leads nowhere.
    DeadEnd { at: String, to: String, end: DeadEnd },
    /// Two neighbours that pass packets to and fro; with `seconds`, only for a time.
    Loop { near: String, far: String, to: String, seconds: Option<u64> },
    /// Packets dropped in silence.
    Drop { at: String, hook: Place, packets: Packets },
    /// A share of packets dropped by chance.
    Loss { at: String, percent: f64, packets: Packets },
    /// A filter with a verdict in nft's own words.
    Filter { at: String, hook: Place, packets: Packets, verdict: String },
    /// Loss in spells, by chance.
    Bursts { at: String, packets: Packets, good: f64, bad: f64, seed: u64 },
    /// Packets beyond a rate dropped.
    Police { at: String, per_second: u32, packets: Packets },
    /// Packets answered instead of passed on or taken in.
    Reject { at: String, hook: Place, packets: Packets, with: With },
    /// A wire with a smaller MTU.
    Mtu { a: String, b: String, mtu: u16 },
    /// A slow link with a queue, which datagrams from one node to another overflow. It is in force
    /// once the queue has dropped something.
    Congestion {
        at: String,
        toward: String,
        kbit: u32,
        delay_ms: u32,
        from: String,
        to: String,
        flood_kbit: u32,
    },
    /// A device taken down.
    LinkDown { at: String, toward: String },
    /// A host without its addresses.
    AddressRemove { at: String },
    /// ARP answered in a host's name.
    ProxyArp { at: String, host: String },
    /// A router that limits its own ICMP as Linux does by default.
    LimitIcmp { at: String },
    /// A router that sends a forged reset for each SYN it sees.
    Injector { at: String, port: u16 },
    /// A router that answers SYNs in a host's name.
    SynProxy { at: String, port: u16, host: String },
    /// A port of an address that leads to other hosts.
    PortForward { at: String, front: String, port: u16, backends: Vec<String> },
    /// A router that takes every TCP connection of a neighbour itself.
    TransparentProxy { at: String, from: String, port: u16 },
    /// An address that is one host now and another then; the second has it as well.
    Anycast { at: String, address: String, other: String, seconds: u64 },
    /// A service stopped.
    Stop { at: String, port: u16 },
    /// A service started.
    Start { at: String, port: u16, serve: Serve },
    /// Connections held by somebody, which fill a queue.
    Hold { from: String, at: String, port: u16, count: usize },
    /// A host whose queue others fill for a spell, and leave alone for the next.
    Waves { at: String, port: u16, from: String, backlog: u16, seconds: u64 },
}

/// Where a filter sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// [`Hook::Prerouting`].
    Prerouting,
    /// [`Hook::Input`].
    Input,
    /// [`Hook::Forward`].
    Forward,
    /// [`Hook::Output`].
    Output,
    /// Between the ports of a switch.
    Bridge,
}

impl Place {
    /// Gives the hook of a node that handles IP.
    pub(super) fn hook(self) -> Result<Hook> {
        ensure!(self != Self::Bridge, "only drops can sit in a switch");
        Ok(match self {
            Self::Prerouting => Hook::Prerouting,
            Self::Input => Hook::Input,
            Self::Output => Hook::Output,
            Self::Forward | Self::Bridge => Hook::Forward,
        })
    }
}

/// Which packets a filter takes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packets {
    /// TCP toward a port.
    pub tcp: Option<u16>,
    /// TCP from a port.
    pub tcp_from: Option<u16>,
    /// A kind of packet.
    pub among: Option<Among>,
    /// By source.
    pub from: Option<String>,
    /// By destination.
    pub to: Option<String>,
    /// Only IPv4 (4) or IPv6 (6).
    pub family: Option<u8>,
    /// A further condition in nft's own words.
    pub and: Option<String>,
}

/// Kinds of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Among {
    /// Echo requests.
    Echo,
    /// ICMP errors.
    IcmpErrors,
    /// Every TCP segment.
    Tcp,
    /// TCP resets.
    Resets,
}

impl Packets {
    /// Gives the match, with names resolved.
    pub(super) fn resolve(&self, stage: &Stage<'_>) -> Result<Match> {
        let mut packets = match (self.tcp, self.tcp_from, self.among) {
            (Some(port), None, None) => Match::tcp(port),
            (None, Some(port), None) => Match::tcp_from(port),
            (None, None, Some(Among::Echo)) => Match::echo(),
            (None, None, Some(Among::IcmpErrors)) => Match::icmp_errors(),
            (None, None, Some(Among::Tcp)) => Match::tcp_any(),
            (None, None, Some(Among::Resets)) => Match::tcp_reset(),
            (None, None, None) => Match::all(),
            _ => anyhow::bail!("one kind of packets at most: {self:?}"),
        };
        if let Some(name) = &self.from {
            packets = packets.from(stage.prefixes(name)?);
        }
        if let Some(name) = &self.to {
            packets = packets.to(stage.prefixes(name)?);
        }
        packets = match self.family {
            Some(4) => packets.family(Family::V4),
            Some(6) => packets.family(Family::V6),
            Some(other) => anyhow::bail!("no family {other}"),
            None => packets,
        };
        Ok(match &self.and {
            Some(condition) => packets.and(condition),
            None => packets,
        })
    }
}

/// What a service says.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Serve {
    /// The first answer of Remote Desktop.
    Rdp,
    /// The same, this many seconds late.
    RdpSlow(f64),
    /// The same, and this many bytes behind it.
    RdpCertificate(usize),
    /// Accepts and says nothing.
    Silent,
    /// Never accepts; the queue is this long.
    NoAccept(u16),
    /// A greeting of SSH.
    Ssh,
    /// Accepts, reads and says nothing.
    Sink,
}

/// Spells with these means, in seconds.
pub(super) fn random_spells(good: f64, bad: f64, seed: u64) -> Spells {
    let [good, bad] = [good, bad].map(Duration::from_secs_f64);
    Spells::Random { good, bad, seed }
}
