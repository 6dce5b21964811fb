//! The JSON Schema of the configuration file, from the table of keys.

use serde_json::{Map, Value, json};

use crate::key::{EXPECTATIONS, Fallback, Key, Kind, Section};
use crate::table::{SECTIONS, TOP};
use crate::value::{RESERVED_LABELS, show_duration};

/// The JSON Schema (draft 2020-12) of the configuration file, for editors and other tools. It knows
/// the form of each key; what must hold between keys only the reading checks.
pub fn schema() -> Value {
    let mut properties = properties(&TOP);
    for section in SECTIONS {
        let table = table(section);
        let schema = match section.repeated {
            true => json!({ "type": "array", "items": table }),
            false => table,
        };
        properties.insert(section.name.to_owned(), schema);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "reachd configuration",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    })
}

fn table(section: &'static Section) -> Value {
    let required: Vec<_> = section
        .keys()
        .filter(|key| matches!(key.fallback, Fallback::Required))
        .map(|key| key.name)
        .collect();
    let mut table = json!({
        "type": "object",
        "description": section.doc,
        "additionalProperties": false,
        "properties": properties(section),
    });
    if !required.is_empty() {
        table["required"] = json!(required);
    }
    table
}

fn properties(section: &'static Section) -> Map<String, Value> {
    section.keys().map(|key| (key.name.to_owned(), property(key))).collect()
}

fn property(key: &Key) -> Value {
    let mut schema = of_kind(&key.kind);
    let later = key.later.map(|now| format!(" No effect yet: {now}.")).unwrap_or_default();
    schema["description"] = json!(format!("{}{later}", key.doc));
    if let Fallback::Value(toml) = key.fallback
        && let Some(value) = from_toml(toml)
    {
        schema["default"] = value;
    }
    schema
}

/// The JSON of a value in TOML.
pub(crate) fn from_toml(toml: &str) -> Option<Value> {
    let table: toml::Table = format!("x = {toml}").parse().ok()?;
    serde_json::to_value(table.get("x")?).ok()
}

fn of_kind(kind: &Kind) -> Value {
    match kind {
        Kind::Text | Kind::Path => json!({ "type": "string", "minLength": 1 }),
        Kind::Name => json!({ "type": "string", "pattern": "^[A-Za-z0-9_.-]{1,63}$" }),
        Kind::Host => json!({ "type": "string", "minLength": 1, "maxLength": 254 }),
        Kind::Port => json!({ "type": "integer", "minimum": 1, "maximum": 65535 }),
        Kind::Duration { min, max } => json!({
            "type": "string",
            "pattern": "^([0-9]+(ms|s|m|h|d))+$",
            "$comment": format!("{} to {}", show_duration(*min), show_duration(*max)),
        }),
        Kind::Whole { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Rate { max } => json!({ "type": "number", "exclusiveMinimum": 0, "maximum": max }),
        Kind::Ratio => json!({ "type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1 }),
        Kind::Size { min } => json!({ "anyOf": [
            { "type": "integer", "minimum": min },
            { "type": "string", "pattern": "^[0-9]+ ?(B|kB|MB|GB|KiB|MiB|GiB)?$" },
        ] }),
        Kind::Word(words) => json!({ "enum": words }),
        Kind::Url(schemes) => {
            json!({ "type": "string", "pattern": format!("^({})://", schemes.join("|")) })
        }
        Kind::Address | Kind::Socket(_) | Kind::Network => {
            json!({ "type": "string", "minLength": 2 })
        }
        Kind::Moment => json!({ "type": "string", "format": "date-time" }),
        Kind::Interface => json!({ "type": "string", "minLength": 1, "maxLength": 15 }),
        Kind::Namespace => json!({ "type": "string", "minLength": 1, "maxLength": 255 }),
        Kind::Labels => json!({
            "type": "object",
            "propertyNames": {
                "pattern": "^[a-zA-Z_][a-zA-Z0-9_]*$",
                "not": { "anyOf": [{ "enum": RESERVED_LABELS }, { "pattern": "^__" }] },
            },
            "additionalProperties": { "type": "string", "minLength": 1 },
        }),
        Kind::Expectations => {
            json!({ "type": "object", "additionalProperties": { "enum": EXPECTATIONS } })
        }
        Kind::Matchers => json!({ "anyOf": [
            { "type": "object", "additionalProperties": { "type": "string" } },
            { "type": "array", "items": { "type": "string", "pattern": "=" } },
        ] }),
        Kind::List(item) => json!({ "type": "array", "items": of_kind(item), "uniqueItems": true }),
    }
}
