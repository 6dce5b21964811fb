//! From a value as written to a value with meaning, by its kind.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use jiff::Timestamp;

use crate::key::{EXPECTATIONS, Kind};
use crate::node::{Entry, Node, Raw, quote};
use crate::problem::Fault;
use crate::settings::{Matcher, Network, Relation};
use crate::source::{At, Findings, nearest};
use crate::value;

/// A value with meaning and its place.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) at: At,
    pub(crate) value: Value,
}

/// A value with meaning.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Text(String),
    Whole(i64),
    Number(f64),
    Duration(Duration),
    Bytes(u64),
    Address(IpAddr),
    Socket(SocketAddr),
    Network(Network),
    Moment(Timestamp),
    Map(BTreeMap<String, Item>),
    Matchers(Vec<Matcher>),
    List(Vec<Item>),
}

/// Reads a value of this kind; what is wrong goes to the findings, with the place of each part.
pub(crate) fn read(kind: &Kind, node: &Node, path: &str, findings: &mut Findings) -> Option<Item> {
    let value = match kind {
        Kind::List(item) => list(item, node, path, findings)?,
        Kind::Labels | Kind::Expectations => map(kind, node, path, findings)?,
        Kind::Matchers => matchers(node, path, findings)?,
        Kind::Text
        | Kind::Name
        | Kind::Host
        | Kind::Port
        | Kind::Duration { .. }
        | Kind::Whole { .. }
        | Kind::Rate { .. }
        | Kind::Ratio
        | Kind::Size { .. }
        | Kind::Word(_)
        | Kind::Path
        | Kind::Url(_)
        | Kind::Address
        | Kind::Socket(_)
        | Kind::Network
        | Kind::Moment
        | Kind::Interface
        | Kind::Namespace => findings.take(single(kind, node), node.at, path)?,
    };
    Some(Item { at: node.at, value })
}

fn single(kind: &Kind, node: &Node) -> Result<Value, Fault> {
    let checked = |check: fn(&str) -> Result<(), Fault>| {
        let text = text(node)?;
        check(text).map(|()| Value::Text(text.to_owned()))
    };
    match kind {
        Kind::Text => checked(value_text),
        Kind::Path => checked(path),
        Kind::Name => checked(value::name),
        Kind::Host => checked(value::host),
        Kind::Interface => checked(interface),
        Kind::Namespace => checked(namespace),
        Kind::Url(schemes) => {
            let text = text(node)?;
            value::url(text, schemes).map(|()| Value::Text(text.to_owned()))
        }
        Kind::Word(words) => word(words, node),
        Kind::Port => {
            whole(node, "port").and_then(value::port).map(|port| Value::Whole(i64::from(port)))
        }
        Kind::Duration { min, max } => duration(node, *min, *max),
        Kind::Whole { min, max } => {
            let number = whole(node, "whole number")?;
            let within = (*min..=*max).contains(&number);
            let fault =
                || Fault::new(format!("{number} is out of range"), format!("use {min} to {max}"));
            within.then_some(Value::Whole(number)).ok_or_else(fault)
        }
        Kind::Rate { max } => number(
            node,
            &|x| x > 0.0 && x <= *max,
            &format!("use a number above 0 and at most {max}"),
        ),
        Kind::Ratio => {
            number(node, &|x| x > 0.0 && x < 1.0, "use a number between 0 and 1; 5 % is 0.05")
        }
        Kind::Size { min } => size(node, *min),
        Kind::Address => {
            text(node).and_then(value::address).and_then(value::unicast).map(Value::Address)
        }
        Kind::Socket(default) => value::socket(text(node)?, *default).map(Value::Socket),
        Kind::Network => value::network(text(node)?).map(Value::Network),
        Kind::Moment => match &node.raw {
            Raw::Moment(text) => value::moment(text).map(Value::Moment),
            _ => value::moment(text(node)?).map(Value::Moment),
        },
        Kind::Labels | Kind::Expectations | Kind::Matchers | Kind::List(_) => {
            Err(Fault::new("not a single value", ""))
        }
    }
}

fn text(node: &Node) -> Result<&str, Fault> {
    match &node.raw {
        Raw::Text(text) if text.is_empty() => {
            Err(Fault::new("it is empty", "write a text or leave the key out"))
        }
        Raw::Text(text) => Ok(text),
        Raw::Whole(_) | Raw::Number(_) | Raw::Flag(_) | Raw::Moment(_) | Raw::Huge(_) => {
            let shown = node.describe();
            Err(Fault::new(
                format!("{shown} is not text"),
                format!("write it in quotes: \"{shown}\""),
            ))
        }
        Raw::List(_) | Raw::Table(_) => Err(Fault::new(
            format!("{} where one text belongs", node.describe()),
            "write one text in quotes",
        )),
    }
}

