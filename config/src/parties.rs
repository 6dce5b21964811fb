//! Vantages.

use reachd_core::vantage::{Binding, DEFAULT_NAME, Means, Role, Vantage};

use crate::assemble::{Document, Names};
use crate::key::ROLES;
use crate::layer::{Layer, Stack, socket_of};
use crate::node::quote;
use crate::problem::Fault;
use crate::source::Findings;

/// The vantages, or the one that exists when none is written.
pub(crate) fn vantages(document: &Document, findings: &mut Findings) -> Vec<Vantage> {
    let layers = document.repeated("vantage");
    if layers.is_empty() {
        return vec![Vantage::unbound(DEFAULT_NAME)];
    }
    let mut names = Names::default();
    layers.iter().filter_map(|layer| vantage(layer, &mut names, findings)).collect()
}

fn vantage(layer: &Layer, names: &mut Names, findings: &mut Findings) -> Option<Vantage> {
    let stack = Stack::one(layer);
    let binding = binding(layer, findings);
    let name = stack.text("name")?;
    if ROLES.contains(&name) {
        let reason = format!("{} is the name of a role", quote(name));
        let fault = Fault::new(reason, "choose another, or `expect` could not tell them apart");
        findings.error(layer.place("name"), &layer.key("name"), fault);
        return None;
    }
    if !names.take(name, layer.place("name"), &layer.key("name"), findings) {
        return None;
    }
    Some(Vantage {
        name: name.to_owned(),
        binding,
        mark: stack.whole("mark"),
        transmit: match stack.text("transmit") {
            Some("packet") => Means::Packet,
            _ => Means::Raw,
        },
        role: match stack.text("role") {
            Some("inside") => Role::Inside,
            _ => Role::Outside,
        },
        upstream: stack.string("upstream"),
        labels: stack.map("labels"),
        resolvers: stack.list("resolvers", socket_of),
    })
}

/// What binds a vantage; at most one way, for a namespace has its own addresses and interfaces.
fn binding(layer: &Layer, findings: &mut Findings) -> Binding {
    let written: Vec<_> =
        ["source", "interface", "netns"].into_iter().filter(|key| layer.has(key)).collect();
    if let [first, second, ..] = written.as_slice() {
        let fault = Fault::new(
            format!("`{first}` and `{second}` exclude each other"),
            "keep one; a namespace has its own addresses and interfaces",
        );
        findings.error(layer.place(second), &layer.key(second), fault);
    }
    let stack = Stack::one(layer);
    let source = stack.address("source").map(Binding::Source);
    let interface = || stack.string("interface").map(Binding::Interface);
    let namespace = || stack.string("netns").map(Binding::Namespace);
    source.or_else(interface).or_else(namespace).unwrap_or_default()
}
