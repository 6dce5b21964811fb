//! Two sets of books: what the daemon says of its probes, and what nftables saw of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reachd_core::monitor::FIRST_PORT;
use reachd_core::plan::VERDICT_TIMER;
use reachd_lab::Node;
use serde_json::Value;

use crate::daemon::harness::{Daemon, Ground, until};
use crate::daemon::page::Page;

/// Swept every second; neighbours nobody built are not asked.
const SWEPT: &str = "echo_interval = \"1s\"\nsyn_interval = \"1s\"";
/// Swept so rarely that the wire falls quiet.
const RESTING: &str = "echo_interval = \"1h\"\nsyn_interval = \"1h\"";
/// After so long without a packet every probe's fate is known, and told to whoever asks.
const FATES_KNOWN: Duration = VERDICT_TIMER.saturating_add(Duration::from_millis(300));
/// Failing targets are looked at again every eight seconds, so a pause comes sooner than this.
const PAUSE_WITHIN: Duration = Duration::from_secs(25);

/// A target and its address.
#[derive(Clone, Debug)]
pub(super) struct Aim {
    /// Its name.
    pub(super) name: String,
    /// Its address.
    pub(super) at: IpAddr,
    /// More lines of its configuration.
    pub(super) more: String,
}

impl Aim {
    /// A target of this name; 4 or 6 is added to it.
    pub(super) fn new(name: &str, at: IpAddr) -> Self {
        let family = if at.is_ipv4() { 4 } else { 6 };
        Self { name: format!("{name}{family}"), at, more: String::new() }
    }

    /// Adds lines to its configuration.
    pub(super) fn with(mut self, more: &str) -> Self {
        self.more = more.to_owned();
        self
    }
}

/// A configuration that sweeps these targets every second; `head` goes before them.
pub(super) fn configuration(head: &str, aims: &[Aim]) -> String {
    let mut text = format!("[defaults]\nsiblings = \"off\"\n{SWEPT}\n{head}\n");
    for Aim { name, at, more } in aims {
        let _ = writeln!(text, "[[target]]\nname = \"{name}\"\nhost = \"{at}\"\n{more}");
    }
    text
}

/// Starts the daemon in a node, on this configuration.
pub(super) fn start(node: &Node, configuration: &str) -> Result<Daemon> {
    Ground::new(node, configuration)?.start()
}

/// What the daemon says of one kind of probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Books {
    /// Probes whose fate is known.
    pub(super) sent: u64,
    /// Those answered in time.
    pub(super) received: u64,
    /// Those not answered.
    pub(super) lost: u64,
    /// Those among them that drew no answer at all.
    pub(super) silent: u64,
    /// Those our own side spoilt.
    pub(super) invalid: u64,
    /// Answers after the verdict.
    pub(super) late: u64,
    /// Answers beyond the first.
    pub(super) duplicate: u64,
}

impl Books {
    /// Reads a page.
    pub(super) fn of(page: &Page, target: &str, probe: &str) -> Self {
        let labels = [("target", target), ("probe", probe)];
        let total = |what: &str| page.sum(&format!("reachd_probe_packets_{what}_total"), &labels);
        let lost = "reachd_probe_packets_lost_total";
        Self {
            sent: total("sent") as u64,
            received: total("received") as u64,
            lost: total("lost") as u64,
            silent: page.sum(lost, &[labels[0], labels[1], ("reason", "silent")]) as u64,
            invalid: total("invalid") as u64,
            late: total("late") as u64,
            duplicate: total("duplicate") as u64,
        }
    }

    /// So many probes, each answered once.
    pub(super) fn clean(count: u64) -> Self {
        Self { sent: count, received: count, ..Self::default() }
    }
}

/// Counters at a place of the wire, one for each target and kind of probe.
pub(super) struct Gauge {
    node: Node,
    names: Vec<String>,
}

impl Gauge {
    /// Counts at a node that probes reach with this hop limit, before anything else happens there.
    ///
    /// Probes of the sweep and of surveys leave with 64; traces never get so high. Full connections
    /// come from the kernel's own ports. Large echoes ask for sizes and are in no books.
    pub(super) fn set(node: &Node, ttl: u8, aims: &[Aim]) -> Result<Self> {
        let mut names = Vec::new();
        let mut rules = String::new();
        for Aim { name, at, .. } in aims {
            let (to, hops, echo) = match at {
                IpAddr::V4(_) => ("ip daddr", "ip ttl", "icmp type echo-request"),
                IpAddr::V6(_) => ("ip6 daddr", "ip6 hoplimit", "icmpv6 type echo-request"),
            };
            let syn = "tcp flags & (syn | ack) == syn";
            for (probe, packets) in [
                ("echo", format!("{hops} {ttl} meta length < 1000 {echo}")),
                ("syn", format!("{hops} {ttl} tcp sport >= {FIRST_PORT} {syn}")),
                ("connect", format!("tcp sport < {FIRST_PORT} {syn}")),
            ] {
                let counter = format!("{name}_{probe}");
                let _ = writeln!(rules, "    {to} {at} {packets} counter name {counter}");
                names.push(counter);
            }
        }
        let counters: String =
            names.iter().map(|name| format!("  counter {name} {{ }}\n")).collect();
        node.nft(&format!(
            "table inet books {{\n{counters}  chain books {{\n    \
             type filter hook prerouting priority -300;\n{rules}  }}\n}}\n"
        ))?;
        Ok(Self { node: node.clone(), names })
    }