fn value_text(text: &str) -> Result<(), Fault> {
    if text.trim().is_empty() {
        return Err(Fault::new("it is blank", "write a text or leave the key out"));
    }
    Ok(())
}

fn path(text: &str) -> Result<(), Fault> {
    if text.contains('\0') {
        return Err(Fault::new("the path contains a zero character", ""));
    }
    if text.contains(['*', '?']) {
        return Err(Fault::new(format!("{} is a pattern", quote(text)), "name each file"));
    }
    Ok(())
}

/// The kernel's `dev_valid_name`: at most 15 bytes, no slash, no colon, no white space.
fn interface(text: &str) -> Result<(), Fault> {
    let forbidden = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    if text.len() > 15 || text.contains(forbidden) || text == "." || text == ".." {
        let hint = "`ip link` lists the names; they have at most 15 letters";
        return Err(Fault::new(format!("{} is not an interface name", quote(text)), hint));
    }
    Ok(())
}

fn namespace(text: &str) -> Result<(), Fault> {
    let forbidden = |c: char| c == '/' || c.is_whitespace() || c.is_control();
    if text.len() > 255 || text.contains(forbidden) || text == "." || text == ".." {
        let hint = "`ip netns` lists the names; write the name alone, without /run/netns";
        return Err(Fault::new(
            format!("{} is not the name of a network namespace", quote(text)),
            hint,
        ));
    }
    Ok(())
}

/// A word of a closed list.
fn word(words: &[&str], node: &Node) -> Result<Value, Fault> {
    let allowed = words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
    let Raw::Text(text) = &node.raw else {
        return Err(Fault::new(
            format!("{} is not one of the words", node.describe()),
            format!("use {allowed}"),
        ));
    };
    if words.contains(&text.as_str()) {
        return Ok(Value::Text(text.clone()));
    }
    let hint = match nearest(text, words.iter().copied()) {
        Some(word) => format!("did you mean \"{word}\"? allowed: {allowed}"),
        None => format!("use {allowed}"),
    };
    Err(Fault::new(format!("{} is not allowed here", quote(text)), hint))
}

fn whole(node: &Node, what: &str) -> Result<i64, Fault> {
    match &node.raw {
        Raw::Whole(number) => Ok(*number),
        Raw::Text(text) if text.parse::<i64>().is_ok() => Err(Fault::new(
            format!("{} is text", quote(text)),
            format!("write it without quotes: {text}"),
        )),
        _ if what == "port" => Err(value::not_a_port(&node.describe())),
        _ => Err(Fault::new(
            format!("{} is not a {what}", node.describe()),
            "write digits without quotes",
        )),
    }
}

fn number(node: &Node, good: &dyn Fn(f64) -> bool, hint: &str) -> Result<Value, Fault> {
    let number = match &node.raw {
        Raw::Whole(number) => i32::try_from(*number).map_or(f64::INFINITY, f64::from),
        Raw::Number(number) => *number,
        _ => return Err(Fault::new(format!("{} is not a number", node.describe()), hint)),
    };
    let fault = || Fault::new(format!("{} is out of range", node.describe()), hint);
    good(number).then_some(Value::Number(number)).ok_or_else(fault)
}

fn duration(node: &Node, min: Duration, max: Duration) -> Result<Value, Fault> {
    let duration = match &node.raw {
        Raw::Whole(number) => {
            let hint = format!("write \"{number}s\" for seconds; units are ms, s, m, h");
            return Err(Fault::new(format!("{number} has no unit"), hint));
        }
        _ => value::duration(text(node)?)?,
    };
    let show = value::show_duration;
    if duration < min {
        let reason = format!("{} is too short", node.describe());
        return Err(Fault::new(reason, format!("use {} to {}", show(min), show(max))));
    }
    if duration > max {
        let reason = format!("{} is too long", node.describe());
        return Err(Fault::new(reason, format!("use {} to {}", show(min), show(max))));
    }
    Ok(Value::Duration(duration))
}

fn size(node: &Node, min: u64) -> Result<Value, Fault> {
    let bytes = match &node.raw {
        Raw::Whole(number) => value::size(&number.to_string())?,
        _ => value::size(text(node)?)?,
    };
    let fault = || {
        Fault::new(format!("{} is too small", node.describe()), format!("use at least {min} bytes"))
    };
    (bytes >= min).then_some(Value::Bytes(bytes)).ok_or_else(fault)
}

