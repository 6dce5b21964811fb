//! Boxes on the path that do more than drop: proxies, translators, balancers, limiters.

use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Fault, Step, fresh_number};
use crate::address::{Addresses, Family};
use crate::lab::{Lab, device_toward};
use crate::node::Node;

impl Lab {
    /// Makes a router answer SYNs toward a port in the host's name, as a scrubber does, and pass a
    /// connection on only once its client has finished the handshake.
    pub fn syn_proxy(&self, router: &Node, port: u16, host: Addresses) -> Result<Fault> {
        // The proxy needs to see the client's last ACK as invalid rather than as a connection
        // picked up midway.
        router.sysctl(&LOOSE_OFF)?;
        let number = fresh_number();
        let both = Family::BOTH.map(|family| {
            format!("{} daddr {} tcp dport {port}", keyword(family), host.of(family))
        });
        let untracked = both.iter().map(|of| format!("    {of} tcp flags syn notrack\n"));
        let proxied = both.iter().map(|of| {
            format!(
                "    {of} ct state invalid,untracked \
                 synproxy mss 1460 wscale 7 timestamp sack-perm\n    {of} ct state invalid drop\n"
            )
        });
        let early = chain("early", "filter hook prerouting priority raw", untracked);
        let proxy = chain("proxy", "filter hook forward priority filter", proxied);
        router.nft(&format!("table inet lab_{number} {{\n{early}{proxy}}}\n"))?;
        let mut fault = table_fault(router, number, format!("SYN proxy at {router} for {port}"));
        fault.undo.push(Step::Sysctl(router.clone(), &LOOSE_ON));
        Ok(fault)
    }

    /// Makes a router translate a port of an address to the same port of one of these hosts: to the
    /// only one, or to the one that the client's source port falls to.
    pub fn port_forward(
        &self,
        router: &Node,
        front: Addresses,
        port: u16,
        backends: &[Addresses],
    ) -> Result<Fault> {
        ensure!(!backends.is_empty(), "a forwarded port leads somewhere");
        let number = fresh_number();
        let rule = |family: Family| {
            let at: Vec<String> =
                backends.iter().map(|backend| backend.of(family).to_string()).collect();
            let chosen = match &at[..] {
                [only] => only.clone(),
                several => {
                    let map: Vec<_> = several.iter().enumerate().collect();
                    let map: Vec<_> = map.iter().map(|(i, at)| format!("{i} : {at}")).collect();
                    let count = several.len();
                    format!("jhash tcp sport mod {count} seed 0x5eed map {{ {} }}", map.join(", "))
                }
            };
            let keyword = keyword(family);
            format!(
                "    {keyword} daddr {} tcp dport {port} dnat {keyword} to {chosen}\n",
                front.of(family)
            )
        };
        let chain = chain("translate", TRANSLATES, Family::BOTH.map(rule));
        router.nft(&format!("table inet lab_{number} {{\n{chain}}}\n"))?;
        Ok(table_fault(router, number, format!("port {port} forwarded at {router}")))
    }

    /// Makes a router take every TCP connection that comes from a neighbour itself, on `port`, as a
    /// transparent proxy does.
    pub fn transparent_proxy(&self, router: &Node, from: &Node, port: u16) -> Result<Fault> {
        let number = fresh_number();
        let device = device_toward(from);
        let rule = format!("    iifname \"{device}\" meta l4proto tcp redirect to :{port}\n");
        let chain = chain("take", TRANSLATES, [rule]);
        router.nft(&format!("table inet lab_{number} {{\n{chain}}}\n"))?;
        Ok(table_fault(router, number, format!("transparent proxy at {router}")))
    }

    /// Makes a node hold back its ICMP errors as the kernel does by default: one a second for each
    /// asker, six at once.
    pub fn limit_icmp(&self, node: &Node) -> Result<Fault> {
        node.sysctl(&ICMP_LIMITED)?;
        let undo = vec![Step::Sysctl(node.clone(), &ICMP_FREE)];
        Ok(Fault { what: format!("{node} limits its ICMP"), undo, counted: None })
    }

    /// Makes a router know its neighbour's link address for ever, so that it never says that the
    /// neighbour is gone: what a cloud does that answers ARP in the host's name.
    pub fn proxy_arp(&self, router: &Node, host: &Node) -> Result<Fault> {
        let interface = self.first_interface(host)?;
        let seen_through = self
            .interfaces_of(router)
            .find(|ours| ours.subnet == interface.subnet)
            .with_context(|| format!("{router} and {host} share no network"))?;
        let link = host.run(&["ip", "-j", "link", "show", "dev", &interface.device])?;
        let link: Value = serde_json::from_str(&link).context("read a device")?;
        let address = link[0]["address"].as_str().context("a device has a link address")?;
        let mut undo = Vec::new();
        for family in Family::BOTH {
            let at: IpAddr = interface.addresses.of(family);
            let entry = format!("{at} dev {}", seen_through.device);
            router
                .ip(family, &[format!("neigh replace {entry} lladdr {address} nud permanent")])?;
            undo.push(Step::Ip(router.clone(), family, vec![format!("neigh del {entry}")]));
        }
        Ok(Fault { what: format!("ARP answered for {host} at {router}"), undo, counted: None })
    }
}

fn chain(name: &str, place: &str, rules: impl IntoIterator<Item = String>) -> String {
    let rules: String = rules.into_iter().collect();
    format!("  chain {name} {{\n    type {place}; policy accept;\n{rules}  }}\n")
}

fn table_fault(node: &Node, number: u32, what: String) -> Fault {
    let undo = vec![Step::Nft(node.clone(), format!("delete table inet lab_{number}\n"))];
    Fault { what, undo, counted: None }
}

fn keyword(family: Family) -> &'static str {
    match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    }
}

const TRANSLATES: &str = "nat hook prerouting priority dstnat";
const LOOSE_OFF: [(&str, &str); 1] = [("net.netfilter.nf_conntrack_tcp_loose", "0")];
const LOOSE_ON: [(&str, &str); 1] = [("net.netfilter.nf_conntrack_tcp_loose", "1")];
const ICMP_LIMITED: [(&str, &str); 3] = [
    ("net.ipv4.icmp_ratelimit", "1000"),
    ("net.ipv4.icmp_ratemask", "6168"),
    ("net.ipv6.icmp.ratelimit", "1000"),
];
const ICMP_FREE: [(&str, &str); 3] = [
    ("net.ipv4.icmp_ratelimit", "0"),
    ("net.ipv4.icmp_ratemask", "0"),
    ("net.ipv6.icmp.ratelimit", "0"),
];
