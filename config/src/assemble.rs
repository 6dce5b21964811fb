//! From the text of the main file to settings: every section, and what must hold between them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use reachd_core::plan::{Budget, Canary};
use reachd_core::target::{Target, TargetName};

use crate::context::Context;
use crate::key::Section;
use crate::layer::{Layer, Stack};
use crate::node::{Entry, Node, Raw, parse_toml, quote};
use crate::problem::Fault;
use crate::settings::{
    EvidenceSettings, Listen, MetricsDetail, Network, ResolverSettings, Settings, TargetFile,
};
use crate::source::{At, Findings, Source, nearest};
use crate::table::{SECTIONS, TOP, section};
use crate::target::{build, check_layer, no_such};
use crate::{layer, maintenance, parties, read, receiver};

/// The file by its sections, each checked by itself.
#[derive(Debug)]
pub(crate) struct Document {
    top: Layer,
    single: BTreeMap<&'static str, Layer>,
    repeated: BTreeMap<&'static str, Vec<Layer>>,
}

impl Document {
    /// Reads all sections; what is wrong goes to the findings.
    pub(crate) fn read(root: &Node, findings: &mut Findings) -> Self {
        let mut document =
            Self { top: Layer::empty(""), single: BTreeMap::new(), repeated: BTreeMap::new() };
        let Raw::Table(entries) = &root.raw else { return document };
        let mut top = Vec::new();
        for entry in entries {
            match section(&entry.name) {
                Some(section) => document.read_section(section, entry, findings),
                None if TOP.key(&entry.name).is_some() => top.push(entry.clone()),
                None => findings.error(entry.at, &entry.name, unknown_section(entry)),
            }
        }
        let top = Node { at: root.at, raw: Raw::Table(top) };
        document.top = Layer::read(&TOP, &top, "", findings);
        document
    }

    fn read_section(&mut self, section: &'static Section, entry: &Entry, findings: &mut Findings) {
        let Entry { name, at, node } = entry;
        match (&node.raw, section.repeated) {
            (Raw::Table(_), false) => {
                let layer = Layer::read(section, node, name, findings);
                self.single.insert(section.name, layer);
            }
            (Raw::List(nodes), true) => {
                let layers = nodes.iter().enumerate().map(|(index, node)| {
                    Layer::read(section, node, &format!("{name}[{}]", index + 1), findings)
                });
                self.repeated.insert(section.name, layers.collect());
            }
            (Raw::Table(_), true) => {
                let hint = format!("write {} with two brackets, once for each", section.title());
                findings.error(*at, name, Fault::new("there may be several of these", hint));
            }
            (_, false) => {
                let hint = format!("write {} with one bracket, once", section.title());
                findings.error(*at, name, Fault::new("it is one table", hint));
            }
            (_, true) => {
                let hint = format!("write {} above its keys", section.title());
                findings.error(*at, name, Fault::new("it is a list of tables", hint));
            }
        }
    }

    /// The only table of a section, empty where it is not written.
    fn single(&self, name: &'static str) -> Layer {
        self.single.get(name).cloned().unwrap_or_else(|| Layer::empty(name))
    }

    /// The tables of a repeated section.
    pub(crate) fn repeated(&self, name: &str) -> &[Layer] {
        self.repeated.get(name).map_or(&[], Vec::as_slice)
    }
}

fn unknown_section(entry: &Entry) -> Fault {
    let reason = match &entry.node.raw {
        Raw::Table(_) | Raw::List(_) => "unknown section",
        _ => "unknown key",
    };
    let names = SECTIONS.iter().map(|section| section.name);
    let near = nearest(&entry.name, names).and_then(section);
    let homes: Vec<_> = SECTIONS
        .iter()
        .filter(|section| section.key(&entry.name).is_some())
        .map(Section::title)
        .collect();
    let hint = if let Some(section) = near {
        format!("did you mean {}?", section.title())
    } else if let Some(near) = nearest(&entry.name, TOP.keys().map(|key| key.name)) {
        format!("did you mean `{near}`?")
    } else if !homes.is_empty() {
        format!("it belongs to {}", homes.join(" or "))
    } else {
        let titles: Vec<_> = SECTIONS.iter().map(Section::title).collect();
        format!("sections are {}", titles.join(", "))
    };
    Fault::new(reason, hint)
}

