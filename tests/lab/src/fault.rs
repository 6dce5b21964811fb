//! Faults: each is put in by a method of [`Lab`] and taken out by healing its [`Fault`].
//!
//! Filters live in nft tables of their own, routes in routing tables of their own, so faults pile
//! up and heal in any order without seeing each other.

mod middlebox;
mod pulse;

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::address::{Addresses, Family, Prefixes};
use crate::lab::{Lab, device_toward, settle_node};
use crate::matching::{Match, Table};
use crate::node::Node;

pub use pulse::{Pulse, Spells};

/// A fault in force. It heals when dropped; [`Fault::keep`] leaves it for as long as the lab lives.
#[derive(Debug)]
#[must_use = "a fault heals when it is dropped: hold it, or call keep()"]
pub struct Fault {
    what: String,
    undo: Vec<Step>,
    counted: Option<(Node, String)>,
}

impl Fault {
    /// Takes the fault out.
    pub fn heal(mut self) -> Result<()> {
        self.undo_all()
    }

    /// Leaves the fault in force until the lab ends.
    pub fn keep(mut self) {
        self.undo.clear();
    }

    /// Says how many packets met this filter, and how many of them it took.
    ///
    /// Only faults that are filters count.
    pub fn counters(&self) -> Result<Counters> {
        let (node, table) =
            self.counted.as_ref().with_context(|| format!("{} does not count", self.what))?;
        let mut words = vec!["nft", "-j", "list", "table"];
        words.extend(table.split(' '));
        let text = node.run(&words)?;
        let listing: Value = serde_json::from_str(&text).context("read nft's listing")?;
        let total = |name: &str| {
            let objects = listing["nftables"].as_array().into_iter().flatten();
            let of_name = objects.map(|object| &object["counter"]).filter(|c| c["name"] == name);
            of_name.filter_map(|counter| counter["packets"].as_u64()).sum()
        };
        Ok(Counters { seen: total("seen"), taken: total("taken") })
    }

    fn undo_all(&mut self) -> Result<()> {
        for step in std::mem::take(&mut self.undo) {
            step.run().with_context(|| format!("heal: {}", self.what))?;
        }
        Ok(())
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        if let Err(error) = self.undo_all() {
            eprintln!("{error:#}");
        }
    }
}

/// How much a filter has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Packets that matched.
    pub seen: u64,
    /// Packets that were dropped or rejected among them.
    pub taken: u64,
}

/// Where in a node's handling of packets a filter sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Before routing: a router that drops here does not even show in a trace.
    Prerouting,
    /// Toward this node itself.
    Input,
    /// Through this node: its TTL has counted, so a trace still shows it.
    Forward,
    /// From this node itself.
    Output,
}

/// What a rejecting filter answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum With {
    /// A TCP reset in the target's name.
    TcpReset,
    /// ICMP 3/3, ICMPv6 1/4.
    PortUnreachable,
    /// ICMP 3/13, ICMPv6 1/1.
    AdminProhibited,
    /// ICMP 3/1, ICMPv6 1/3.
    HostUnreachable,
}

/// What a route does instead of leading somewhere.
///
/// The kernel limits these answers to five at once and then one a second for each asker, and no
/// namespace can change that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadEnd {
    /// Silence.
    Blackhole,
    /// ICMP 3/1, ICMPv6 1/0.
    Unreachable,
    /// ICMP 3/13, ICMPv6 1/1.
    Prohibit,
    /// ICMP 3/0, ICMPv6 1/0: as if no route were there.
    NoRoute,
}

impl Lab {
    /// Makes a router drop packets for a prefix in silence.
    pub fn blackhole_route(&self, router: &Node, to: impl Into<Prefixes>) -> Result<Fault> {
        self.dead_end(router, to, DeadEnd::Blackhole)
    }

    /// Makes a router answer that hosts of a prefix are unreachable.
    pub fn unreachable_route(&self, router: &Node, to: impl Into<Prefixes>) -> Result<Fault> {
        self.dead_end(router, to, DeadEnd::Unreachable)
    }

    /// Makes a router answer that a prefix is administratively prohibited.
    pub fn prohibit_route(&self, router: &Node, to: impl Into<Prefixes>) -> Result<Fault> {
        self.dead_end(router, to, DeadEnd::Prohibit)
    }

    /// Makes a router answer that it knows no route to a prefix.
    pub fn no_route(&self, router: &Node, to: impl Into<Prefixes>) -> Result<Fault> {
        self.dead_end(router, to, DeadEnd::NoRoute)
    }

