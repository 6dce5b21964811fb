//! Targets from files in Prometheus `file_sd` form.
//!
//! A file is a list of `{ targets = ["host:port", ...], labels = { name = text } }`. Labels
//! `__reachd_<key>` set that key of `[[target]]`; other labels that begin with `__` are dropped, as
//! Prometheus does; the rest become labels of the targets.

use std::collections::BTreeMap;
use std::sync::Arc;

use reachd_core::target::Target;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_saphyr::{Location, Spanned};

use crate::assemble::stack_of;
use crate::context::Context;
use crate::layer::Layer;
use crate::problem::Fault;
use crate::read::{self, Item, Value, from_label};
use crate::settings::TargetFile;
use crate::source::{At, Findings, Source, nearest};
use crate::table::section;
use crate::target::{build, check_layer};
use crate::value;

/// Labels that set keys of a target begin so.
const KEY_PREFIX: &str = "__reachd_";

/// Bounds on YAML: a hundred thousand targets with ten labels each fit, an alias bomb does not.
const YAML_NODES: usize = 4_000_000;
const YAML_ALIASES: usize = 1_000;

/// What a file looks like.
const FORM: &str = "write a list of entries with targets and labels, as Prometheus file_sd has it";

/// One entry of a file: targets that share labels, each text with its byte offset.
#[derive(Debug, Default)]
struct Batch {
    targets: Vec<(String, usize)>,
    labels: Vec<(String, String, usize)>,
}

/// Reads the text of a target file; gives each good target with its place.
pub(crate) fn read(
    name: &str,
    text: &str,
    target_file: &TargetFile,
    context: &Context,
    findings: &mut Findings,
) -> Vec<(At, Target)> {
    let source = Source::new(name, text);
    let file = findings.add(Arc::clone(&source));
    let batches = if text.trim().is_empty() {
        Some(Vec::new())
    } else if name.ends_with(".json") {
        json(&source, file, findings)
    } else {
        yaml(&source, file, findings)
    };
    let reader = Reader { file, group: target_file.group.as_deref(), context };
    let mut targets = Vec::new();
    for (index, batch) in batches.unwrap_or_default().iter().enumerate() {
        reader.read_batch(batch, &format!("[{}]", index + 1), &mut targets, findings);
    }
    targets
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonBatch<'a> {
    #[serde(borrow, default)]
    targets: Vec<&'a RawValue>,
    #[serde(borrow, default)]
    labels: BTreeMap<String, &'a RawValue>,
}

fn json(source: &Source, file: usize, findings: &mut Findings) -> Option<Vec<Batch>> {
    let text = source.text();
    let read: Vec<JsonBatch<'_>> = serde_json::from_str(text)
        .map_err(|error| {
            let offset = source.offset(error.line(), error.column());
            let message = error.to_string();
            let reason = message.split(" at line ").next().unwrap_or_default();
            findings.error(At { file, offset }, "", Fault::new(reason, FORM));
        })
        .ok()?;
    // A raw value is a part of the text, so the distance of their addresses is its offset.
    let offset = |raw: &RawValue| raw.get().as_ptr().addr().saturating_sub(text.as_ptr().addr());
    let mut string = |raw: &RawValue| {
        let at = At { file, offset: offset(raw) };
        let string = serde_json::from_str::<String>(raw.get()).map_err(|_| {
            let shown: String = raw.get().chars().take(60).collect();
            Fault::new(format!("{shown} is not text"), "write it in quotes")
        });
        findings.take(string, at, "").map(|string| (string, at.offset))
    };
    let batches = read.into_iter().map(|batch| Batch {
        targets: batch.targets.into_iter().filter_map(&mut string).collect(),
        labels: batch
            .labels
            .into_iter()
            .filter_map(|(name, raw)| string(raw).map(|(text, offset)| (name, text, offset)))
            .collect(),
    });
    Some(batches.collect())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct YamlBatch {
    #[serde(default)]
    targets: Vec<Spanned<String>>,
    #[serde(default)]
    labels: BTreeMap<String, Spanned<String>>,
}

fn yaml(source: &Source, file: usize, findings: &mut Findings) -> Option<Vec<Batch>> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 4 * YAML_NODES,
            max_nodes: YAML_NODES,
            max_aliases: YAML_ALIASES,
            max_documents: 1,
        },
        with_snippet: false,
    };
    let read: Option<Vec<YamlBatch>> = serde_saphyr::from_str_with_options(source.text(), options)
        .map_err(|error| {
            let offset = error.location().map_or(0, |place| yaml_offset(source, &place));
            let message = error.to_string();
            let reason = message.lines().next().unwrap_or_default().to_owned();
            findings.error(At { file, offset }, "", Fault::new(reason, FORM));
        })
        .ok()?;
    let batches = read.unwrap_or_default().into_iter().map(|batch| Batch {
        targets: batch
            .targets
            .into_iter()
            .map(|text| (text.value, yaml_offset(source, &text.referenced)))
            .collect(),
        labels: batch
            .labels
            .into_iter()
            .map(|(name, text)| (name, text.value, yaml_offset(source, &text.referenced)))
            .collect(),
    });
    Some(batches.collect())
}

