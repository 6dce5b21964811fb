//! From where: the places probes leave from.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::time::StampSource;

/// The name of the vantage that exists when none is configured.
pub const DEFAULT_NAME: &str = "default";

/// On which side of the provider's edge a vantage stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Role {
    /// Reaches targets across the provider's edge, as users do.
    #[default]
    Outside,
    /// Stands inside the provider's network, behind its edge and its DDoS defence.
    Inside,
}

impl Role {
    /// The word used in the configuration and in labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Outside => "outside",
            Self::Inside => "inside",
        }
    }
}

/// What binds a vantage's packets to their way out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Binding {
    /// Whatever the kernel's routing table says.
    #[default]
    Any,
    /// Packets leave with this source address, routed by it.
    Source(IpAddr),
    /// Packets leave through this interface.
    Interface(String),
    /// Packets leave from this network namespace, a name under `/run/netns`.
    Namespace(String),
}

/// How much a vantage can see, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Mode {
    /// Raw sockets and the capture ring.
    #[default]
    Raw,
    /// Raw sockets for answers too; what left comes back stamped on the error queues.
    RawErrqueue,
    /// Raw sockets for answers too; what left is stamped by ourselves before the call.
    RawStamps,
    /// No `CAP_NET_RAW`: ping sockets and connects with their error queues.
    Sockets,
}

impl Mode {
    /// The label exported in metrics and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::RawErrqueue => "raw_errqueue",
            Self::RawStamps => "raw_stamps",
            Self::Sockets => "sockets",
        }
    }

    /// Whether packets themselves are seen, with their headers, and kept as evidence.
    pub const fn sees_packets(self) -> bool {
        match self {
            Self::Raw | Self::RawErrqueue | Self::RawStamps => true,
            Self::Sockets => false,
        }
    }

    /// Whether the resets are seen with which our kernel ends handshakes that it did not begin.
    pub const fn sees_resets(self) -> bool {
        match self {
            Self::Raw => true,
            Self::RawErrqueue | Self::RawStamps | Self::Sockets => false,
        }
    }

    /// Who stamps what leaves.
    pub const fn sent_source(self) -> StampSource {
        match self {
            Self::Raw => StampSource::Capture,
            Self::RawErrqueue => StampSource::Kernel,
            Self::RawStamps | Self::Sockets => StampSource::User,
        }
    }
}

/// How the sweep's probes leave a vantage with raw sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Means {
    /// Raw sockets: the kernel routes, finds neighbours and filters.
    #[default]
    Raw,
    /// Frames with our own routes and neighbours, faster and past the OUTPUT hooks of netfilter;
    /// what is not plain goes by raw sockets.
    Packet,
}

/// One place probes leave from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vantage {
    /// Unique name and metric label.
    pub name: String,
    /// What ties its packets to their way out.
    pub binding: Binding,
    /// Firewall mark set on its packets (`SO_MARK`).
    pub mark: Option<u32>,
    /// How the sweep's probes leave.
    pub transmit: Means,
    /// Which side of the provider's edge it stands on.
    pub role: Role,
    /// Vantages with the same upstream count as one in a quorum.
    pub upstream: Option<String>,
    /// Free labels for reports.
    pub labels: BTreeMap<String, String>,
    /// Name servers it asks; empty means the system's.
    pub resolvers: Vec<SocketAddr>,
}

impl Vantage {
    /// The vantage that exists when none is configured.
    pub fn unbound(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            binding: Binding::Any,
            mark: None,
            transmit: Means::Raw,
            role: Role::Outside,
            upstream: None,
            labels: BTreeMap::new(),
            resolvers: Vec::new(),
        }
    }

    /// The way its packets take out.
    pub fn way(&self) -> Way<'_> {
        let source = match self.binding {
            Binding::Source(source) => Some(source),
            Binding::Any | Binding::Interface(_) | Binding::Namespace(_) => None,
        };
        Way { source, mark: self.mark, upstream: self.upstream.as_deref() }
    }
}

/// The way that a vantage's packets take out: who shares it is no witness of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Way<'a> {
    /// The source address it is bound to, if that is what binds it.
    source: Option<IpAddr>,
    /// What may route it otherwise than the rest.
    mark: Option<u32>,
    /// What its owner calls its upstream.
    upstream: Option<&'a str>,
}

impl Way<'_> {
    /// Whether both leave this host by the same door with two source addresses.
    pub fn is_second_source_of(&self, other: &Self) -> bool {
        let both = self.source.zip(other.source);
        let two = both.is_some_and(|(one, other)| one != other && one.is_ipv4() == other.is_ipv4());
        two && self.mark == other.mark && self.upstream == other.upstream
    }

    /// Whether their owner says that they share an upstream.
    pub fn shares_upstream_with(&self, other: &Self) -> bool {
        self.upstream.is_some() && self.upstream == other.upstream
    }
}

/// The index of a vantage in the running plan; stays with the vantage over a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VantageId(pub u16);

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(source: &str, upstream: Option<&str>) -> Vantage {
        Vantage {
            binding: Binding::Source(source.parse().unwrap()),
            upstream: upstream.map(str::to_owned),
            ..Vantage::unbound(source)
        }
    }

    #[test]
    fn two_addresses_of_one_host_are_one_way_unless_their_owner_says_otherwise() {
        let second = |one: &Vantage, other: &Vantage| one.way().is_second_source_of(&other.way());
        let (one, other) = (bound("192.0.2.1", None), bound("192.0.2.2", None));
        assert!(second(&one, &other) && second(&other, &one));
        assert!(!second(&one, &one), "an address is no second of itself");
        assert!(!second(&one, &bound("2001:db8::1", None)), "of another family");
        assert!(!second(&one, &bound("192.0.2.2", Some("AS64500"))), "of an upstream of its own");
        assert!(!second(&one, &Vantage { mark: Some(7), ..other }), "routed by a mark");
        let device = Binding::Interface("wan1".to_owned());
        assert!(!second(&one, &Vantage { binding: device, ..Vantage::unbound("wan") }));
        assert!(!second(&Vantage::unbound("a"), &Vantage::unbound("b")));
        let named = |name: &str| Vantage { upstream: Some(name.to_owned()), ..one.clone() };
        assert!(named("AS64500").way().shares_upstream_with(&named("AS64500").way()));
        assert!(!named("AS64500").way().shares_upstream_with(&named("AS64501").way()));
        assert!(!one.way().shares_upstream_with(&one.way()), "nobody named it");
    }
}