    /// Ends a node's routes to a prefix, whatever its other routes say.
    pub fn dead_end(&self, node: &Node, to: impl Into<Prefixes>, end: DeadEnd) -> Result<Fault> {
        let to = to.into();
        let what = format!("{end:?} at {node} toward {to}");
        let route = match end {
            DeadEnd::Blackhole => Some("blackhole default".to_owned()),
            DeadEnd::Unreachable => Some("unreachable default".to_owned()),
            DeadEnd::Prohibit => Some("prohibit default".to_owned()),
            // Only a rule answers as a table without the route does; a route never can.
            DeadEnd::NoRoute => None,
        };
        policy_route(node, &to, [route.clone(), route], what)
    }

    /// Makes two neighbours pass packets for a prefix to and fro until their TTL ends.
    ///
    /// `near` sends them to `far` as it did before; `far` sends them back.
    pub fn loop_between(&self, near: &Node, far: &Node, to: impl Into<Prefixes>) -> Result<Fault> {
        self.detour(far, to, near)
    }

    /// Makes a node send packets for a prefix to the given neighbour.
    pub fn detour(&self, node: &Node, to: impl Into<Prefixes>, via: &Node) -> Result<Fault> {
        let to = to.into();
        let via_addresses: Addresses = self.next_hop(node, via)?;
        let routes =
            Family::BOTH.map(|family| Some(format!("default via {}", via_addresses.of(family))));
        policy_route(node, &to, routes, format!("detour at {node} toward {to} by {via}"))
    }

    /// Drops what a router would pass on; the router itself stays visible.
    pub fn drop_forward(&self, router: &Node, packets: &Match) -> Result<Fault> {
        self.filter(router, Hook::Forward, packets, "drop")
    }

    /// Drops what reaches a router before it routes, which hides the router as well.
    pub fn drop_prerouting(&self, router: &Node, packets: &Match) -> Result<Fault> {
        self.filter(router, Hook::Prerouting, packets, "drop")
    }

    /// Drops what reaches a host, as its own firewall would.
    pub fn drop_input(&self, host: &Node, packets: &Match) -> Result<Fault> {
        self.filter(host, Hook::Input, packets, "drop")
    }

    /// Drops what a host sends.
    ///
    /// Its own senders are told so: a local program gets an error for a packet dropped here.
    pub fn drop_output(&self, host: &Node, packets: &Match) -> Result<Fault> {
        self.filter(host, Hook::Output, packets, "drop")
    }

    /// Makes a router answer for packets that it would pass on.
    pub fn reject_forward(&self, router: &Node, packets: &Match, with: With) -> Result<Fault> {
        self.reject(router, Hook::Forward, packets, with)
    }

    /// Makes a host's own firewall answer for packets that reach it.
    pub fn reject_input(&self, host: &Node, packets: &Match, with: With) -> Result<Fault> {
        self.reject(host, Hook::Input, packets, with)
    }

    /// Drops a share of what a router passes on, each packet by chance for itself.
    ///
    /// [`Match::to`] makes it one direction; without it a round trip meets the loss twice.
    pub fn loss(&self, router: &Node, percent: f64, packets: &Match) -> Result<Fault> {
        ensure!((0.0..=100.0).contains(&percent), "{percent} is no percentage");
        let chance = (percent * 10_000.0).round();
        let verdict = format!("numgen random mod 1000000 < {chance} {TAKEN} drop");
        self.filter(router, Hook::Forward, packets, &verdict)
    }

    /// Drops what one of `members` equal paths would carry: every TCP flow whose source port
    /// falls to it, always.
    pub fn flow_loss(&self, router: &Node, members: u8, packets: &Match) -> Result<Fault> {
        ensure!(members > 1, "{members} paths leave no choice");
        let verdict = format!("jhash tcp sport mod {members} seed 0x5eed == 0 {TAKEN} drop");
        self.filter(router, Hook::Forward, packets, &verdict)
    }

    /// Drops what a router would pass on beyond a rate, as a policer does.
    pub fn police(&self, router: &Node, per_second: u32, packets: &Match) -> Result<Fault> {
        let verdict = format!("limit rate over {per_second}/second burst 5 packets {TAKEN} drop");
        self.filter(router, Hook::Forward, packets, &verdict)
    }

    /// Keeps a router from sending ICMP errors; it goes on forwarding and answering echo.
    pub fn silence_router(&self, router: &Node) -> Result<Fault> {
        self.drop_output(router, &Match::icmp_errors())
    }

