//! `reachd status`: what a running daemon knows, asked over its HTTP interface.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::cli::{Door, Status};
use crate::exit;

/// How long the daemon may take to answer.
const LIMIT: Duration = Duration::from_secs(5);
/// The largest answer that is read: 100,000 targets with their evidence stay below.
const ANSWER_MAX: u64 = 1 << 30;

/// Prints the targets' states; 1 when one of them is not reachable.
pub fn run(arguments: &Status) -> Result<u8> {
    let body = get(&arguments.door, "/api/v1/targets")?;
    let document: Value = serde_json::from_slice(&body).context("read the daemon's answer")?;
    let targets = document.get("targets").and_then(Value::as_array);
    let targets = targets.ok_or_else(|| anyhow!("the daemon's answer has no targets"))?;
    let wanted = |target: &&Value| match &arguments.target {
        Some(name) => name_of(target) == name,
        None => true,
    };
    let chosen: Vec<&Value> = targets.iter().filter(wanted).collect();
    if let (Some(name), true) = (&arguments.target, chosen.is_empty()) {
        bail!("{name} is not a target of the running plan; `reachd status` lists them all");
    }
    let mut code = exit::OK;
    for target in chosen {
        let class = text(target, "class").unwrap_or("unknown");
        if class != "reachable" {
            code = exit::FAILING;
        }
        if arguments.json {
            line!("{target}");
        } else {
            line!("{}", line(target, class));
        }
    }
    Ok(code)
}

fn name_of(target: &Value) -> &str {
    text(target, "name").unwrap_or_default()
}

fn text<'a>(target: &'a Value, key: &str) -> Option<&'a str> {
    target.get(key).and_then(Value::as_str)
}

fn line(target: &Value, class: &str) -> String {
    let verdict = target.get("report").and_then(|report| report.get("verdict"));
    let confidence = verdict.and_then(|verdict| verdict.get("confidence")).and_then(Value::as_f64);
    let summary = verdict.and_then(|verdict| verdict.get("summary")).and_then(Value::as_str);
    let odds = confidence.map_or_else(String::new, |odds| format!(" {:.0}%", odds * 100.0));
    format!("{:<32} {class}{odds}  {}", name_of(target), summary.unwrap_or_default())
}

/// The header that proves who asks (RFC 7617), from a file with `name:password`.
fn proof(file: &Path) -> Result<String> {
    let read = std::fs::read_to_string(file);
    let text = read.with_context(|| format!("read --auth-file {}", file.display()))?;
    let line = text.lines().next().filter(|line| line.contains(':'));
    let line =
        line.ok_or_else(|| anyhow!("{}: write name:password in one line", file.display()))?;
    Ok(format!("Authorization: Basic {}\r\n", STANDARD.encode(line)))
}

/// One HTTP/1.0 request: the answer ends with the connection, so no length needs reading.
pub(crate) fn get(door: &Door, path: &str) -> Result<Vec<u8>> {
    ask(door, "GET", path, "")
}

/// The same with any method and a body of JSON, empty for none.
pub(crate) fn ask(door: &Door, method: &str, path: &str, body: &str) -> Result<Vec<u8>> {
    let address = door.address;
    let proof = door.auth_file.as_deref().map(proof).transpose()?.unwrap_or_default();
    let hint = || format!("reach the daemon at {address}; is `reachd run` up, or on --address?");
    let mut stream = TcpStream::connect_timeout(&address, LIMIT).with_context(hint)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\nAccept: application/json\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n{proof}\r\n{body}"
    )?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer).context("read the daemon's answer")?;
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let head = head.ok_or_else(|| {
        anyhow!(
            "{address} does not answer in HTTP; where [listen] web_config sets TLS, ask with \
             `curl --cacert FILE https://{address}{path}`"
        )
    })?;
    let (head, body) = answer.split_at(head);
    let status = String::from_utf8_lossy(head).lines().next().unwrap_or_default().to_owned();
    if status.contains(" 401 ") {
        bail!("the daemon asks for a name and a password: give them with --auth-file FILE");
    }
    let body = body.get(4..).unwrap_or_default();
    if !status.contains(" 200 ") {
        let why: String = String::from_utf8_lossy(body).chars().take(200).collect();
        bail!("the daemon answers {status}: {}", why.trim());
    }
    Ok(body.to_vec())
}
