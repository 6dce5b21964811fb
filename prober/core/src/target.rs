//! What must be reachable: targets, and what each is expected to answer.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::evidence::rdp::RdpDepth;

/// A target's name, unique in a plan; by default `host:port`. It is the `target` label for ever.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetName(Arc<str>);

impl TargetName {
    /// Wraps a name; the configuration checks that it is not empty and unique.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is spoken above TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Service {
    /// Remote Desktop: an X.224 connection request must be answered ([MS-RDPBCGR] 2.2.1.1).
    #[default]
    Rdp,
    /// Secure Shell: the server greets first (RFC 4253 4.2).
    Ssh,
    /// Any TCP service: an accepted connection is all that is asked.
    Tcp,
    /// Echo only; no port is asked.
    Ping,
}

impl Service {
    /// The word used in the configuration, in JSON and in labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rdp => "rdp",
            Self::Ssh => "ssh",
            Self::Tcp => "tcp",
            Self::Ping => "ping",
        }
    }

    /// Whether a TCP port is probed at all.
    pub const fn has_port(self) -> bool {
        !matches!(self, Self::Ping)
    }
}

/// What stands in front of the target, which limits what distances and echo can prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fronted {
    /// The address is the host's own.
    #[default]
    None,
    /// A port-forwarding NAT answers some probes itself.
    Nat,
    /// A load balancer terminates or spreads connections.
    Balancer,
    /// One address, many places.
    Anycast,
}

/// Whether traces toward neighbouring addresses are allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Siblings {
    /// Plan targets in the same /24 or /64, else the subnet's first addresses.
    #[default]
    Auto,
    /// Never probe an address that is not in the plan.
    Off,
}

/// What a vantage, or all vantages of a role, should see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expect {
    /// The target answers.
    #[default]
    Reachable,
    /// The target's port is silently filtered on purpose; an answer is the finding `exposed`.
    Filtered,
    /// The port is closed on purpose; an answer is the finding `exposed`.
    Closed,
}

/// Which address families of a name are probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FamilyChoice {
    /// Every address the name has.
    #[default]
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

/// How the verdicts of several addresses make the target's verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AddressPolicy {
    /// The target is as bad as its worst answering family.
    #[default]
    All,
    /// One reachable address is enough.
    Any,
}

/// How loud an incident of this target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Worth a look today.
    Warning,
    /// Worth waking somebody.
    #[default]
    Critical,
}

impl Severity {
    /// The word used in the configuration and in alert labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// One host and port that must be reachable.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// Unique name and metric label.
    pub name: TargetName,
    /// Host name or literal address, as written.
    pub host: String,
    /// TCP port; meaningless for `Service::Ping`.
    pub port: u16,
    /// What is spoken on the port.
    pub service: Service,
    /// The configuration group it came from.
    pub group: Option<String>,
    /// Labels added to `reachd_target_info` and to alerts.
    pub labels: BTreeMap<String, String>,
    /// Severity of its incidents.
    pub severity: Severity,
    /// Time between two echoes from one vantage.
    pub echo_interval: Duration,
    /// Time between two SYN probes from one vantage.
    pub syn_interval: Duration,
    /// Time between two full connects with the service's first bytes.
    pub connect_interval: Duration,
    /// Names of the vantages that watch it; empty means all.
    pub vantages: Vec<String>,
    /// A port on which nothing listens and which filters let through: its answer tells stealth.
    pub canary_port: Option<u16>,
    /// Other ports that usually answer.
    pub control_ports: Vec<u16>,
    /// Addresses that share the target's subnet.
    pub neighbours: Vec<IpAddr>,
    /// Whether sibling traces are allowed.
    pub siblings: Siblings,
    /// What stands in front of it.
    pub fronted: Fronted,
    /// Expectations by vantage name or role (`outside`, `inside`).
    pub expect: BTreeMap<String, Expect>,
    /// Ports the service may have moved to.
    pub alternate_ports: Vec<u16>,
    /// Loss ratio above which the target counts as degraded, 0 to 1.
    pub loss_threshold: f64,
    /// How long belief in a failure must hold before an incident opens.
    pub open_after: Duration,
    /// How long successes must hold before an incident closes.
    pub close_after: Duration,
    /// Which address families are probed.
    pub family: FamilyChoice,
    /// How several addresses are combined.
    pub addresses: AddressPolicy,
    /// How far an RDP server is looked at beyond its first answer.
    pub rdp_depth: RdpDepth,
    /// Whether the names that an RDP server tells may be labels of metrics.
    pub rdp_names: bool,
    /// Bytes a `tcp` service must greet with, if it is known to greet.
    pub expect_banner: Option<String>,
    /// Bytes sent to a `tcp` service to make it answer.
    pub send: Option<String>,
    /// The provider's instance id, for reports.
    pub instance_id: Option<String>,
    /// The provider's region, for reports.
    pub region: Option<String>,
    /// The provider's account, for reports.
    pub account: Option<String>,
}

/// Configured ports of a kind that are asked at most: more would look like a scan.
pub const PORTS_ASKED: usize = 8;
/// Configured neighbours that are asked at most.
pub const NEIGHBOURS_ASKED: usize = 4;

/// RDP's registered port (IANA `ms-wbt-server`).
pub const DEFAULT_PORT: u16 = 3389;

impl Target {
    /// A target with every setting at its default; the name is `host:port`, or `host` for ping.
    pub fn new(host: &str, port: u16, service: Service) -> Self {
        let name = match service {
            Service::Ping => host.to_owned(),
            Service::Rdp | Service::Ssh | Service::Tcp if host.contains(':') => {
                format!("[{host}]:{port}")
            }
            Service::Rdp | Service::Ssh | Service::Tcp => format!("{host}:{port}"),
        };
        Self {
            name: TargetName::new(&name),
            host: host.to_owned(),
            port,
            service,
            group: None,
            labels: BTreeMap::new(),
            severity: Severity::default(),
            echo_interval: Duration::from_secs(10),
            syn_interval: Duration::from_secs(10),
            connect_interval: Duration::from_secs(300),
            vantages: Vec::new(),
            canary_port: None,
            control_ports: Vec::new(),
            neighbours: Vec::new(),
            siblings: Siblings::default(),
            fronted: Fronted::default(),
            expect: BTreeMap::new(),
            alternate_ports: Vec::new(),
            loss_threshold: 0.05,
            open_after: Duration::from_secs(10),
            close_after: Duration::from_secs(30),
            family: FamilyChoice::default(),
            addresses: AddressPolicy::default(),
            rdp_depth: RdpDepth::default(),
            rdp_names: false,
            expect_banner: None,
            send: None,
            instance_id: None,
            region: None,
            account: None,
        }
    }

    /// What the vantage of this name and role should see: by name first, then by role.
    pub fn expected_from(&self, vantage: &str, role: &str) -> Expect {
        self.expect.get(vantage).or_else(|| self.expect.get(role)).copied().unwrap_or_default()
    }
}
