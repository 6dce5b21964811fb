//! One table of the file, read; and several on top of each other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use crate::key::{Fallback, Section};
use crate::node::{Entry, Node, Raw, quote};
use crate::problem::Fault;
use crate::read::{Item, Value, read};
use crate::settings::Matcher;
use crate::source::{At, Findings, nearest};
use crate::table::{SECTIONS, TOP};

/// The keys of one table, each checked by its kind.
#[derive(Debug, Clone)]
pub(crate) struct Layer {
    pub(crate) at: At,
    /// The table as a path, such as `target[2]`; empty at the top.
    pub(crate) path: String,
    pub(crate) items: BTreeMap<&'static str, Item>,
    /// Keys that were written, right or wrong, so that a wrong one is not also called missing.
    written: BTreeSet<&'static str>,
}

impl Layer {
    /// A table that is not written at all.
    pub(crate) fn empty(path: &str) -> Self {
        let at = At { file: 0, offset: 0 };
        Self { at, path: path.to_owned(), items: BTreeMap::new(), written: BTreeSet::new() }
    }

    /// Reads a table; unknown, missing and wrong keys go to the findings.
    pub(crate) fn read(
        section: &'static Section,
        node: &Node,
        path: &str,
        findings: &mut Findings,
    ) -> Self {
        let mut layer = Self {
            at: node.at,
            path: path.to_owned(),
            items: BTreeMap::new(),
            written: BTreeSet::new(),
        };
        let Raw::Table(entries) = &node.raw else {
            let reason = format!("{} where a table belongs", node.describe());
            findings.error(node.at, path, Fault::new(reason, format!("write {}", section.title())));
            return layer;
        };
        for entry in entries {
            layer.read_entry(section, entry, findings);
        }
        for key in section.keys() {
            let missing = !entries.iter().any(|entry| entry.name == key.name);
            if missing && matches!(key.fallback, Fallback::Required) {
                let hint = format!("add `{} = {}`", key.name, key.example);
                findings.error(node.at, &layer.key(key.name), Fault::new("it is missing", hint));
            }
        }
        layer
    }

    fn read_entry(&mut self, section: &'static Section, entry: &Entry, findings: &mut Findings) {
        let path = self.key(&entry.name);
        let Some(key) = section.key(&entry.name) else {
            findings.error(entry.at, &path, unknown_key(section, &entry.name));
            return;
        };
        self.written.insert(key.name);
        if let Some(now) = key.later {
            findings.note_later(section.name, key.name, entry.at, &path, now);
        }
        if let Some(item) = read(&key.kind, &entry.node, &path, findings) {
            self.items.insert(key.name, item);
        }
    }

    /// The path of one of its keys.
    pub(crate) fn key(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// The place of a key, or of the table where it is not written.
    pub(crate) fn place(&self, name: &str) -> At {
        self.items.get(name).map_or(self.at, |item| item.at)
    }

    /// Whether a key is written, right or wrong.
    pub(crate) fn wrote(&self, name: &str) -> bool {
        self.written.contains(name)
    }

    /// Whether a key is written and right.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.items.contains_key(name)
    }
}

/// What a key says of an unknown name: what was meant, or where it belongs, or what is allowed.
fn unknown_key(section: &'static Section, name: &str) -> Fault {
    let reason = "unknown key";
    if let Some(near) = nearest(name, section.keys().map(|key| key.name)) {
        return Fault::new(reason, format!("did you mean `{near}`?"));
    }
    let homes: Vec<_> = std::iter::once(&TOP)
        .chain(SECTIONS)
        .filter(|other| other.key(name).is_some() && !matches!(other.name, "defaults" | "group"))
        .map(Section::title)
        .collect();
    if !homes.is_empty() {
        return Fault::new(reason, format!("`{name}` belongs to {}", homes.join(" or ")));
    }
    let allowed: Vec<_> = section.keys().map(|key| key.name).collect();
    let hint = match allowed.len() {
        0..=12 => format!("{} has {}", section.title(), allowed.join(", ")),
        _ => format!("`reachd config schema` lists the keys of {}", section.title()),
    };
    Fault::new(format!("{reason} {}", quote(name)), hint)
}

