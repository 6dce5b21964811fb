//! The lab: nodes, the wires between them, and routes that lead everywhere.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::address::{Addresses, Family, Prefix, Subnet};
use crate::node::{Node, feed};
use crate::{sandbox, wait_until};

/// A set of nodes and the networks that join them.
///
/// It exists in a sandbox only, where it is alone; node names are short and unique.
#[derive(Debug)]
pub struct Lab {
    nodes: Vec<Member>,
    interfaces: Vec<Interface>,
    switches: BTreeMap<Node, Subnet>,
    extra: Vec<Extra>,
    routes: BTreeMap<Node, Vec<Route>>,
    links_made: u8,
    neighbours: Neighbours,
}

/// How fast the nodes notice that a neighbour has gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Neighbours {
    /// Within a few seconds: reachable for one, one more before the first probe.
    #[default]
    Fast,
    /// As the kernel has it: half a minute and more.
    KernelDefaults,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Host,
    Router,
    Switch,
}

#[derive(Debug)]
struct Member {
    node: Node,
    role: Role,
}

#[derive(Clone, Debug)]
pub(crate) struct Interface {
    pub(crate) node: Node,
    pub(crate) device: String,
    pub(crate) subnet: Subnet,
    pub(crate) addresses: Addresses,
}

/// A second pair of addresses of a node, which others reach through its first interface.
#[derive(Debug)]
struct Extra {
    node: Node,
    addresses: Addresses,
}

#[derive(Clone, Debug)]
pub(crate) struct Route {
    family: Family,
    line: String,
}

impl Lab {
    /// Makes an empty lab; refused outside a sandbox.
    pub fn new() -> Result<Self> {
        ensure!(
            sandbox::is_inside(),
            "a lab is built in a sandbox only: use inside() or sandbox_command()"
        );
        Ok(Self {
            nodes: Vec::new(),
            interfaces: Vec::new(),
            switches: BTreeMap::new(),
            extra: Vec::new(),
            routes: BTreeMap::new(),
            links_made: 0,
            neighbours: Neighbours::default(),
        })
    }

    /// Chooses the neighbour timers of interfaces made from now on.
    pub fn set_neighbours(&mut self, neighbours: Neighbours) {
        self.neighbours = neighbours;
    }

    /// Adds a node that sends and answers but does not forward.
    pub fn host(&mut self, name: &str) -> Result<Node> {
        self.node(name, Role::Host)
    }

    /// Adds a node that forwards both families and never holds back its ICMP errors.
    pub fn router(&mut self, name: &str) -> Result<Node> {
        let node = self.node(name, Role::Router)?;
        node.sysctl(&[
            ("net.ipv4.ip_forward", "1"),
            ("net.ipv6.conf.all.forwarding", "1"),
            ("net.ipv4.conf.all.send_redirects", "0"),
            ("net.ipv4.conf.default.send_redirects", "0"),
        ])?;
        Ok(node)
    }

    /// Adds a switch, on which every port shares one subnet; it has no address and costs no hop.
    pub fn switch(&mut self, name: &str, subnet: Subnet) -> Result<Node> {
        let node = self.node(name, Role::Switch)?;
        let lines = format!(
            "link add {BRIDGE} type bridge stp_state 0 mcast_snooping 0\nlink set {BRIDGE} up"
        );
        node.ip(Family::V4, &[lines])?;
        self.switches.insert(node.clone(), subnet);
        Ok(node)
    }

    /// Joins two nodes by a wire with a subnet of its own, numbered from 1: `10.1.N.0/30`.
    ///
    /// The first node gets `.1` and `::1`, the second `.2` and `::2`.
    pub fn link(&mut self, a: &Node, b: &Node) -> Result<Subnet> {
        self.links_made = self.links_made.checked_add(1).context("too many links")?;
        let subnet = Subnet::link(1, self.links_made);
        self.link_on(a, b, subnet)?;
        Ok(subnet)
    }

    /// Joins two nodes by a wire with the given subnet.
    pub fn link_on(&mut self, a: &Node, b: &Node, subnet: Subnet) -> Result<()> {
        let ends = [(a, device_toward(b)), (b, device_toward(a))];
        wire(&ends)?;
        let [(_, a_device), (_, b_device)] = ends;
        self.address(a, a_device, subnet, 1)?;
        self.address(b, b_device, subnet, 2)
    }

    /// Plugs a node into a switch, with a host number of the switch's subnet.
    pub fn attach(&mut self, node: &Node, switch: &Node, number: u8) -> Result<Addresses> {
        let subnet =
            *self.switches.get(switch).with_context(|| format!("{switch} is no switch"))?;
        let port = device_toward(node);
        let device = device_toward(switch);
        wire(&[(node, device.clone()), (switch, port.clone())])?;
        switch.ip(Family::V4, &[format!("link set {port} master {BRIDGE}")])?;
        self.address(node, device, subnet, number)?;
        Ok(subnet.host(number))
    }