/// Reads the text of the main file. Target files are named in the result, not yet read.
pub(crate) fn assemble(
    text: &str,
    name: &str,
    base: &Path,
    findings: &mut Findings,
) -> Option<Settings> {
    let main = Source::new(name, text);
    let file = findings.add(Arc::clone(&main));
    let root = parse_toml(&main, file, findings)?;
    let document = Document::read(&root, findings);
    let mut settings = Settings::empty();
    apply_single(&mut settings, &document, base, findings);
    settings.plan.vantages = parties::vantages(&document, findings);
    settings.plan.canaries = document.repeated("canary").iter().filter_map(canary).collect();
    settings.receivers = receiver::receivers(&document, base, findings);

    let groups = groups(document.repeated("group"), findings);
    let vantages: Vec<_> = settings.plan.vantages.iter().map(|v| v.name.clone()).collect();
    let mut context = Context {
        main,
        base: base.to_owned(),
        defaults: document.single("defaults"),
        groups,
        vantages,
        budget: settings.plan.budget,
        targets: Vec::new(),
        detail: detail(&document),
    };
    check_layer(&context.defaults, &context.vantages, findings);
    for group in context.groups.values() {
        check_layer(group, &context.vantages, findings);
    }
    context.targets = targets(&document, &context, findings);
    settings.plan.targets = context.targets.clone();
    settings.target_files = target_files(&document, &context, findings);
    settings.plan.group_by_labels = texts(&Stack::one(&document.top), "group_by_labels");
    settings.maintenance = maintenance::maintenance(&document, &settings, findings);
    settings.metrics = metrics(&context, settings.plan.targets.len());
    settings.context = Arc::new(context);
    settings.later = findings.take_later();
    (findings.error_count() == 0).then_some(settings)
}

fn apply_single(
    settings: &mut Settings,
    document: &Document,
    base: &Path,
    findings: &mut Findings,
) {
    let listen = document.single("listen");
    let listen = Stack::one(&listen);
    settings.listen = Listen {
        address: listen.socket("address").unwrap_or(settings.listen.address),
        web_config: listen.path("web_config", base),
    };
    settings.store = Stack::one(&document.single("store")).path("path", base);
    let network = |value: &read::Value| -> Option<Network> {
        match value {
            read::Value::Network(network) => Some(*network),
            _ => None,
        }
    };
    settings.probe_api_allow = Stack::one(&document.single("probe_api")).list("allow", network);
    settings.plan.budget = budget(&document.single("budget"), findings);
    settings.resolver = resolver(&document.single("resolver"), findings);
    settings.heartbeat = receiver::heartbeat(&document.single("heartbeat"), base, findings);
    let evidence = document.single("evidence");
    let evidence = Stack::one(&evidence);
    let usual = EvidenceSettings::default();
    settings.evidence = EvidenceSettings {
        max_bytes: evidence.bytes("max_bytes").unwrap_or(usual.max_bytes),
        max_age: evidence.duration("max_age").unwrap_or(usual.max_age),
    };
}

fn budget(layer: &Layer, findings: &mut Findings) -> Budget {
    let stack = Stack::one(layer);
    let usual = Budget::default();
    let budget = Budget {
        packets_per_second: stack.number("packets_per_second").unwrap_or(usual.packets_per_second),
        per_destination: stack.number("per_destination").unwrap_or(usual.per_destination),
        per_prefix: stack.number("per_prefix").unwrap_or(usual.per_prefix),
        connects_per_minute: stack
            .whole("connects_per_minute")
            .unwrap_or(usual.connects_per_minute),
        connects_per_hour: stack.whole("connects_per_hour").unwrap_or(usual.connects_per_hour),
    };
    let pairs = [
        ("per_destination", budget.per_destination, "per_prefix", budget.per_prefix),
        ("per_prefix", budget.per_prefix, "packets_per_second", budget.packets_per_second),
    ];
    for (inner, inner_rate, outer, outer_rate) in pairs {
        if inner_rate > outer_rate && (layer.has(inner) || layer.has(outer)) {
            let key = if layer.has(inner) { inner } else { outer };
            let reason = format!("{inner} ({inner_rate}) is more than {outer} ({outer_rate})");
            let fault = Fault::new(reason, "the smaller of the two holds");
            findings.warn(layer.place(key), &layer.key(key), fault);
        }
    }
    budget
}

fn resolver(layer: &Layer, findings: &mut Findings) -> ResolverSettings {
    let stack = Stack::one(layer);
    let usual = ResolverSettings::default();
    let resolver = ResolverSettings {
        servers: stack.list("servers", layer::socket_of),
        timeout: stack.duration("timeout").unwrap_or(usual.timeout),
        min_ttl: stack.duration("min_ttl").unwrap_or(usual.min_ttl),
        max_ttl: stack.duration("max_ttl").unwrap_or(usual.max_ttl),
    };
    if resolver.min_ttl > resolver.max_ttl {
        let key = if layer.has("min_ttl") { "min_ttl" } else { "max_ttl" };
        let show = crate::value::show_duration;
        let reason = format!(
            "min_ttl ({}) is longer than max_ttl ({})",
            show(resolver.min_ttl),
            show(resolver.max_ttl)
        );
        let fault = Fault::new(reason, "make max_ttl at least as long as min_ttl");
        findings.error(layer.place(key), &layer.key(key), fault);
    }
    resolver
}

