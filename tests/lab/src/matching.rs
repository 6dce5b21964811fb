//! What packets a filter fault takes, written once for both families.

use crate::address::{Family, Prefixes};

/// A set of packets, both families unless an address or [`Match::family`] says otherwise.
#[derive(Clone, Debug)]
pub struct Match {
    kind: Kind,
    from: Option<Prefixes>,
    to: Option<Prefixes>,
    family: Option<Family>,
    extra: String,
}

impl Match {
    /// Takes every packet.
    pub fn all() -> Self {
        Self::new(Kind::All)
    }

    /// Takes echo requests.
    pub fn echo() -> Self {
        Self::new(Kind::Echo)
    }

    /// Takes ICMP errors: time exceeded, unreachable, too big.
    ///
    /// IPv6 neighbour discovery is not among them, so a link keeps working.
    pub fn icmp_errors() -> Self {
        Self::new(Kind::IcmpErrors)
    }

    /// Takes every TCP segment.
    pub fn tcp_any() -> Self {
        Self::new(Kind::TcpAny)
    }

    /// Takes TCP segments toward a port.
    pub fn tcp(port: u16) -> Self {
        Self::new(Kind::Tcp(port))
    }

    /// Takes TCP segments that come from a port: the answers of a service.
    pub fn tcp_from(port: u16) -> Self {
        Self::new(Kind::TcpFrom(port))
    }

    /// Takes TCP resets.
    pub fn tcp_reset() -> Self {
        Self::new(Kind::TcpReset)
    }

    /// Takes UDP datagrams toward a port.
    pub fn udp(port: u16) -> Self {
        Self::new(Kind::Udp(port))
    }

    /// Keeps only packets whose source lies in `source`.
    #[must_use]
    pub fn from(mut self, source: impl Into<Prefixes>) -> Self {
        self.from = Some(source.into());
        self
    }

    /// Keeps only packets whose destination lies in `target`.
    #[must_use]
    pub fn to(mut self, target: impl Into<Prefixes>) -> Self {
        self.to = Some(target.into());
        self
    }

    /// Keeps only packets of one family.
    #[must_use]
    pub fn family(mut self, family: Family) -> Self {
        self.family = Some(family);
        self
    }

    /// Adds a condition in nft's own words, such as `meta length > 1300`.
    #[must_use]
    pub fn and(mut self, condition: &str) -> Self {
        self.extra = format!("{} {condition}", self.extra);
        self
    }

    /// Gives one nft expression per family that can match.
    pub(crate) fn expressions(&self, table: Table) -> Vec<String> {
        Family::BOTH.into_iter().filter_map(|family| self.expression(table, family)).collect()
    }

    fn new(kind: Kind) -> Self {
        Self { kind, from: None, to: None, family: None, extra: String::new() }
    }

    fn expression(&self, table: Table, family: Family) -> Option<String> {
        if self.family.is_some_and(|wanted| wanted != family) {
            return None;
        }
        let mut words = vec![table.family_test(family).to_owned()];
        for (field, prefixes) in [("saddr", &self.from), ("daddr", &self.to)] {
            let Some(prefixes) = prefixes else { continue };
            let set: Vec<String> = prefixes.of(family).map(|prefix| prefix.to_string()).collect();
            if set.is_empty() {
                return None;
            }
            let header = match family {
                Family::V4 => "ip",
                Family::V6 => "ip6",
            };
            words.push(format!("{header} {field} {{ {} }}", set.join(", ")));
        }
        words.push(self.kind.expression(family));
        words.push(self.extra.trim().to_owned());
        words.retain(|word| !word.is_empty());
        Some(words.join(" "))
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    All,
    Echo,
    IcmpErrors,
    TcpAny,
    Tcp(u16),
    TcpFrom(u16),
    TcpReset,
    Udp(u16),
}

impl Kind {
    fn expression(self, family: Family) -> String {
        match (self, family) {
            (Self::All, _) => String::new(),
            (Self::Echo, Family::V4) => "icmp type echo-request".into(),
            (Self::Echo, Family::V6) => "icmpv6 type echo-request".into(),
            (Self::IcmpErrors, Family::V4) => {
                "icmp type { time-exceeded, destination-unreachable }".into()
            }
            (Self::IcmpErrors, Family::V6) => {
                "icmpv6 type { time-exceeded, destination-unreachable, packet-too-big }".into()
            }
            (Self::TcpAny, _) => "meta l4proto tcp".into(),
            (Self::Tcp(port), _) => format!("tcp dport {port}"),
            (Self::TcpFrom(port), _) => format!("tcp sport {port}"),
            (Self::TcpReset, _) => "tcp flags & rst == rst".into(),
            (Self::Udp(port), _) => format!("udp dport {port}"),
        }
    }
}

/// The kind of nft table a rule goes into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Packets that a host or router handles as IP, of both families.
    Inet,
    /// Frames that a switch passes on.
    Bridge,
}

impl Table {
    pub(crate) fn keyword(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Bridge => "bridge",
        }
    }

    fn family_test(self, family: Family) -> &'static str {
        match (self, family) {
            (Self::Inet, Family::V4) => "meta nfproto ipv4",
            (Self::Inet, Family::V6) => "meta nfproto ipv6",
            (Self::Bridge, Family::V4) => "meta protocol ip",
            (Self::Bridge, Family::V6) => "meta protocol ip6",
        }
    }
}