fn list(kind: &Kind, node: &Node, path: &str, findings: &mut Findings) -> Option<Value> {
    let Raw::List(nodes) = &node.raw else {
        let reason = format!("{} is not a list", node.describe());
        findings.error(node.at, path, Fault::new(reason, format!("write [{}]", node.describe())));
        return None;
    };
    let mut items = Vec::new();
    let mut seen = BTreeMap::new();
    for (index, node) in nodes.iter().enumerate() {
        let path = format!("{path}[{}]", index + 1);
        if let Some(item) = read(kind, node, &path, findings) {
            if seen.insert(node.describe(), ()).is_some() {
                let reason = format!("{} stands here twice", node.describe());
                findings.error(node.at, &path, Fault::new(reason, "keep one of the two"));
            }
            items.push(item);
        }
    }
    (items.len() == nodes.len()).then_some(Value::List(items))
}

/// Labels and expectations: a table of names to texts.
fn map(kind: &Kind, node: &Node, path: &str, findings: &mut Findings) -> Option<Value> {
    let expectations = matches!(kind, Kind::Expectations);
    let hint = match expectations {
        true => "write { outside = \"filtered\", inside = \"reachable\" }",
        false => "write { team = \"windows\" }",
    };
    let Raw::Table(entries) = &node.raw else {
        let reason = format!("{} is not a table", node.describe());
        findings.error(node.at, path, Fault::new(reason, hint));
        return None;
    };
    let mut items = BTreeMap::new();
    for Entry { name, at, node } in entries {
        let path = format!("{path}.{name}");
        let name_check = if expectations { Ok(()) } else { value::label(name) };
        let good = findings.take(name_check, *at, &path).is_some();
        let value = match expectations {
            true => word(EXPECTATIONS, node),
            false => text(node).map(|text| Value::Text(text.to_owned())),
        };
        if let Some(value) = findings.take(value, node.at, &path).filter(|_| good) {
            items.insert(name.clone(), Item { at: *at, value });
        }
    }
    (items.len() == entries.len()).then_some(Value::Map(items))
}

/// A table of labels to values, or a list of `label=value` and `label!=value`.
fn matchers(node: &Node, path: &str, findings: &mut Findings) -> Option<Value> {
    let mut matchers = Vec::new();
    let wanted = match &node.raw {
        Raw::Table(entries) => {
            for Entry { name, at, node } in entries {
                let path = format!("{path}.{name}");
                let label = findings.take(value::label_syntax(name), *at, &path);
                let value = findings.take(text(node), node.at, &path);
                if let (Some(()), Some(value)) = (label, value) {
                    let (label, value) = (name.clone(), value.to_owned());
                    matchers.push(Matcher { label, relation: Relation::Is, value });
                }
            }
            entries.len()
        }
        Raw::List(nodes) => {
            for (index, node) in nodes.iter().enumerate() {
                let path = format!("{path}[{}]", index + 1);
                let matcher = text(node).and_then(value::matcher);
                matchers.extend(findings.take(matcher, node.at, &path));
            }
            nodes.len()
        }
        _ => {
            let reason = format!("{} is neither a table nor a list", node.describe());
            let hint = "write { team = \"windows\" } or [\"team=windows\", \"site!=lab\"]";
            findings.error(node.at, path, Fault::new(reason, hint));
            return None;
        }
    };
    (matchers.len() == wanted).then_some(Value::Matchers(matchers))
}

/// What a `__reachd_<key>` label, always text, says of a key of this kind.
pub(crate) fn from_label(kind: &Kind, label: &str, at: At) -> Node {
    let raw = match kind {
        Kind::Port | Kind::Whole { .. } => {
            label.parse().map_or(Raw::Text(label.to_owned()), Raw::Whole)
        }
        Kind::Rate { .. } | Kind::Ratio => {
            label.parse().map_or(Raw::Text(label.to_owned()), Raw::Number)
        }
        Kind::List(kind) => {
            Raw::List(pieces(label).map(|piece| from_label(kind, piece, at)).collect())
        }
        Kind::Matchers => Raw::List(pieces(label).map(|piece| Node::text(at, piece)).collect()),
        Kind::Labels | Kind::Expectations => {
            let entry = |piece: &str| {
                let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
                Entry { name: name.trim().to_owned(), at, node: Node::text(at, value.trim()) }
            };
            Raw::Table(pieces(label).map(entry).collect())
        }
        _ => Raw::Text(label.to_owned()),
    };
    Node { at, raw }
}

fn pieces(label: &str) -> impl Iterator<Item = &str> {
    label.split(',').map(str::trim).filter(|piece| !piece.is_empty())
}