fn detail(document: &Document) -> Option<MetricsDetail> {
    let metrics = document.single("metrics");
    match Stack::one(&metrics).text("detail") {
        Some("full") => Some(MetricsDetail::Full),
        Some("compact") => Some(MetricsDetail::Compact),
        _ => None,
    }
}

/// The detail asked for, or what the number of targets suggests.
pub(crate) fn metrics(context: &Context, targets: usize) -> MetricsDetail {
    context.detail.unwrap_or(match targets > crate::settings::COMPACT_ABOVE {
        true => MetricsDetail::Compact,
        false => MetricsDetail::Full,
    })
}

fn canary(layer: &Layer) -> Option<Canary> {
    let stack = Stack::one(layer);
    Some(Canary { host: stack.string("host")?, port: stack.port("port")? })
}

/// Groups by their names, each name once. The name is taken out, for the layers are laid under
/// targets, which have names of their own.
fn groups(layers: &[Layer], findings: &mut Findings) -> BTreeMap<String, Layer> {
    let mut names = Names::default();
    let mut groups = BTreeMap::new();
    for layer in layers {
        let Some(name) = Stack::one(layer).string("name") else { continue };
        if names.take(&name, layer.place("name"), &layer.key("name"), findings) {
            let mut layer = layer.clone();
            layer.items.remove("name");
            groups.insert(name, layer);
        }
    }
    groups
}

/// Names already given, and where.
#[derive(Debug, Default)]
pub(crate) struct Names {
    places: BTreeMap<String, At>,
}

impl Names {
    /// Takes a name, or notes that it is taken.
    pub(crate) fn take(&mut self, name: &str, at: At, path: &str, findings: &mut Findings) -> bool {
        if let Some(first) = self.places.get(name) {
            let (file, line, _) = findings.place(*first);
            let reason = format!("{} is already taken at {file}:{line}", quote(name));
            findings.error(at, path, Fault::new(reason, "give each its own `name`"));
            return false;
        }
        self.places.insert(name.to_owned(), at);
        true
    }
}

fn targets(document: &Document, context: &Context, findings: &mut Findings) -> Vec<Target> {
    let mut names = Names::default();
    let mut targets = Vec::new();
    for own in document.repeated("target") {
        check_layer(own, &context.vantages, findings);
        let (stack, group) = stack_of(vec![own], None, context, findings);
        let Some(target) = build(&stack, group, context, findings) else { continue };
        let key = if own.has("name") { "name" } else { "host" };
        if names.take(target.name.as_str(), own.place(key), &own.key(key), findings) {
            targets.push(target);
        }
    }
    targets
}

/// The layers of a target with its group and the defaults beneath. The group is the one its own
/// layers name, else `group`.
pub(crate) fn stack_of<'a>(
    own: Vec<&'a Layer>,
    group: Option<&'a str>,
    context: &'a Context,
    findings: &mut Findings,
) -> (Stack<'a>, Option<&'a str>) {
    let mut stack = Stack(own);
    let written = stack.find("group");
    let group = stack.text("group").or(group);
    match group.map(|name| (name, context.groups.get(name))) {
        Some((_, Some(layer))) => stack.0.push(layer),
        Some((name, None)) => {
            if let Some((layer, item)) = written {
                let known = context.groups.keys().map(String::as_str);
                findings.error(item.at, &layer.key("group"), no_such("group", name, known));
            }
        }
        None => {}
    }
    stack.0.push(&context.defaults);
    (stack, group)
}

fn texts(stack: &Stack<'_>, key: &str) -> Vec<String> {
    stack.list(key, |value| match value {
        read::Value::Text(text) => Some(text.clone()),
        _ => None,
    })
}

fn target_files(
    document: &Document,
    context: &Context,
    findings: &mut Findings,
) -> Vec<TargetFile> {
    let mut names = Names::default();
    let mut files = Vec::new();
    let groups = context.groups.iter().map(|(name, layer)| (layer, "files", Some(name)));
    let lists = std::iter::once((&document.top, "target_files", None)).chain(groups);
    for (layer, key, group) in lists {
        for (index, item) in Stack::one(layer).items(key).iter().enumerate() {
            let read::Value::Text(text) = &item.value else { continue };
            let path = format!("{}[{}]", layer.key(key), index + 1);
            let known = [".json", ".yml", ".yaml"].iter().any(|ending| text.ends_with(ending));
            if !known {
                let fault = Fault::new(
                    format!("{} is of no known form", quote(text)),
                    "name a file that ends in .json, .yml or .yaml",
                );
                findings.error(item.at, &path, fault);
            } else if names.take(text, item.at, &path, findings) {
                let targets: Vec<TargetName> = Vec::new();
                files.push(TargetFile {
                    path: context.base.join(text),
                    group: group.cloned(),
                    targets,
                });
            }
        }
    }
    files
}