    /// Drops frames between the ports of a switch: a filter that costs no hop, as a cloud's
    /// security group is.
    pub fn bridge_drop(&self, switch: &Node, packets: &Match) -> Result<Fault> {
        nft_fault(switch, Table::Bridge, Hook::Forward, packets, "drop")
    }

    /// Puts in a filter with a verdict in nft's own words.
    pub fn filter(&self, node: &Node, hook: Hook, packets: &Match, verdict: &str) -> Result<Fault> {
        nft_fault(node, Table::Inet, hook, packets, verdict)
    }

    /// Takes down a node's device toward a neighbour or switch.
    ///
    /// Healing puts back the routes that went with it.
    pub fn link_down(&self, node: &Node, toward: &Node) -> Result<Fault> {
        let device = device_toward(toward);
        node.ip(Family::V4, &[format!("link set {device} down")])?;
        let mut undo = vec![
            Step::Ip(node.clone(), Family::V4, vec![format!("link set {device} up")]),
            Step::Settle(node.clone(), device.clone()),
        ];
        undo.extend(self.routes_again(node));
        Ok(Fault { what: format!("{device} of {node} down"), undo, counted: None })
    }

    /// Takes away the addresses of a node's first interface, as if the host had died.
    pub fn address_remove(&self, node: &Node) -> Result<Fault> {
        let interface = self.first_interface(node)?;
        let mut undo = Vec::new();
        for family in Family::BOTH {
            node.ip(family, &[interface.address_line("del", family)])?;
            let again = interface.address_line("add", family);
            undo.push(Step::Ip(node.clone(), family, vec![again]));
        }
        undo.extend(self.routes_again(node));
        Ok(Fault { what: format!("{node} without addresses"), undo, counted: None })
    }

    /// Narrows a wire's packets at both ends: an MTU of which the routers tell.
    pub fn mtu(&self, a: &Node, b: &Node, mtu: u16) -> Result<Fault> {
        ensure!(mtu >= 1280, "IPv6 asks for 1280 bytes at least, and {mtu} is less");
        let mut undo = Vec::new();
        for (node, peer) in [(a, b), (b, a)] {
            let line = |bytes| vec![format!("link set {} mtu {bytes}", device_toward(peer))];
            node.ip(Family::V4, &line(mtu))?;
            undo.push(Step::Ip(node.clone(), Family::V4, line(1500)));
        }
        Ok(Fault { what: format!("mtu {mtu} between {a} and {b}"), undo, counted: None })
    }

    /// Makes a node's sending toward a neighbour a bottleneck with a queue: delay first, then loss.
    pub fn bottleneck(&self, node: &Node, toward: &Node, queue: Queue) -> Result<Fault> {
        let device = device_toward(toward);
        let Queue { kbit_per_second, delay_ms_max } = queue;
        let rate = format!("{kbit_per_second}kbit");
        let delay = format!("{delay_ms_max}ms");
        node.run(&[
            "tc", "qdisc", "add", "dev", &device, "root", "tbf", "rate", &rate, "burst", "1600",
            "latency", &delay,
        ])?;
        let undo = vec![Step::Run(
            node.clone(),
            ["tc", "qdisc", "del", "dev", &device, "root"].map(str::to_owned).into(),
        )];
        Ok(Fault { what: format!("{rate} from {node} to {toward}"), undo, counted: None })
    }

    /// Says how many packets the bottleneck of a node toward a neighbour has dropped.
    pub fn queue_drops(&self, node: &Node, toward: &Node) -> Result<u64> {
        let device = device_toward(toward);
        let text = node.run(&["tc", "-s", "-j", "qdisc", "show", "dev", &device])?;
        let listing: Value = serde_json::from_str(&text).context("read tc's listing")?;
        listing[0]["drops"].as_u64().with_context(|| format!("no queue counts: {text}"))
    }

    /// Puts in a filter that answers for the packets it takes.
    pub fn reject(&self, node: &Node, hook: Hook, packets: &Match, with: With) -> Result<Fault> {
        let verdict = match with {
            With::TcpReset => "meta l4proto tcp TAKEN reject with tcp reset",
            With::PortUnreachable => "reject with icmpx type port-unreachable",
            With::AdminProhibited => "reject with icmpx type admin-prohibited",
            With::HostUnreachable => "reject with icmpx type host-unreachable",
        };
        self.filter(node, hook, packets, &verdict.replace("TAKEN", TAKEN))
    }

    fn routes_again(&self, node: &Node) -> impl Iterator<Item = Step> {
        Family::BOTH.map(|f| Step::Routes(node.clone(), f, self.route_lines(node, f))).into_iter()
    }
}

