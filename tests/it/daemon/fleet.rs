//! Twenty targets on five hosts, seen from three places.
//!
//! `m - ra - core` and `m - rb - core` (the second by a policy route), `v1 - b1 - core`,
//! `v2 - b2 - core`, `core - gw - switch - { h1 .. h5 }`. The daemon runs in `m`.

use std::fmt::Write as _;
use std::net::IpAddr;

use anyhow::{Context, Result};
use reachd_lab::server::{self, TcpServer};
use reachd_lab::{Family, Lab, Node, Subnet, WINDOWS_TTL};

/// Host number, port and service of the targets that stay well.
const CALM: [(u8, u16, &str); 16] = [
    (21, 3389, "rdp"),
    (21, 22, "ssh"),
    (12, 22, "ssh"),
    (22, 22, "ssh"),
    (22, 2222, "ssh"),
    (13, 22, "ssh"),
    (23, 22, "ssh"),
    (23, 2222, "ssh"),
    (24, 3389, "rdp"),
    (24, 22, "ssh"),
    (15, 3389, "rdp"),
    (15, 22, "ssh"),
    (25, 3389, "rdp"),
    (25, 22, "ssh"),
    (25, 8080, "tcp"),
    (15, 0, "ping"),
];

/// The four that will break, by the name of how.
pub(crate) const DOOMED: [(&str, u8); 4] =
    [("blackhole", 11), ("security_group", 12), ("port_closed", 13), ("packet_loss", 14)];

/// The network, its hosts and their servers.
pub(crate) struct Fleet {
    /// Where the daemon runs.
    pub(crate) monitor: Node,
    /// The router where all ways meet.
    pub(crate) core: Node,
    /// The hosts' gateway.
    pub(crate) gateway: Node,
    /// The hosts' switch.
    pub(crate) switch: Node,
    /// The hosts, `h1` first.
    pub(crate) hosts: Vec<Node>,
    source: IpAddr,
    servers: Vec<(u8, TcpServer)>,
}

impl Fleet {
    /// Builds it and starts the servers.
    pub(crate) fn build(lab: &mut Lab) -> Result<Self> {
        let monitor = lab.host("m")?;
        let [v1, v2] = [lab.host("v1")?, lab.host("v2")?];
        let core = lab.router("core")?;
        let mut policy = None;
        for (node, name) in [(&monitor, "ra"), (&monitor, "rb"), (&v1, "b1"), (&v2, "b2")] {
            let router = lab.router(name)?;
            let subnet = lab.link(node, &router)?;
            lab.link(&router, &core)?;
            if name == "rb" {
                policy = Some(subnet);
            }
        }
        let gateway = lab.router("gw")?;
        lab.link(&core, &gateway)?;
        let lan = Subnet::lan(9, 0);
        let switch = lab.switch("sw", lan)?;
        lab.attach(&gateway, &switch, 1)?;
        let mut hosts = Vec::new();
        for number in 1..=5_u8 {
            let host = lab.host(&format!("h{number}"))?;
            lab.attach(&host, &switch, 10 + number)?;
            let second = format!("addr add {}/24 dev to-sw", lan.host(20 + number).v4);
            host.ip(Family::V4, &[second])?;
            host.set_ttl(WINDOWS_TTL)?;
            hosts.push(host);
        }
        lab.converge()?;
        let policy = policy.context("a second way out")?;
        let (source, via) = (policy.host(1).v4, policy.host(2).v4);
        monitor.ip(
            Family::V4,
            &[
                format!("route add default via {via} table 100"),
                format!("rule add from {source} table 100"),
            ],
        )?;
        let mut servers = Vec::new();
        for (number, host) in (1..).zip(&hosts) {
            servers.push((number, server::rdp_confirm(host, 3389)?));
            servers.push((number, server::ssh_banner(host, 22)?));
            servers.push((number, server::ssh_banner(host, 2222)?));
            servers.push((number, server::sink(host, 8080)?));
        }
        let source = source.into();
        Ok(Self { monitor, core, gateway, switch, hosts, source, servers })
    }

    /// The address of a host number.
    pub(crate) fn at(number: u8) -> IpAddr {
        Subnet::lan(9, 0).host(number).v4.into()
    }

    /// Stops a host's Remote Desktop.
    pub(crate) fn stop_rdp(&mut self, host: u8) {
        self.servers.retain(|(number, server)| (*number, server.port()) != (host, 3389));
    }

    /// Starts it again.
    pub(crate) fn start_rdp(&mut self, host: u8) -> Result<()> {
        let node = self.hosts.get(usize::from(host) - 1).context("no such host")?;
        self.servers.push((host, server::rdp_confirm(node, 3389)?));
        Ok(())
    }

    /// The three vantages.
    pub(crate) fn vantages(&self) -> String {
        format!(
            "[[vantage]]\nname = \"policy\"\nsource = \"{}\"\n\
             [[vantage]]\nname = \"v1\"\nnetns = \"v1\"\n\
             [[vantage]]\nname = \"v2\"\nnetns = \"v2\"\n",
            self.source
        )
    }

    /// The targets that will break.
    pub(crate) fn doomed() -> String {
        let target = |(name, number)| {
            format!("[[target]]\nname = \"{name}\"\nhost = \"{}\"\n", Self::at(number))
        };
        DOOMED.into_iter().map(target).collect()
    }

    /// The others, as Prometheus lists them.
    pub(crate) fn calm() -> String {
        let mut list = String::from("[");
        for (index, (number, port, service)) in CALM.into_iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let host = Self::at(number);
            let (at, name) = match port {
                0 => (host.to_string(), calm_name(index)),
                port => (format!("{host}:{port}"), calm_name(index)),
            };
            let _ = write!(
                list,
                "{comma}\n{{\"targets\": [\"{at}\"], \"labels\": {{\"__reachd_name\": \"{name}\", \
                 \"__reachd_service\": \"{service}\", \"team\": \"calm\"}}}}"
            );
        }
        list + "\n]\n"
    }

    /// The names of the targets that stay well.
    pub(crate) fn calm_names() -> Vec<String> {
        (0..CALM.len()).map(calm_name).collect()
    }
}

fn calm_name(index: usize) -> String {
    format!("calm-{:02}", index + 1)
}
