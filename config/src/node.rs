//! Values as written, with the place of each: one form for TOML, YAML and JSON.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::Fault;
use crate::source::{At, Findings, Source};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) at: At,
    pub(crate) raw: Raw,
}

/// A value without meaning yet.
#[derive(Debug, Clone)]
pub(crate) enum Raw {
    Text(String),
    Whole(i64),
    Number(f64),
    Flag(bool),
    Moment(String),
    List(Vec<Node>),
    Table(Vec<Entry>),
    /// A whole number beyond 64 bits, as written.
    Huge(String),
}

/// A key and its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) at: At,
    pub(crate) node: Node,
}

impl Node {
    pub(crate) fn text(at: At, text: &str) -> Self {
        Self { at, raw: Raw::Text(text.to_owned()) }
    }

    /// How a person would call what is written here.
    pub(crate) fn describe(&self) -> String {
        match &self.raw {
            Raw::Text(text) => quote(text),
            Raw::Whole(number) => number.to_string(),
            Raw::Number(number) => number.to_string(),
            Raw::Flag(flag) => flag.to_string(),
            Raw::Moment(text) | Raw::Huge(text) => text.clone(),
            Raw::List(_) => "a list".to_owned(),
            Raw::Table(_) => "a table".to_owned(),
        }
    }
}

/// The text in quotes, shortened and without control characters, fit for one line of a terminal.
pub(crate) fn quote(text: &str) -> String {
    let shown: String =
        text.chars().take(60).map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect();
    if text.chars().nth(60).is_some() { format!("\"{shown}...\"") } else { format!("\"{shown}\"") }
}

/// Reads TOML; syntax errors go to the findings, all of them, and then there is no table.
pub(crate) fn parse_toml(source: &Source, file: usize, findings: &mut Findings) -> Option<Node> {
    let (table, errors) = DeTable::parse_recoverable(source.text());
    for error in &errors {
        let offset = error.span().map_or(0, |span| span.start);
        let fault = Fault::new(error.message().replace('\n', ", "), hint_for(error.message()));
        findings.error(At { file, offset }, "", fault);
    }
    errors.is_empty().then(|| from_table(&table, file))
}

fn hint_for(message: &str) -> &'static str {
    if message.contains("duplicate key") {
        "keep one of the two"
    } else {
        "see https://toml.io for how TOML is written; text needs quotes"
    }
}

fn from_table(table: &Spanned<DeTable<'_>>, file: usize) -> Node {
    let at = At { file, offset: table.span().start };
    Node { at, raw: Raw::Table(entries(table.get_ref(), file)) }
}

fn entries(table: &DeTable<'_>, file: usize) -> Vec<Entry> {
    table
        .iter()
        .map(|(name, value)| Entry {
            name: name.get_ref().to_string(),
            at: At { file, offset: name.span().start },
            node: from_value(value, file),
        })
        .collect()
}

fn from_value(value: &Spanned<DeValue<'_>>, file: usize) -> Node {
    let at = At { file, offset: value.span().start };
    let raw = match value.get_ref() {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Raw::Whole(number),
            Err(_) => Raw::Huge(number.to_string()),
        },
        DeValue::Float(number) => match number.as_str().parse() {
            Ok(number) => Raw::Number(number),
            Err(_) => Raw::Number(f64::NAN),
        },
        DeValue::Boolean(flag) => Raw::Flag(*flag),
        DeValue::Datetime(moment) => Raw::Moment(moment.to_string()),
        DeValue::Array(items) => {
            Raw::List(items.iter().map(|item| from_value(item, file)).collect())
        }
        DeValue::Table(table) => Raw::Table(entries(table, file)),
    };
    Node { at, raw }
}
