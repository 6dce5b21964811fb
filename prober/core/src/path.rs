//! Paths: who answered at which distance.

use std::net::IpAddr;
use std::time::Duration;

/// Who answered a probe of one hop limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hop {
    /// The hop limit asked with.
    pub ttl: u8,
    /// Who answered; `None` is unknown, never "down".
    pub address: Option<IpAddr>,
    /// Time to the answer.
    pub rtt: Option<Duration>,
}

/// How a path ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathEnd {
    /// The destination itself answered at this hop limit.
    Reached(u8),
    /// A router said the destination cannot be reached.
    Unreachable {
        /// The smallest hop limit that drew the error.
        ttl: u8,
        /// Who said so.
        from: IpAddr,
    },
    /// The same addresses came round again.
    Loop,
    /// Nobody answered beyond the last hop.
    Silent,
}

/// One flow's path, by increasing hop limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// One entry per hop limit asked, silent ones included.
    pub hops: Vec<Hop>,
    /// How it ended.
    pub end: PathEnd,
}

impl Path {
    /// The largest hop limit at which a router (not the destination) answered; 0 if none did.
    pub fn last_router(&self) -> u8 {
        let beyond = match self.end {
            PathEnd::Reached(ttl) => ttl,
            PathEnd::Unreachable { .. } | PathEnd::Loop | PathEnd::Silent => u8::MAX,
        };
        let routers = self.hops.iter().filter(|hop| hop.address.is_some() && hop.ttl < beyond);
        routers.map(|hop| hop.ttl).max().unwrap_or(0)
    }

    /// Whether a router that must be on the way was not heard.
    pub fn has_holes(&self) -> bool {
        let end = match self.end {
            PathEnd::Reached(ttl) | PathEnd::Unreachable { ttl, .. } => ttl,
            PathEnd::Loop | PathEnd::Silent => self.last_router(),
        };
        (1..end).any(|ttl| self.at(ttl).is_none())
    }

    /// The address that answered at this hop limit.
    pub fn at(&self, ttl: u8) -> Option<IpAddr> {
        self.hops.iter().find(|hop| hop.ttl == ttl).and_then(|hop| hop.address)
    }
}

/// Initial hop limits in common use: Linux and the BSDs 64, Windows 128, network devices 255.
const INITIAL_HOP_LIMITS: [u8; 3] = [64, 128, 255];

/// How many routers an answer passed: the nearest common initial hop limit above the received one,
/// minus the received one (RFC 9293 fixes none; the three values are what systems ship).
pub fn distance(received_ttl: u8) -> u8 {
    let initial = INITIAL_HOP_LIMITS.into_iter().find(|initial| *initial >= received_ttl);
    initial.unwrap_or(u8::MAX).saturating_sub(received_ttl)
}