/// Tables on top of each other; the first that has a key decides it.
#[derive(Debug, Clone)]
pub(crate) struct Stack<'a>(pub(crate) Vec<&'a Layer>);

impl<'a> Stack<'a> {
    pub(crate) fn one(layer: &'a Layer) -> Self {
        Self(vec![layer])
    }

    /// The table that decides a key, and its value.
    pub(crate) fn find(&self, name: &str) -> Option<(&'a Layer, &'a Item)> {
        self.0.iter().find_map(|layer| layer.items.get(name).map(|item| (*layer, item)))
    }

    fn value(&self, name: &str) -> Option<&'a Value> {
        self.find(name).map(|(_, item)| &item.value)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&'a str> {
        match self.value(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn string(&self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    /// A path below the file's folder; one of a credential (`%d/`) stays as it is.
    pub(crate) fn path(&self, name: &str, base: &Path) -> Option<PathBuf> {
        let credential = |text: &str| text.starts_with("%d/");
        self.text(name)
            .map(|text| if credential(text) { PathBuf::from(text) } else { base.join(text) })
    }

    pub(crate) fn whole(&self, name: &str) -> Option<u32> {
        match self.value(name)? {
            Value::Whole(number) => u32::try_from(*number).ok(),
            _ => None,
        }
    }

    pub(crate) fn port(&self, name: &str) -> Option<u16> {
        self.whole(name).and_then(|number| u16::try_from(number).ok())
    }

    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        match self.value(name)? {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    pub(crate) fn duration(&self, name: &str) -> Option<Duration> {
        match self.value(name)? {
            Value::Duration(duration) => Some(*duration),
            _ => None,
        }
    }

    pub(crate) fn bytes(&self, name: &str) -> Option<u64> {
        match self.value(name)? {
            Value::Bytes(bytes) => Some(*bytes),
            _ => None,
        }
    }

    pub(crate) fn address(&self, name: &str) -> Option<IpAddr> {
        match self.value(name)? {
            Value::Address(address) => Some(*address),
            _ => None,
        }
    }

    pub(crate) fn socket(&self, name: &str) -> Option<SocketAddr> {
        match self.value(name)? {
            Value::Socket(socket) => Some(*socket),
            _ => None,
        }
    }

    pub(crate) fn moment(&self, name: &str) -> Option<Timestamp> {
        match self.value(name)? {
            Value::Moment(moment) => Some(*moment),
            _ => None,
        }
    }

    pub(crate) fn matchers(&self, name: &str) -> Vec<Matcher> {
        match self.value(name) {
            Some(Value::Matchers(matchers)) => matchers.clone(),
            _ => Vec::new(),
        }
    }

    /// The items of a list; none where it is not written.
    pub(crate) fn items(&self, name: &str) -> &'a [Item] {
        match self.value(name) {
            Some(Value::List(items)) => items,
            _ => &[],
        }
    }

    /// The items of a list, each by what `pick` makes of it.
    pub(crate) fn list<T>(&self, name: &str, pick: fn(&Value) -> Option<T>) -> Vec<T> {
        self.items(name).iter().filter_map(|item| pick(&item.value)).collect()
    }

    /// All tables' maps of this name, merged name by name.
    pub(crate) fn map(&self, name: &str) -> BTreeMap<String, String> {
        let mut merged = BTreeMap::new();
        for layer in self.0.iter().rev() {
            if let Some(Value::Map(items)) = layer.items.get(name).map(|item| &item.value) {
                for (name, item) in items {
                    merged.extend(text_of(&item.value).map(|text| (name.clone(), text)));
                }
            }
        }
        merged
    }
}

/// The text of a text.
pub(crate) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        _ => None,
    }
}

/// The number of a port.
pub(crate) fn port_of(value: &Value) -> Option<u16> {
    match value {
        Value::Whole(number) => u16::try_from(*number).ok(),
        _ => None,
    }
}

/// The address of an address.
pub(crate) fn address_of(value: &Value) -> Option<IpAddr> {
    match value {
        Value::Address(address) => Some(*address),
        _ => None,
    }
}

/// The address and port of a socket.
pub(crate) fn socket_of(value: &Value) -> Option<SocketAddr> {
    match value {
        Value::Socket(socket) => Some(*socket),
        _ => None,
    }
}