    /// Gives a node one more pair of addresses, on its first interface, that it does not use
    /// unless asked to. [`Lab::converge`] makes them known everywhere.
    pub fn second_address(&mut self, node: &Node, subnet: Subnet, number: u8) -> Result<Addresses> {
        let device = self.first_interface(node)?.device.clone();
        let addresses = subnet.host(number);
        node.ip(Family::V4, &[format!("addr add {}/32 dev {device}", addresses.v4)])?;
        let line = format!("addr add {}/128 dev {device} nodad preferred_lft 0", addresses.v6);
        node.ip(Family::V6, &[line])?;
        self.extra.push(Extra { node: node.clone(), addresses });
        Ok(addresses)
    }

    /// Adds a static route.
    pub fn route(&mut self, node: &Node, prefix: Prefix, via: IpAddr) -> Result<()> {
        let route = Route::new(prefix.family(), &prefix.to_string(), via);
        self.add_routes(node, vec![route])
    }

    /// Gives every node static routes over the fewest hops to every network.
    ///
    /// Hosts send the rest to their first router; routers do not know the rest and say so.
    pub fn converge(&mut self) -> Result<()> {
        self.settle()?;
        for node in self.members(|role| role != Role::Switch) {
            let routes = self.shortest_routes(&node);
            self.add_routes(&node, routes)?;
        }
        Ok(())
    }

    /// Makes every program in this sandbox ask the given name server, and no other.
    pub fn set_nameserver(&self, server: IpAddr) -> Result<()> {
        let text = format!("nameserver {server}\noptions timeout:1 attempts:2\n");
        let path = Path::new("/etc/resolv.conf");
        if !path.exists() {
            // A link into the outer /run, which the sandbox hides: that place is ours to fill.
            let hidden = path
                .parent()
                .context("a folder")?
                .join(fs::read_link(path).context("read the link /etc/resolv.conf")?);
            ensure!(hidden.starts_with("/run") || hidden.starts_with("/etc/../run"), "{hidden:?}");
            fs::create_dir_all(hidden.parent().context("a folder")?).context("make a folder")?;
            return fs::write(&hidden, text).with_context(|| format!("write {hidden:?}"));
        }
        fs::write(RESOLV_CONF, text).context("write resolv.conf")?;
        feed(Command::new("mount").arg("--bind").args([RESOLV_CONF, "/etc/resolv.conf"]), "")
            .context("put a resolv.conf over the machine's, in this sandbox only")
    }

    /// Waits until every device carries traffic and every port of a switch forwards.
    pub fn settle(&self) -> Result<()> {
        self.nodes.iter().try_for_each(|member| settle_node(&member.node, None))
    }

    /// Gives the addresses of a node's first interface.
    pub fn addresses(&self, node: &Node) -> Result<Addresses> {
        Ok(self.first_interface(node)?.addresses)
    }

    /// Gives the node of this name.
    pub fn find(&self, name: &str) -> Result<&Node> {
        let mut members = self.nodes.iter().map(|member| &member.node);
        members
            .find(|node| node.name() == name)
            .with_context(|| format!("no node is called {name}"))
    }

    /// Gives the second pairs of addresses of a node, in the order they were given.
    pub fn second_addresses(&self, node: &Node) -> Vec<Addresses> {
        let extras = self.extra.iter().filter(|extra| extra.node == *node);
        extras.map(|extra| extra.addresses).collect()
    }

    /// Gives the network of a node's first interface.
    pub fn first_subnet(&self, node: &Node) -> Result<Subnet> {
        Ok(self.first_interface(node)?.subnet)
    }

    pub(crate) fn first_interface(&self, node: &Node) -> Result<&Interface> {
        self.interfaces_of(node).next().with_context(|| format!("{node} has no interface"))
    }

    pub(crate) fn interfaces_of(&self, node: &Node) -> impl Iterator<Item = &Interface> {
        self.interfaces.iter().filter(move |interface| interface.node == *node)
    }

    /// Gives the addresses that `of` has on a network it shares with `seen_from`.
    pub(crate) fn next_hop(&self, seen_from: &Node, of: &Node) -> Result<Addresses> {
        self.interfaces_of(of)
            .find(|theirs| self.interfaces_of(seen_from).any(|ours| ours.subnet == theirs.subnet))
            .map(|interface| interface.addresses)
            .with_context(|| format!("{seen_from} and {of} share no network"))
    }