    /// Reads them all; the key is `target_probe`.
    pub(super) fn read(&self) -> Result<BTreeMap<String, u64>> {
        let all = counters(&self.node)?;
        let known = self.names.iter().all(|name| all.contains_key(name));
        ensure!(known, "counters are missing: {all:?}");
        Ok(all)
    }
}

/// Every named counter of a node's tables.
pub(super) fn counters(node: &Node) -> Result<BTreeMap<String, u64>> {
    let text = node.run(&["nft", "-j", "list", "counters"])?;
    let listing: Value = serde_json::from_str(&text).context("read nft's listing")?;
    let objects = listing["nftables"].as_array().into_iter().flatten();
    let row = |object: &Value| {
        let counter = &object["counter"];
        Some((counter["name"].as_str()?.to_owned(), counter["packets"].as_u64()?))
    };
    Ok(objects.filter_map(row).collect())
}

/// Lets the sweep rest and waits until no probe's fate is open; gives the page and what `watch`
/// says of the wire, which belong together.
pub(super) fn rest<T: Clone + PartialEq>(
    daemon: &Daemon,
    mut watch: impl FnMut() -> Result<T>,
) -> Result<(Page, T)> {
    let text = std::fs::read_to_string(daemon.ground()?.path("reachd.toml")).context("read")?;
    reload(daemon, &text.replace(SWEPT, RESTING))?;
    let mut last = (watch()?, Instant::now());
    until("the wire does not fall quiet", PAUSE_WITHIN, || {
        let now = watch()?;
        if now != last.0 {
            last = (now, Instant::now());
        }
        Ok((last.1.elapsed() >= FATES_KNOWN).then_some(()))
    })?;
    let page = daemon.metrics()?;
    let after = watch()?;
    ensure!(after == last.0, "a packet slipped in between two looks: ask again");
    Ok((page, after))
}

/// Sweeps every second again.
pub(super) fn resume(daemon: &Daemon) -> Result<()> {
    let text = std::fs::read_to_string(daemon.ground()?.path("reachd.toml")).context("read")?;
    reload(daemon, &text.replace(RESTING, SWEPT))
}

fn reload(daemon: &Daemon, text: &str) -> Result<()> {
    daemon.ground()?.write("reachd.toml", text)?;
    let answer = daemon.request("POST", "/-/reload", &[])?;
    ensure!(answer.status == 200, "reload answers {}: {}", answer.status, answer.text());
    Ok(())
}

/// Fails unless every probe toward these targets is on both books once, and nothing is odd.
pub(super) fn agree(page: &Page, wire: &BTreeMap<String, u64>, aims: &[Aim]) -> Result<()> {
    let mut wrong = String::new();
    for Aim { name, .. } in aims {
        for probe in ["echo", "syn", "connect"] {
            let there = wire.get(&format!("{name}_{probe}")).copied().context("no counter")?;
            let here = Books::of(page, name, probe);
            println!("{name} {probe}: {there} on the wire, {here:?}");
            if here != Books::clean(there) || there == 0 {
                let _ = writeln!(wrong, "{name} {probe}: {there} on the wire, {here:?}");
            }
        }
    }
    ensure!(wrong.is_empty(), "the books differ:\n{wrong}");
    nothing_broke(page)
}

/// Fails when a packet was dropped on our side or an invariant broke.
pub(super) fn nothing_broke(page: &Page) -> Result<()> {
    for never in ["reachd_bugs_total", "reachd_capture_drops_total", "reachd_events_dropped_total"]
    {
        ensure!(page.sum(never, &[]) == 0.0, "{never} counts");
    }
    Ok(())
}

/// Whether each of these targets was asked so often, and is reachable.
pub(super) fn swept(page: &Page, aims: &[Aim], echoes: u64, syns: u64) -> bool {
    aims.iter().all(|Aim { name, .. }| {
        Books::of(page, name, "echo").sent >= echoes
            && Books::of(page, name, "syn").sent >= syns
            && page.class(name).as_deref() == Some("reachable")
    })
}
