//! Vantages and receivers.

use std::path::Path;

use reachd_core::target::Severity;
use reachd_core::vantage::{Binding, DEFAULT_NAME, Means, Role, Vantage};

use crate::assemble::{Document, Names};
use crate::key::ROLES;
use crate::layer::{Layer, Stack, socket_of};
use crate::node::quote;
use crate::problem::Fault;
use crate::settings::{Endpoint, Lang, Receiver, ReceiverKind, Send, Url};
use crate::source::Findings;
use crate::target::severity;

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

/// The receivers.
pub(crate) fn receivers(
    document: &Document,
    base: &Path,
    findings: &mut Findings,
) -> Vec<Receiver> {
    let mut names = Names::default();
    let layers = document.repeated("receiver").iter();
    layers.filter_map(|layer| receiver(layer, base, &mut names, findings)).collect()
}

fn receiver(
    layer: &Layer,
    base: &Path,
    names: &mut Names,
    findings: &mut Findings,
) -> Option<Receiver> {
    let stack = Stack::one(layer);
    let word = match stack.text("kind") {
        None if layer.wrote("kind") => return None,
        word => word.unwrap_or(ReceiverKind::Webhook.as_str()),
    };
    let kind = ReceiverKind::ALL.into_iter().find(|kind| kind.as_str() == word)?;
    if kind != ReceiverKind::Webhook {
        let now = "only webhooks are served; this receiver is told nothing";
        findings.note_later(
            "receiver",
            kind.as_str(),
            layer.place("kind"),
            &layer.key("kind"),
            now,
        );
    }
    let endpoint = endpoint(layer, kind, base, findings);
    let name = stack.text("name")?;
    if !names.take(name, layer.place("name"), &layer.key("name"), findings) {
        return None;
    }
    Some(Receiver {
        name: name.to_owned(),
        kind,
        endpoint,
        secret_file: stack.path("secret_file", base),
        matchers: stack.matchers("match"),
        min_severity: stack.text("min_severity").map_or(Severity::Info, severity),
        lang: match stack.text("lang") {
            Some("zh") => Lang::Zh,
            _ => Lang::En,
        },
        proxy: stack.string("proxy").map(Url::new),
        ca_file: stack.path("ca_file", base),
        send: match stack.text("send") {
            Some("updates") => Send::Updates,
            _ => Send::Transitions,
        },
    })
}

fn endpoint(layer: &Layer, kind: ReceiverKind, base: &Path, findings: &mut Findings) -> Endpoint {
    let stack = Stack::one(layer);
    match (stack.string("url"), stack.path("url_file", base)) {
        (Some(_), Some(_)) => {
            let fault =
                Fault::new("`url` and `url_file` exclude each other", "keep one of the two");
            findings.error(layer.place("url_file"), &layer.key("url_file"), fault);
            Endpoint::None
        }
        (Some(url), None) => Endpoint::Url(Url::new(url)),
        (None, Some(path)) => Endpoint::File(path),
        (None, None) => {
            if kind == ReceiverKind::Webhook && !layer.wrote("url") && !layer.wrote("url_file") {
                let hint = "add `url = \"https://alerts.example/hook\"`, or `url_file` if it holds a token";
                findings.error(layer.at, &layer.key("url"), Fault::new("it is missing", hint));
            }
            Endpoint::None
        }
    }
}