    /// Gives the lines that set a node's static routes anew.
    pub(crate) fn route_lines(&self, node: &Node, family: Family) -> Vec<String> {
        let routes = self.routes.get(node).map_or(&[][..], Vec::as_slice);
        routes.iter().filter(|route| route.family == family).map(|r| r.line.clone()).collect()
    }

    fn node(&mut self, name: &str, role: Role) -> Result<Node> {
        // A device is called "to-" and the name, and the kernel allows 15 bytes.
        let fits = !name.is_empty() && name.len() <= 12;
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        ensure!(fits && plain, "{name:?} is no name for a node: 1 to 12 letters, digits, dashes");
        let output = Command::new("ip")
            .args(["netns", "add", name])
            .output()
            .context("start ip, which is in the package iproute2")?;
        if !output.status.success() {
            bail!("make {name}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let node = Node::new(name);
        node.ip(Family::V4, &["link set lo up".into()])?;
        node.sysctl(&NODE_DEFAULTS)?;
        self.nodes.push(Member { node: node.clone(), role });
        Ok(node)
    }

    fn address(&mut self, node: &Node, device: String, subnet: Subnet, number: u8) -> Result<()> {
        let interface =
            Interface { node: node.clone(), device, subnet, addresses: subnet.host(number) };
        for family in Family::BOTH {
            node.ip(family, &[interface.address_line("add", family)])?;
        }
        if self.neighbours == Neighbours::Fast {
            for folder in ["ipv4/neigh", "ipv6/neigh"] {
                node.each_device(folder, "base_reachable_time_ms", "1000")?;
                node.each_device(folder, "delay_first_probe_time", "1")?;
            }
        }
        self.interfaces.push(interface);
        Ok(())
    }

    fn add_routes(&mut self, node: &Node, routes: Vec<Route>) -> Result<()> {
        settle_node(node, None)?;
        for family in Family::BOTH {
            let of_family = routes.iter().filter(|route| route.family == family);
            node.ip(family, &of_family.map(|route| route.line.clone()).collect::<Vec<_>>())?;
        }
        self.routes.entry(node.clone()).or_default().extend(routes);
        Ok(())
    }

    fn members(&self, wanted: impl Fn(Role) -> bool) -> Vec<Node> {
        let members = self.nodes.iter().filter(|member| wanted(member.role));
        members.map(|member| member.node.clone()).collect()
    }

    fn forwards(&self, node: &Node) -> bool {
        self.nodes.iter().any(|member| member.node == *node && member.role == Role::Router)
    }

    /// Walks outward from `start` and notes, for each network, the first hop on the way to it.
    fn shortest_routes(&self, start: &Node) -> Vec<Route> {
        let mut first_hops: BTreeMap<Node, Option<Addresses>> = BTreeMap::new();
        let mut networks: Vec<Subnet> = Vec::new();
        let mut routes = Vec::new();
        let mut default = None;
        let mut queue = VecDeque::from([start.clone()]);
        first_hops.insert(start.clone(), None);
        while let Some(node) = queue.pop_front() {
            let first_hop = first_hops[&node];
            routes.extend(self.routes_to_extras(&node, first_hop, default));
            if node != *start && !self.forwards(&node) {
                continue;
            }
            for interface in self.interfaces_of(&node) {
                if networks.contains(&interface.subnet) {
                    continue;
                }
                networks.push(interface.subnet);
                if let Some(via) = first_hop.filter(|via| default != Some(*via)) {
                    routes.extend(Route::pair(interface.subnet, via));
                }
                for peer in self.interfaces.iter().filter(|p| p.subnet == interface.subnet) {
                    if first_hops.contains_key(&peer.node) {
                        continue;
                    }
                    let via = first_hop.unwrap_or(peer.addresses);
                    first_hops.insert(peer.node.clone(), Some(via));
                    queue.push_back(peer.node.clone());
                    if !self.forwards(start) && default.is_none() && self.forwards(&peer.node) {
                        default = Some(via);
                        routes.extend(Route::default_pair(via));
                    }
                }
            }
        }
        routes
    }

    fn routes_to_extras(
        &self,
        node: &Node,
        first_hop: Option<Addresses>,
        default: Option<Addresses>,
    ) -> Vec<Route> {
        let Some(via) = first_hop.filter(|via| default != Some(*via)) else { return Vec::new() };
        let extras = self.extra.iter().filter(|extra| extra.node == *node);
        let route = |address: IpAddr| {
            let family = Family::of(address);
            Route::new(family, &Prefix::from(address).to_string(), via.of(family))
        };
        extras.flat_map(|extra| extra.addresses.both()).map(route).collect()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // The sandbox cleans up after us in any case; this lets one sandbox hold labs in turn.
        let lines: Vec<String> =
            self.nodes.iter().map(|member| format!("netns del {}", member.node)).collect();
        let _ = feed(Command::new("ip").args(["-force", "-batch", "-"]), &lines.join("\n"));
    }
}

impl Interface {
    /// Gives the `ip` command that adds or deletes this interface's address.
    pub(crate) fn address_line(&self, verb: &str, family: Family) -> String {
        let length = self.subnet.length(family);
        let nodad = match (verb, family) {
            ("add", Family::V6) => " nodad",
            _ => "",
        };
        format!("addr {verb} {}/{length} dev {}{nodad}", self.addresses.of(family), self.device)
    }
}

impl Route {
    fn new(family: Family, prefix: &str, via: IpAddr) -> Self {
        Self { family, line: format!("route replace {prefix} via {via}") }
    }

    fn pair(subnet: Subnet, via: Addresses) -> [Self; 2] {
        Family::BOTH
            .map(|family| Self::new(family, &subnet.prefix(family).to_string(), via.of(family)))
    }

    fn default_pair(via: Addresses) -> [Self; 2] {
        Family::BOTH.map(|family| Self::new(family, "default", via.of(family)))
    }
}

/// Gives the name of the device that leads to a node.
pub(crate) fn device_toward(node: &Node) -> String {
    format!("to-{node}")
}

/// Waits until the node's devices, or only the named one, carry traffic.
///
/// A device that is down on purpose is not waited for.
pub(crate) fn settle_node(node: &Node, only: Option<&str>) -> Result<()> {
    let mut found = Ok(Vec::new());
    wait_until(SETTLE, || {
        found = devices_not_ready(node, only);
        !matches!(&found, Ok(names) if !names.is_empty())
    })
    .with_context(|| format!("devices of {node} that are not up: {found:?}"))?;
    found.map(drop)
}

fn devices_not_ready(node: &Node, only: Option<&str>) -> Result<Vec<String>> {
    let output = Command::new("ip")
        .args(["-n", node.name(), "-j", "-d", "link", "show"])
        .output()
        .context("start ip")?;
    let links: Vec<Value> =
        serde_json::from_slice(&output.stdout).with_context(|| format!("links of {node}"))?;
    let not_ready = links.iter().filter(|link| {
        let is_wire = link["linkinfo"]["info_kind"] == "veth";
        let is_wanted = only.is_none_or(|device| link["ifname"] == device);
        let is_on = link["flags"].as_array().is_some_and(|flags| flags.iter().any(|f| f == "UP"));
        let port = &link["linkinfo"]["info_slave_data"]["state"];
        let is_ready = link["operstate"] == "UP" && (port.is_null() || port == "forwarding");
        is_wire && is_wanted && is_on && !is_ready
    });
    Ok(not_ready.filter_map(|link| link["ifname"].as_str()).map(str::to_owned).collect())
}

fn wire(ends: &[(&Node, String); 2]) -> Result<()> {
    let [(a, a_device), (b, b_device)] = ends;
    let line = format!("link add {a_device} netns {a} type veth peer name {b_device} netns {b}");
    feed(Command::new("ip").args(["-batch", "-"]), &line)
        .with_context(|| format!("join {a} and {b}"))?;
    for (node, device) in ends {
        node.ip(Family::V4, &[format!("link set {device} up")])?;
    }
    Ok(())
}

const RESOLV_CONF: &str = "/run/reachd-lab.resolv.conf";

const BRIDGE: &str = "br0";

/// A wire is ready in milliseconds; ten seconds mean that it never will be.
const SETTLE: Duration = Duration::from_secs(10);

/// What every node has: no filter by source, no limit on ICMP, no duplicate-address detection,
/// addresses that outlive a link going down, and ping sockets for the sandbox's only group.
const NODE_DEFAULTS: [(&str, &str); 13] = [
    ("net.ipv4.conf.all.rp_filter", "0"),
    ("net.ipv4.conf.default.rp_filter", "0"),
    ("net.ipv4.conf.all.accept_redirects", "0"),
    ("net.ipv4.conf.default.accept_redirects", "0"),
    ("net.ipv4.icmp_ratelimit", "0"),
    ("net.ipv4.icmp_ratemask", "0"),
    ("net.ipv6.icmp.ratelimit", "0"),
    ("net.ipv4.ping_group_range", "0 0"),
    ("net.ipv6.conf.all.accept_dad", "0"),
    ("net.ipv6.conf.default.accept_dad", "0"),
    ("net.ipv6.conf.default.accept_ra", "0"),
    ("net.ipv6.conf.all.keep_addr_on_down", "1"),
    ("net.ipv6.conf.default.keep_addr_on_down", "1"),
];
