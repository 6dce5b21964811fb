//! From layers to a target, and what must hold between its keys.

use std::time::Duration;

use reachd_core::evidence::rdp::RdpDepth;
use reachd_core::target::{
    AddressPolicy, DEFAULT_PORT, Expect, FamilyChoice, Fronted, Service, Severity, Siblings,
    Target, TargetName,
};

use crate::context::Context;
use crate::doubts;
use crate::key::ROLES;
use crate::layer::{Layer, Stack, address_of, port_of, text_of};
use crate::node::quote;
use crate::problem::Fault;
use crate::read::Value;
use crate::source::{Findings, nearest};
use crate::value;

/// SSH's registered port.
const SSH_PORT: u16 = 22;

/// Reads a target given on a command line, `HOST`, `HOST:PORT` or `[ADDR]:PORT`, with every setting
/// at its default.
pub fn target_from_argument(text: &str, service: Service) -> Result<Target, Fault> {
    let (host, port) = value::split_port(text)?;
    value::host(host)?;
    let port = port.or_else(|| usual_port(service)).ok_or_else(no_usual_port)?;
    Ok(Target::new(host, port, service))
}

/// The port of a service when none is written; a ping has none, which is 0.
pub(crate) fn usual_port(service: Service) -> Option<u16> {
    match service {
        Service::Rdp => Some(DEFAULT_PORT),
        Service::Ssh => Some(SSH_PORT),
        Service::Ping => Some(0),
        Service::Tcp => None,
    }
}

fn no_usual_port() -> Fault {
    Fault::new("a tcp service has no usual port", "write the port, for example `port = 443`")
}

/// Checks what a layer of target settings says of vantages and roles.
pub(crate) fn check_layer(layer: &Layer, vantages: &[String], findings: &mut Findings) {
    let names = || vantages.iter().map(String::as_str);
    let stack = Stack::one(layer);
    for (index, item) in stack.items("vantages").iter().enumerate() {
        let Value::Text(name) = &item.value else { continue };
        if !vantages.contains(name) {
            let path = format!("{}[{}]", layer.key("vantages"), index + 1);
            findings.error(item.at, &path, no_such("vantage", name, names()));
        }
    }
    if let Some((_, item)) = stack.find("expect")
        && let Value::Map(items) = &item.value
    {
        for (name, item) in items {
            if !vantages.contains(name) && !ROLES.contains(&name.as_str()) {
                let path = format!("{}.{name}", layer.key("expect"));
                let known = names().chain(ROLES.iter().copied());
                findings.error(item.at, &path, no_such("vantage or role", name, known));
            }
        }
    }
}

/// A reference to nothing: what was meant, or what there is.
pub(crate) fn no_such<'a>(
    what: &str,
    name: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> Fault {
    let hint = match nearest(name, known.clone()) {
        Some(near) => format!("did you mean {}?", quote(near)),
        None => {
            let mut some: Vec<_> = known.take(9).map(quote).collect();
            if some.len() > 8 {
                some.truncate(8);
                some.push("...".to_owned());
            }
            match some.is_empty() {
                true => "there is none in this file".to_owned(),
                false => format!("known: {}", some.join(", ")),
            }
        }
    };
    Fault::new(format!("there is no {what} {}", quote(name)), hint)
}

/// Makes a target of its layers, the nearest first, if they name a host and a port.
pub(crate) fn build(
    stack: &Stack<'_>,
    group: Option<&str>,
    context: &Context,
    findings: &mut Findings,
) -> Option<Target> {
    let own = *stack.0.first()?;
    let host = stack.text("host")?;
    let service = service(stack.text("service"));
    let port = port(stack, service, own, findings)?;
    let mut target = Target::new(host, port, service);
    if let Some(name) = stack.text("name") {
        target.name = TargetName::new(name);
    }
    target.group = group.map(str::to_owned);
    settle(&mut target, stack);
    doubts::tell(&target, stack, &context.budget, findings);
    Some(target)
}

fn port(stack: &Stack<'_>, service: Service, own: &Layer, findings: &mut Findings) -> Option<u16> {
    if !service.has_port() {
        if own.has("port") {
            let fault = Fault::new("a ping asks no port", "leave the port out");
            findings.warn(own.place("port"), &own.key("port"), fault);
        }
        return usual_port(service);
    }
    let port = stack.port("port").or_else(|| usual_port(service));
    if port.is_none() {
        findings.error(own.at, &own.key("port"), no_usual_port());
    }
    port
}

fn service(word: Option<&str>) -> Service {
    match word {
        Some("ssh") => Service::Ssh,
        Some("tcp") => Service::Tcp,
        Some("ping") => Service::Ping,
        _ => Service::Rdp,
    }
}

/// The severity of a word that was checked.
pub(crate) fn severity(word: &str) -> Severity {
    match word {
        "info" => Severity::Info,
        "warning" => Severity::Warning,
        _ => Severity::Critical,
    }
}

fn expect(word: &str) -> Expect {
    match word {
        "filtered" => Expect::Filtered,
        "closed" => Expect::Closed,
        _ => Expect::Reachable,
    }
}

/// Gives a target all settings that layers may share.
pub(crate) fn settle(target: &mut Target, stack: &Stack<'_>) {
    fill_words(target, stack);
    fill(target, stack);
}

fn fill_words(target: &mut Target, stack: &Stack<'_>) {
    if let Some(word) = stack.text("severity") {
        target.severity = severity(word);
    }
    target.siblings = match stack.text("siblings") {
        Some("off") => Siblings::Off,
        _ => Siblings::Auto,
    };
    target.rdp_depth = match stack.text("rdp_depth") {
        Some("off") => RdpDepth::Off,
        Some("x224") => RdpDepth::X224,
        Some("ntlm") => RdpDepth::Ntlm,
        _ => RdpDepth::Tls,
    };
    target.rdp_names = stack.text("rdp_names") == Some("labels");
    target.fronted = match stack.text("fronted") {
        Some("nat") => Fronted::Nat,
        Some("balancer") => Fronted::Balancer,
        Some("anycast") => Fronted::Anycast,
        _ => Fronted::None,
    };
    target.family = match stack.text("family") {
        Some("ipv4") => FamilyChoice::V4,
        Some("ipv6") => FamilyChoice::V6,
        _ => FamilyChoice::Any,
    };
    target.addresses = match stack.text("addresses") {
        Some("any") => AddressPolicy::Any,
        _ => AddressPolicy::All,
    };
}

fn fill(target: &mut Target, stack: &Stack<'_>) {
    let set = |field: &mut Duration, name: &str| {
        if let Some(duration) = stack.duration(name) {
            *field = duration;
        }
    };
    set(&mut target.echo_interval, "echo_interval");
    set(&mut target.syn_interval, "syn_interval");
    set(&mut target.connect_interval, "connect_interval");
    set(&mut target.open_after, "open_after");
    set(&mut target.close_after, "close_after");
    if let Some(ratio) = stack.number("loss_threshold") {
        target.loss_threshold = ratio;
    }
    target.labels = stack.map("labels");
    let expectations = stack.map("expect");
    target.expect = expectations.into_iter().map(|(name, word)| (name, expect(&word))).collect();
    target.vantages = stack.list("vantages", text_of);
    target.canary_port = stack.port("canary_port");
    target.control_ports = stack.list("control_ports", port_of);
    target.alternate_ports = stack.list("alternate_ports", port_of);
    target.neighbours = stack.list("neighbours", address_of);
    target.expect_banner = stack.string("expect_banner");
    target.send = stack.string("send");
    target.instance_id = stack.string("instance_id");
    target.region = stack.string("region");
    target.account = stack.string("account");
}
