//! `reachd silence`: silences of a running daemon.

use std::time::SystemTime;

use anyhow::{Context, Result, anyhow};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cli::{Silence, SilenceAdd};
use crate::exit;
use crate::status::{ask, get};

/// Does what the subcommand asks for.
pub fn run(command: &Silence) -> Result<u8> {
    match command {
        Silence::List(arguments) => {
            let body = get(&arguments.door, "/api/v1/silences")?;
            let document: Value = serde_json::from_slice(&body).context("read the answer")?;
            let silences = document.get("silences").and_then(Value::as_array);
            for silence in silences.into_iter().flatten() {
                if arguments.json {
                    line!("{silence}");
                } else {
                    line!("{}", line(silence, Timestamp::now()));
                }
            }
        }
        Silence::Add(arguments) => {
            let body = ask(&arguments.door, "POST", "/api/v1/silences", &request(arguments)?)?;
            let document: Value = serde_json::from_slice(&body).context("read the answer")?;
            let id = document.get("silenceID").and_then(Value::as_str);
            line!("{}", id.ok_or_else(|| anyhow!("the daemon gives no id"))?);
        }
        Silence::Expire(arguments) => {
            ask(&arguments.door, "DELETE", &format!("/api/v1/silences/{}", arguments.id), "")?;
        }
    }
    Ok(exit::OK)
}

fn request(arguments: &SilenceAdd) -> Result<String> {
    let matchers: Result<Vec<Value>> =
        arguments.matchers.iter().map(|text| matcher(text)).collect();
    let end = SystemTime::now() + arguments.lasts;
    let end = Timestamp::try_from(end).context("that is too long")?;
    let document = json!({
        "matchers": matchers?,
        "endsAt": end.to_string(),
        "createdBy": arguments.by,
        "comment": arguments.comment,
    });
    Ok(document.to_string())
}

/// `label=value` or `label!=value`.
fn matcher(text: &str) -> Result<Value> {
    let (name, value) =
        text.split_once('=').ok_or_else(|| anyhow!("{text}: write label=value or label!=value"))?;
    let (name, equal) = match name.strip_suffix('!') {
        Some(name) => (name, false),
        None => (name, true),
    };
    Ok(json!({ "name": name, "value": value, "isEqual": equal }))
}

fn line(silence: &Value, now: Timestamp) -> String {
    let text = |key: &str| silence.get(key).and_then(Value::as_str).unwrap_or_default();
    let matchers = silence.get("matchers").and_then(Value::as_array).into_iter().flatten();
    let matchers = matchers.map(|matcher| {
        let text = |key: &str| matcher.get(key).and_then(Value::as_str).unwrap_or_default();
        let equal = matcher.get("isEqual").and_then(Value::as_bool).unwrap_or(true);
        format!("{}{}{}", text("name"), if equal { "=" } else { "!=" }, text("value"))
    });
    let over = text("endsAt").parse::<Timestamp>().is_ok_and(|end| end <= now);
    let state = if over { "over " } else { "until" };
    let matchers = matchers.collect::<Vec<_>>().join(",");
    format!(
        "{}  {state} {}  {matchers}  {} {}",
        text("id"),
        text("endsAt"),
        text("createdBy"),
        text("comment")
    )
}
