//! The real program as a daemon: it learns the healthy state, sees the fault come and sees it go.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use super::ground::{NAME, RECEIVER, configuration, home};
use super::{Mode, Said, Scenario, Seen, Stage};
use crate::node::{Node, Running, in_namespace};
use crate::server::{self, Webhook};

/// Lets a daemon learn the healthy state, breaks the network, and heals it.
pub fn watch(stage: &mut Stage<'_>, scenario: &Scenario, reachd: &Path) -> Result<Seen> {
    let node = home(stage, scenario)?;
    let receiver = server::webhook(node, RECEIVER)?;
    let daemon = Daemon::start(node, &configuration(stage, scenario, Mode::Daemon)?, reachd)?;
    let vantages = scenario.vantages.len();
    let mut seen = Seen { healthy_before: Some(daemon.learns(vantages)?), ..Seen::default() };
    // What was told of a start that is no part of the story.
    let before = receiver.bodies().len();

    stage.inject(scenario)?;
    let fault = Instant::now();
    let least = Duration::from_secs(scenario.watch);
    loop {
        let look = daemon.look()?;
        let after = fault.elapsed();
        seen.note(after, look);
        let since = seen.history.last().map_or(0.0, |(since, _)| *since);
        let stands = after.as_secs_f64() - since >= STANDS.as_secs_f64();
        if after >= least && stands || after >= least + INDECISION {
            break;
        }
        thread::sleep(LOOK);
    }
    count_alerts(&receiver, before, &mut seen)?;

    stage.heal()?;
    let heal = Instant::now();
    while heal.elapsed() < HEAL_MAX {
        if daemon.look()?.all_well {
            seen.healed = Some(heal.elapsed().as_secs_f64());
            break;
        }
        thread::sleep(LOOK);
    }
    Ok(seen)
}

impl Seen {
    fn note(&mut self, after: Duration, look: Look) {
        // Where no vantage is believed there is a class and nothing more.
        let said =
            look.said.unwrap_or_else(|| Said { class: look.class.clone(), ..Said::default() });
        if self.history.last().is_none_or(|(_, class)| *class != look.class) {
            self.history.push((after.as_secs_f64(), look.class));
        }
        self.notes.extend(said.notes.iter().cloned());
        self.said = Some(said);
    }
}

/// What the daemon says at one moment.
struct Look {
    class: String,
    said: Option<Said>,
    /// How many vantages have looked at the target.
    vantages: usize,
    all_well: bool,
}

struct Daemon {
    node: Node,
    folder: TempDir,
    _running: Running,
}

impl Daemon {
    fn start(node: &Node, configuration: &str, reachd: &Path) -> Result<Self> {
        let folder = tempfile::tempdir().context("make a folder")?;
        let file = folder.path().join("reachd.toml");
        fs::write(&file, configuration).context("write a file")?;
        let log = File::create(folder.path().join("log")).context("make a log")?;
        let mut command = node.command(reachd);
        command.args(["run", "--config"]).arg(&file);
        for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "JOURNAL_STREAM", "INVOCATION_ID"] {
            command.env_remove(name);
        }
        command.env("STATE_DIRECTORY", folder.path().join("state")).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(log);
        let running = Running::start(&mut command).context("start reachd")?;
        let daemon = Self { node: node.clone(), folder, _running: running };
        let begun = Instant::now();
        while daemon.get("/-/ready").is_err() {
            ensure!(begun.elapsed() < START_MAX, "reachd is not ready:\n{}", daemon.log());
            thread::sleep(LOOK);
        }
        Ok(daemon)
    }

    /// Waits until every target was well for a time, from every vantage; `false` when that never
    /// came to be.
    fn learns(&self, vantages: usize) -> Result<bool> {
        let begun = Instant::now();
        let mut well_since = None;
        while begun.elapsed() < LEARN_MAX {
            let look = self.look()?;
            well_since = if look.all_well && look.vantages >= vantages {
                Some(well_since.unwrap_or_else(Instant::now))
            } else {
                None
            };
            if well_since.is_some_and(|since: Instant| since.elapsed() >= LEARN) {
                return Ok(true);
            }
            thread::sleep(LOOK);
        }
        Ok(false)
    }

    fn look(&self) -> Result<Look> {
        let body = self.get("/api/v1/targets").with_context(|| self.log())?;
        let body: Value = serde_json::from_str(&body).context("read the targets")?;
        let targets = body["targets"].as_array().context("a list of targets")?;
        let of_name = |target: &&Value| target["name"] == NAME;
        let target = targets.iter().find(of_name).context("the target is not listed")?;
        let report = &target["report"];
        let looked = report["vantages"].as_array().into_iter().flatten();
        let looked = looked.filter(|vantage| !vantage["echo"].is_null());
        Ok(Look {
            class: target["class"].as_str().unwrap_or_default().to_owned(),
            said: if report.is_null() { None } else { Some(Said::read(report)?) },
            vantages: looked.count(),
            all_well: targets.iter().all(|target| target["class"] == "reachable"),
        })
    }

    fn get(&self, path: &str) -> Result<String> {
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, 9639));
        let mut stream = in_namespace(&self.node, || TcpStream::connect_timeout(&at, PATIENCE))?
            .context("connect to the daemon")?;
        stream.set_read_timeout(Some(PATIENCE)).context("set a timeout")?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: reachd\r\n\r\n").context("ask")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).context("read the answer")?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no head in the answer")?;
        let status = head.split(' ').nth(1).unwrap_or_default();
        ensure!(status == "200", "{path} answers {status}: {body}");
        Ok(body.to_owned())
    }

    fn log(&self) -> String {
        let text = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let skip = text.lines().count().saturating_sub(LOG_LINES);
        text.lines().skip(skip).collect::<Vec<_>>().join("\n")
    }
}

/// Counts what fired after the first `before` messages.
fn count_alerts(receiver: &Webhook, before: usize, seen: &mut Seen) -> Result<()> {
    let (mut pages, mut vantage_pages) = (0, 0);
    for body in receiver.bodies().into_iter().skip(before) {
        let body: Value = serde_json::from_str(&body).context("read a message")?;
        for alert in body["alerts"].as_array().into_iter().flatten() {
            let labels = &alert["labels"];
            if alert["status"] != "firing" {
                continue;
            }
            let label = |name: &str| labels[name].as_str().unwrap_or_default();
            let subject = format!("{}{}", label("target"), label("vantage"));
            if labels["vantage"].is_string() {
                vantage_pages += 1;
            } else {
                pages += 1;
            }
            *seen.alerts.entry(format!("{subject} {}", label("class"))).or_default() += 1;
        }
    }
    (seen.pages, seen.vantage_pages) = (Some(pages), Some(vantage_pages));
    Ok(())
}

/// How often the daemon is asked.
const LOOK: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_secs(10);
const START_MAX: Duration = Duration::from_secs(20);
/// How long all must be well before the fault: some sweeps and a full connection.
const LEARN: Duration = Duration::from_secs(12);
const LEARN_MAX: Duration = Duration::from_secs(75);
/// How long a class must stand to be read as the verdict.
const STANDS: Duration = Duration::from_secs(15);
/// How much longer than asked a daemon is watched that changes its mind.
const INDECISION: Duration = Duration::from_secs(45);
const HEAL_MAX: Duration = Duration::from_secs(60);
const LOG_LINES: usize = 40;
