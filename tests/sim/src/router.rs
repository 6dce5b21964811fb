//! Routers: where packets are delayed, lost, dropped, refused, sent round in circles or answered
//! by somebody they were not for.

use std::net::IpAddr;
use std::time::Duration;

use reachd_core::time::Instant;

use crate::random::Random;

/// How a link loses packets.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Loss {
    /// Not at all.
    #[default]
    None,
    /// Each with this probability.
    Independent(f64),
    /// This share, as evenly as can be: what chance would do on average, without chance.
    Even(f64),
    /// In bursts (Gilbert, 1960; Elliott, 1963): good and bad spells follow each other in time, and
    /// all is lost while it is bad.
    Bursts {
        /// Mean length of a good spell.
        good: Duration,
        /// Mean length of a bad spell.
        bad: Duration,
    },
}

/// The state of a lossy link.
#[derive(Debug, Clone, Default)]
pub struct Link {
    /// Its habit.
    pub loss: Loss,
    bad: bool,
    until: Instant,
    owed: f64,
}

impl Link {
    /// A link of this habit.
    pub const fn new(loss: Loss) -> Self {
        Self { loss, bad: false, until: Instant::ZERO, owed: 0.0 }
    }

    /// Whether a packet is lost now.
    pub fn loses(&mut self, now: Instant, random: &mut Random) -> bool {
        match self.loss {
            Loss::None => false,
            Loss::Independent(probability) => random.chance(probability),
            Loss::Even(share) => {
                self.owed += share;
                let loses = self.owed >= 1.0;
                self.owed -= if loses { 1.0 } else { 0.0 };
                loses
            }
            Loss::Bursts { good, bad } => {
                while self.until <= now {
                    self.bad = !self.bad;
                    let mean = if self.bad { bad } else { good };
                    let spell = mean.mul_f64(-(1.0 - random.fraction()).ln());
                    self.until = self.until + spell.max(Duration::from_millis(1));
                }
                self.bad
            }
        }
    }
}

/// A token bucket: over ICMP errors, as routers and Linux hosts have, or over what passes.
#[derive(Debug, Clone)]
pub struct IcmpLimit {
    rate: f64,
    burst: f64,
    level: f64,
    at: Instant,
}

impl IcmpLimit {
    /// So many a second, and so many at once.
    pub const fn new(rate: f64, burst: f64) -> Self {
        Self { rate, burst, level: burst, at: Instant::ZERO }
    }

    /// Linux' default toward one peer: `icmp_ratelimit` 1000 ms, six at once.
    pub const fn linux() -> Self {
        Self::new(1.0, 6.0)
    }

    /// Whether one more may go.
    pub fn admits(&mut self, now: Instant) -> bool {
        let gained = now.since(self.at).as_secs_f64() * self.rate;
        self.level = (self.level + gained).min(self.burst);
        self.at = now;
        let admits = self.level >= 1.0;
        self.level -= if admits { 1.0 } else { 0.0 };
        admits
    }
}

/// Which transports a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transport {
    /// All of them.
    #[default]
    Any,
    /// Echo only.
    Icmp,
    /// TCP toward any port.
    Tcp,
    /// TCP toward this port.
    Port(u16),
    /// SYNs toward this port.
    Syn(u16),
}

/// Which packets a rule is about; what is not said matches all.
#[derive(Debug, Clone, Default)]
pub struct Match {
    /// Toward this address.
    pub dest: Option<IpAddr>,
    /// From the vantage of this name.
    pub vantage: Option<String>,
    /// Toward the /24 or /64 of this address.
    pub subnet: Option<IpAddr>,
    /// Of this transport.
    pub transport: Transport,
    /// Longer than this, in bytes with the IP header.
    pub longer_than: Option<usize>,
    /// Of the flows that a hash over addresses and ports gives this one of so many members.
    pub member: Option<Member>,
}

/// One of several equal paths, as a hash over addresses and ports chooses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// How many paths there are; at least 1.
    pub of: u64,
    /// Which one is meant, from 0.
    pub number: u64,
}

/// What a router does with the packets of a rule.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Action {
    /// Drops them before it looks at their hop limit: it looks silent to a trace.
    DropBeforeTtl,
    /// Drops them after that: a trace still sees it.
    Drop,
    /// Answers with this ICMP error (type and code of the packet's family).
    Refuse(u8, u8),
    /// Drops each with this probability: a queue or a table that is full most of the time.
    DropSome(f64),
    /// Sends them back to the router before it.
    Return,
    /// Answers SYNs with an acceptance of its own, whatever becomes of the host behind it: a SYN
    /// proxy.
    Accept,
    /// Lets handshakes pass and answers the first data with a reset of its own, in the host's name.
    Inspect,
    /// Answers SYNs with a reset of its own; the SYN goes on if `forward`.
    Reset {
        /// Whether the SYN still reaches the host, which then answers as well.
        forward: bool,
    },
}

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// What it is about.
    pub when: Match,
    /// What it does.
    pub action: Action,
}

/// Lets only so many packets a second pass.
#[derive(Debug, Clone)]
pub struct Policer {
    /// Which packets it counts.
    pub when: Match,
    /// How many pass.
    pub bucket: IcmpLimit,
}

/// One router.
#[derive(Debug, Clone)]
pub struct Router {
    /// Its IPv4 address.
    pub v4: IpAddr,
    /// Its IPv6 address.
    pub v6: IpAddr,
    /// Time a packet takes to it from the one before, one way.
    pub delay: Duration,
    /// Random extra time on top.
    pub jitter: Duration,
    /// Whether it never sends Time Exceeded.
    pub silent: bool,
    /// The hop limit its own packets start with.
    pub initial_ttl: u8,
    /// Its limit on ICMP errors.
    pub limit: Option<IcmpLimit>,
    /// What it loses on the way out.
    pub forth: Link,
    /// What it loses on the way back.
    pub back: Link,
    /// What it does with some packets; the first match counts.
    pub rules: Vec<Rule>,
    /// What it lets through at most.
    pub policers: Vec<Policer>,
    /// Vantages whose answers it has no way back for.
    pub cut_from: Vec<String>,
    /// Answers longer than this, in bytes, vanish on their way back.
    pub back_limit: Option<usize>,
}

impl Router {
    /// A healthy router with these addresses.
    pub const fn new(v4: IpAddr, v6: IpAddr) -> Self {
        Self {
            v4,
            v6,
            delay: Duration::from_millis(2),
            jitter: Duration::from_micros(300),
            silent: false,
            initial_ttl: 255,
            limit: None,
            forth: Link::new(Loss::None),
            back: Link::new(Loss::None),
            rules: Vec::new(),
            policers: Vec::new(),
            cut_from: Vec::new(),
            back_limit: None,
        }
    }

    /// Its address in the family of `peer`.
    pub const fn address(&self, peer: IpAddr) -> IpAddr {
        if peer.is_ipv4() { self.v4 } else { self.v6 }
    }

    /// Adds a rule.
    pub fn rule(&mut self, when: Match, action: Action) {
        self.rules.push(Rule { when, action });
    }
}
