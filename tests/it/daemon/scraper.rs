//! A real Prometheus that scrapes the daemon.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reachd_lab::{Node, Running, in_namespace};
use serde_json::Value;
use tempfile::TempDir;

use super::harness::{Answer, LISTEN, until};

const ADDRESS: &str = "127.0.0.1:9090";
const START: Duration = Duration::from_secs(40);

const CONFIGURATION: &str = "\
global: { scrape_interval: 1s, scrape_timeout: 1s }
scrape_configs:
  - job_name: reachd
    static_configs: [{ targets: ['LISTEN'] }]
";

/// A Prometheus at work; killed when dropped.
pub(crate) struct Scraper {
    node: Node,
    _running: Running,
    _folder: TempDir,
}

impl Scraper {
    /// Starts it and waits for its first good scrape.
    pub(crate) fn start(node: &Node) -> Result<Self> {
        Self::start_with(node, "")
    }

    /// The same with more lines in its job.
    pub(crate) fn start_with(node: &Node, more: &str) -> Result<Self> {
        let folder = tempfile::tempdir().context("make a folder")?;
        let file = folder.path().join("prometheus.yml");
        let text = CONFIGURATION.replace("LISTEN", &LISTEN.to_string()) + more;
        std::fs::write(&file, text).context("write its configuration")?;
        let mut command = node.command("prometheus");
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        command.arg(format!("--web.listen-address={ADDRESS}")).env("GOMAXPROCS", "1");
        let log = File::create(folder.path().join("log")).context("make its log")?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let running = Running::start(&mut command).context("start prometheus")?;
        let scraper = Self { node: node.clone(), _running: running, _folder: folder };
        until("Prometheus scrapes", START, || {
            let up = scraper.query("up").unwrap_or_default();
            Ok(up.iter().any(|(_, value)| value == "1").then_some(()))
        })?;
        Ok(scraper)
    }

    /// Asks for the value now of every series that an expression of plain letters names.
    pub(crate) fn query(&self, expression: &str) -> Result<Vec<(Value, String)>> {
        let stream = in_namespace(&self.node, || TcpStream::connect(ADDRESS))?;
        let mut stream = stream.context("connect to Prometheus")?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).context("set a timeout")?;
        let path = format!("/api/v1/query?query={expression}");
        write!(stream, "GET {path} HTTP/1.0\r\nHost: prometheus\r\n\r\n").context("ask")?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).context("read its answer")?;
        let answer = Answer::read(&bytes)?;
        ensure!(answer.status == 200, "Prometheus answers {}: {}", answer.status, answer.text());
        let body: Value = serde_json::from_slice(&answer.body).context("read its answer")?;
        let rows = body["data"]["result"].as_array().context("no result")?;
        let row = |row: &Value| Some((row["metric"].clone(), row["value"][1].as_str()?.to_owned()));
        Ok(rows.iter().filter_map(row).collect())
    }

    /// The class each target is in, by Prometheus' last scrape.
    pub(crate) fn classes(&self) -> Result<Vec<(String, String)>> {
        let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
        let rows = self.query("reachd_target_class%3D%3D1")?;
        Ok(rows.iter().map(|(row, _)| (text(row, "target"), text(row, "class"))).collect())
    }
}