fn yaml_offset(source: &Source, place: &Location) -> usize {
    let byte = place.span().byte_offset().and_then(|byte| usize::try_from(byte).ok());
    byte.unwrap_or_else(|| {
        let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        source.offset(number(place.line()), number(place.column()))
    })
}

/// What is the same for all targets of a file.
struct Reader<'a> {
    file: usize,
    group: Option<&'a str>,
    context: &'a Context,
}

impl Reader<'_> {
    fn read_batch(
        &self,
        batch: &Batch,
        path: &str,
        targets: &mut Vec<(At, Target)>,
        findings: &mut Findings,
    ) {
        let shared = self.labels(batch, &format!("{path}.labels"), findings);
        check_layer(&shared, &self.context.vantages, findings);
        if batch.targets.len() > 1 && shared.has("name") {
            let reason = format!("one name for {} targets", batch.targets.len());
            let fault = Fault::new(reason, "give each named target an entry of its own");
            findings.error(shared.place("name"), &shared.key("__reachd_name"), fault);
            return;
        }
        for (index, (text, offset)) in batch.targets.iter().enumerate() {
            let at = At { file: self.file, offset: *offset };
            let path = format!("{path}.targets[{}]", index + 1);
            let Some(own) = findings.take(own_layer(text, at, &path), at, &path) else { continue };
            let (stack, group) = stack_of(vec![&own, &shared], self.group, self.context, findings);
            targets.extend(build(&stack, group, self.context, findings).map(|target| (at, target)));
        }
    }

    /// The labels of an entry as a layer of keys.
    fn labels(&self, batch: &Batch, path: &str, findings: &mut Findings) -> Layer {
        let mut layer = Layer::empty(path);
        let mut labels = BTreeMap::new();
        for (name, text, offset) in &batch.labels {
            let at = At { file: self.file, offset: *offset };
            if let Some(key) = name.strip_prefix(KEY_PREFIX) {
                read_key(&mut layer, (name, key), text, at, findings);
            } else if !name.starts_with("__") {
                let path = format!("{path}.{name}");
                if findings.take(value::label(name), at, &path).is_some() {
                    labels.insert(name.clone(), Item { at, value: Value::Text(text.clone()) });
                }
            }
        }
        if let Some(item) = layer.items.remove("labels")
            && let Value::Map(items) = item.value
        {
            labels.extend(items);
        }
        let at = At { file: self.file, offset: 0 };
        layer.items.insert("labels", Item { at, value: Value::Map(labels) });
        layer
    }
}

/// Reads what a `__reachd_<key>` label says of its key.
fn read_key(
    layer: &mut Layer,
    (label, key): (&str, &str),
    text: &str,
    at: At,
    findings: &mut Findings,
) {
    let path = layer.key(label);
    let Some(section) = section("target") else { return };
    let known = section.keys().filter(|key| !matches!(key.name, "host" | "port"));
    let Some(key) = known.clone().find(|known| known.name == key) else {
        let hint = match nearest(key, known.map(|key| key.name)) {
            Some(near) => format!("did you mean `{KEY_PREFIX}{near}`?"),
            None => {
                "after the prefix stands a key of [[target]] other than host and port".to_owned()
            }
        };
        findings.error(at, &path, Fault::new("unknown key", hint));
        return;
    };
    if let Some(now) = key.later {
        findings.note_later(section.name, key.name, at, &path, now);
    }
    let node = from_label(&key.kind, text, at);
    if let Some(item) = read::read(&key.kind, &node, &path, findings) {
        layer.items.insert(key.name, item);
    }
}

/// The layer of a target's own text, `host`, `host:port` or `[addr]:port`.
fn own_layer(text: &str, at: At, path: &str) -> Result<Layer, Fault> {
    let (host, port) = value::split_port(text)?;
    value::host(host)?;
    let mut layer = Layer::empty(path);
    layer.at = at;
    layer.items.insert("host", Item { at, value: Value::Text(host.to_owned()) });
    if let Some(port) = port {
        layer.items.insert("port", Item { at, value: Value::Whole(i64::from(port)) });
    }
    Ok(layer)
}
