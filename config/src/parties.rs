//! Vantages and maintenance windows.

use reachd_core::target::TargetName;
use reachd_core::vantage::{Binding, DEFAULT_NAME, Means, Role, Vantage};

use crate::assemble::{Document, Names};
use crate::key::ROLES;
use crate::layer::{Layer, Stack, socket_of, text_of};
use crate::node::quote;
use crate::problem::Fault;
use crate::settings::{Maintenance, Settings};
use crate::source::Findings;
use crate::target::no_such;

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

/// The maintenance windows.
pub(crate) fn maintenance(
    document: &Document,
    settings: &Settings,
    findings: &mut Findings,
) -> Vec<Maintenance> {
    let mut names = Names::default();
    let mut windows = Vec::new();
    for layer in document.repeated("maintenance") {
        windows.extend(window(layer, settings, &mut names, findings));
    }
    windows
}

fn window(
    layer: &Layer,
    settings: &Settings,
    names: &mut Names,
    findings: &mut Findings,
) -> Option<Maintenance> {
    let stack = Stack::one(layer);
    if !layer.wrote("targets") && !layer.wrote("match") {
        let hint = "add `targets = [\"name\"]` or `match = { label = \"value\" }`";
        let fault = Fault::new("it concerns no target", hint);
        findings.error(layer.at, &layer.path, fault);
    }
    check_targets(layer, settings, findings);
    let (start, end) = (stack.moment("start"), stack.moment("end"));
    if let (Some(start), Some(end)) = (start, end)
        && end <= start
    {
        let fault =
            Fault::new(format!("it ends at {end}, before it starts"), "put `end` after `start`");
        findings.error(layer.place("end"), &layer.key("end"), fault);
    }
    let name = stack.text("name")?;
    let free = names.take(name, layer.place("name"), &layer.key("name"), findings);
    let (start, end) = start.zip(end).filter(|_| free)?;
    Some(Maintenance {
        name: name.to_owned(),
        targets: stack.list("targets", text_of).iter().map(|name| TargetName::new(name)).collect(),
        matchers: stack.matchers("match"),
        start,
        end,
    })
}

/// Targets named must exist, unless they may still come from a target file, or mistakes keep some
/// target from being known.
fn check_targets(layer: &Layer, settings: &Settings, findings: &mut Findings) {
    if !settings.target_files.is_empty() || findings.error_count() > 0 {
        return;
    }
    let known = settings.plan.targets.iter().map(|target| target.name.as_str());
    for (index, item) in Stack::one(layer).items("targets").iter().enumerate() {
        let Some(name) = text_of(&item.value) else { continue };
        if !known.clone().any(|known| known == name) {
            let path = format!("{}[{}]", layer.key("targets"), index + 1);
            findings.error(item.at, &path, no_such("target", &name, known.clone()));
        }
    }
}