/// A bottleneck's queue.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    /// What it sends in a second.
    pub kbit_per_second: u32,
    /// How long a packet may wait before it is dropped instead.
    pub delay_ms_max: u32,
}

/// One thing to do when a fault heals.
#[derive(Debug)]
enum Step {
    Ip(Node, Family, Vec<String>),
    Nft(Node, String),
    Run(Node, Vec<String>),
    Routes(Node, Family, Vec<String>),
    Settle(Node, String),
    Sysctl(Node, &'static [(&'static str, &'static str)]),
}

impl Step {
    fn run(&self) -> Result<()> {
        match self {
            Self::Ip(node, family, lines) => node.ip(*family, lines),
            Self::Nft(node, script) => node.nft(script),
            Self::Run(node, words) => {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                node.run(&words).map(drop)
            }
            Self::Routes(node, family, lines) => restore_routes(node, *family, lines),
            Self::Settle(node, device) => settle_node(node, Some(device)),
            Self::Sysctl(node, settings) => node.sysctl(settings),
        }
    }
}

/// Puts back routes that went with a device or an address.
///
/// A next hop that another fault still cuts off is passed over: that fault's healing restores it.
fn restore_routes(node: &Node, family: Family, lines: &[String]) -> Result<()> {
    for line in lines {
        if let Err(error) = node.ip(family, std::slice::from_ref(line)) {
            let text = format!("{error:#}");
            let is_cut_off = ["invalid gateway", "No route to host", "unreachable", "is down"];
            if !is_cut_off.iter().any(|reason| text.contains(reason)) {
                return Err(error);
            }
        }
    }
    Ok(())
}

fn nft_fault(
    node: &Node,
    table: Table,
    hook: Hook,
    packets: &Match,
    verdict: &str,
) -> Result<Fault> {
    let expressions = packets.expressions(table);
    ensure!(!expressions.is_empty(), "no packet can match {packets:?}");
    let hook_name = match hook {
        Hook::Prerouting => "prerouting",
        Hook::Input => "input",
        Hook::Forward => "forward",
        Hook::Output => "output",
    };
    let counted_verdict =
        if verdict.contains(TAKEN) { verdict.to_owned() } else { format!("{TAKEN} {verdict}") };
    let mut rules = String::new();
    for expression in &expressions {
        rules += &format!("    {expression} {SEEN}\n    {expression} {counted_verdict}\n");
    }
    let name = format!("{} lab_{}", table.keyword(), fresh_number());
    node.nft(&format!(
        "table {name} {{\n  counter seen {{ }}\n  counter taken {{ }}\n  chain faults {{\n    \
         type filter hook {hook_name} priority 0; policy accept;\n{rules}  }}\n}}\n"
    ))?;
    Ok(Fault {
        what: format!("{verdict} in {hook_name} of {node}: {}", expressions.join(" or ")),
        undo: vec![Step::Nft(node.clone(), format!("delete table {name}\n"))],
        counted: Some((node.clone(), name)),
    })
}

/// Puts one route per family into a table of its own, and rules that send the prefixes there.
///
/// No route for a family means a rule that says there is none.
fn policy_route(
    node: &Node,
    to: &Prefixes,
    routes: [Option<String>; 2],
    what: String,
) -> Result<Fault> {
    let number = FIRST_TABLE + fresh_number();
    let mut undo = Vec::new();
    for (family, route) in Family::BOTH.into_iter().zip(routes) {
        let action = match &route {
            Some(_) => format!("lookup {number}"),
            None => "unreachable".to_owned(),
        };
        let rules = to.of(family).map(|prefix| format!("to {prefix} pref {number} {action}"));
        let rules: Vec<String> = rules.collect();
        if rules.is_empty() {
            continue;
        }
        let added = route.iter().map(|route| format!("route add {route} table {number}"));
        let lines: Vec<String> =
            added.chain(rules.iter().map(|rule| format!("rule add {rule}"))).collect();
        node.ip(family, &lines).with_context(|| what.clone())?;
        let removed = rules.iter().map(|rule| format!("rule del {rule}"));
        let flush = route.iter().map(|_| format!("route flush table {number}"));
        undo.push(Step::Ip(node.clone(), family, removed.chain(flush).collect()));
    }
    ensure!(!undo.is_empty(), "{what}: no prefix named");
    Ok(Fault { what, undo, counted: None })
}

fn fresh_number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

const SEEN: &str = "counter name seen";
const TAKEN: &str = "counter name taken";

/// Above the kernel's own tables (253 to 255) and below the rule for the main table (32766).
const FIRST_TABLE: u32 = 1000;
