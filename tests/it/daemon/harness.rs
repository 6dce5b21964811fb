//! A daemon under test: started in a node, asked over its own HTTP interface.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use reachd_lab::{Node, Running, in_namespace, wait_until, wait_until_every};
use serde_json::Value;
use tempfile::TempDir;

use super::page::Page;

/// The program under test.
pub(crate) const REACHD: &str = env!("CARGO_BIN_EXE_reachd");
/// Where it serves HTTP, in its own node.
pub(crate) const LISTEN: SocketAddr = SocketAddr::new(LOCALHOST, 9639);
/// Opening a plan's sockets and rings takes a moment; on a busy machine a long one.
pub(crate) const START: Duration = Duration::from_secs(20);
/// Whatever is no matter of probing intervals.
pub(crate) const SOON: Duration = Duration::from_secs(10);

const LOCALHOST: std::net::IpAddr = std::net::IpAddr::V4(Ipv4Addr::LOCALHOST);
/// How often conditions are looked at; a look is a request.
const LOOK: Duration = Duration::from_millis(50);
/// How much of a failed daemon's log is shown.
const LOG_LINES: usize = 120;

/// A folder with a configuration, a store and a log, and how to start a daemon on them.
pub(crate) struct Ground {
    folder: TempDir,
    node: Node,
    prefix: Vec<String>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Ground {
    /// A daemon of this node, with this configuration.
    pub(crate) fn new(node: &Node, configuration: &str) -> Result<Self> {
        let folder = tempfile::tempdir().context("make a folder")?;
        let file = folder.path().join("reachd.toml").display().to_string();
        let arguments = vec!["--config".to_owned(), file];
        let (prefix, environment) = (Vec::new(), Vec::new());
        let ground = Self { folder, node: node.clone(), prefix, arguments, environment };
        ground.write("reachd.toml", configuration)?;
        Ok(ground)
    }

    /// A daemon without a configuration file, with these arguments instead.
    pub(crate) fn bare(node: &Node, arguments: &[&str]) -> Result<Self> {
        let mut ground = Self::new(node, "")?;
        ground.arguments = arguments.iter().map(|word| (*word).to_owned()).collect();
        Ok(ground)
    }

    /// Runs the program below another, such as `setpriv`.
    pub(crate) fn below(mut self, words: &[&str]) -> Self {
        self.prefix = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Sets a variable of the program's environment.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Writes a file beside the configuration, at once: nobody sees half of it.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<()> {
        let fresh = self.path(&format!("{name}.new"));
        fs::write(&fresh, text).with_context(|| format!("write {name}"))?;
        fs::rename(&fresh, self.path(name)).with_context(|| format!("rename {name}"))
    }

    /// The path of a file beside the configuration.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The command that runs the daemon.
    pub(crate) fn command(&self) -> Command {
        let mut words = self.prefix.clone();
        words.push(REACHD.to_owned());
        let mut command = self.node.command(&words[0]);
        command.args(&words[1..]).arg("run").args(&self.arguments);
        let unset = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "JOURNAL_STREAM", "INVOCATION_ID"];
        for name in unset {
            command.env_remove(name);
        }
        command.env("STATE_DIRECTORY", self.path("state")).env_remove("RUST_LOG");
        command.envs(self.environment.iter().cloned()).stdin(Stdio::null());
        command
    }

    /// Starts it, and waits until it is ready.
    pub(crate) fn start(self) -> Result<Daemon> {
        let daemon = self.launch()?;
        daemon.wait_ready()?;
        Ok(daemon)
    }

    /// Starts it.
    pub(crate) fn launch(self) -> Result<Daemon> {
        let log = self.path("log");
        let file = File::options().append(true).create(true).open(&log).context("make a log")?;
        let mut command = self.command();
        command.stdout(Stdio::null()).stderr(file);
        let running = Running::start(&mut command).context("start reachd")?;
        Ok(Daemon { running, ground: Some(self), begun: Instant::now() })
    }
}

/// A daemon at work; killed, and its log shown, when this is dropped.
pub(crate) struct Daemon {
    running: Running,
    ground: Option<Ground>,
    /// When it was started.
    pub(crate) begun: Instant,
}

impl Daemon {
    /// Its folder.
    pub(crate) fn ground(&self) -> Result<&Ground> {
        self.ground.as_ref().context("the daemon was taken down")
    }

    /// Waits until `/-/ready` says so.
    pub(crate) fn wait_ready(&self) -> Result<()> {
        self.until("ready", START, || {
            Ok(self.get("/-/ready").is_ok_and(|answer| answer.status == 200).then_some(()))
        })
    }

    /// Asks for a path.
    pub(crate) fn get(&self, path: &str) -> Result<Answer> {
        self.request("GET", path, &[])
    }

    /// Asks with a method and more header lines.
    pub(crate) fn request(&self, method: &str, path: &str, headers: &[&str]) -> Result<Answer> {
        let mut stream = self.connect()?;
        let mut head = format!("{method} {path} HTTP/1.0\r\nHost: reachd\r\nContent-Length: 0\r\n");
        headers.iter().for_each(|line| head += &format!("{line}\r\n"));
        stream.write_all(format!("{head}\r\n").as_bytes()).context("send a request")?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).with_context(|| format!("read the answer to {path}"))?;
        Answer::read(&bytes).with_context(|| format!("answer to {path}"))
    }

    /// A bare connection to its HTTP interface.
    pub(crate) fn connect(&self) -> Result<TcpStream> {
        let node = &self.ground()?.node;
        let stream = in_namespace(node, || TcpStream::connect_timeout(&LISTEN, SOON))?;
        let stream = stream.context("connect to the daemon")?;
        stream.set_read_timeout(Some(Duration::from_secs(30))).context("set a timeout")?;
        Ok(stream)
    }

    /// The metrics page.
    pub(crate) fn metrics(&self) -> Result<Page> {
        let answer = self.get("/metrics")?;
        ensure!(answer.status == 200, "/metrics answers {}: {}", answer.status, answer.text());
        Page::parse(&answer.text())
    }

    /// A JSON document.
    pub(crate) fn json(&self, path: &str) -> Result<Value> {
        let answer = self.get(path)?;
        ensure!(answer.status == 200, "{path} answers {}: {}", answer.status, answer.text());
        serde_json::from_slice(&answer.body).with_context(|| format!("read {path}"))
    }

    /// Its process.
    pub(crate) fn id(&mut self) -> u32 {
        self.running.child().id()
    }

    /// Sends a signal, by name.
    pub(crate) fn signal(&mut self, name: &str) -> Result<()> {
        let id = self.id().to_string();
        let status = Command::new("sh").args(["-c", "kill -\"$0\" \"$1\"", name, &id]).status();
        ensure!(status.context("start sh")?.success(), "signal {name} to {id}");
        Ok(())
    }

    /// Waits for its end and says how long that took.
    pub(crate) fn wait_exit(&mut self, within: Duration) -> Result<(ExitStatus, Duration)> {
        let begun = Instant::now();
        let mut status = None;
        wait_until(within, || {
            status = self.running.child().try_wait().ok().flatten();
            status.is_some()
        })
        .context("the daemon did not end")?;
        Ok((status.context("its status")?, begun.elapsed()))
    }

    /// How it ended, if it did.
    pub(crate) fn exit(&mut self) -> Result<Option<ExitStatus>> {
        self.running.child().try_wait().context("look for its end")
    }

    /// Gives the folder of one that ended by itself.
    pub(crate) fn abandon(mut self) -> Result<Ground> {
        self.ground.take().context("the daemon was taken down")
    }

    /// Ends it without a word, as a power cut would, and gives its folder back.
    pub(crate) fn kill(mut self) -> Result<Ground> {
        self.signal("KILL")?;
        self.wait_exit(SOON)?;
        self.ground.take().context("the daemon was taken down")
    }

    /// Asks it to end, which it must do well, and gives its folder back.
    pub(crate) fn stop(mut self) -> Result<Ground> {
        self.signal("TERM")?;
        let (status, took) = self.wait_exit(SOON)?;
        ensure!(status.success(), "it ended with {status} after {took:?}");
        self.ground.take().context("the daemon was taken down")
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        let path = self.ground.as_ref().map(|ground| ground.path("log"));
        path.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default()
    }

    /// Waits until `look` finds something; an error of it ends the wait.
    pub(crate) fn until<T>(
        &self,
        what: &str,
        within: Duration,
        look: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        until(what, within, look)
    }

    /// Waits until the metrics page satisfies a condition.
    pub(crate) fn until_page(
        &self,
        what: &str,
        within: Duration,
        mut holds: impl FnMut(&Page) -> bool,
    ) -> Result<Page> {
        let mut last = None;
        let found = until(what, within, || {
            let page = self.metrics()?;
            let found = holds(&page);
            last = Some(page.clone());
            Ok(found.then_some(page))
        });
        found.with_context(|| {
            let mut shown = String::new();
            for line in last.iter().flat_map(Page::story) {
                let _ = writeln!(shown, "  {line}");
            }
            format!("{what}; the page said last:\n{shown}")
        })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // The sandbox shows this only when the test fails.
        let log = self.log();
        let skip = log.lines().count().saturating_sub(LOG_LINES);
        if !log.is_empty() {
            println!("--- log of reachd, from line {skip}:");
        }
        log.lines().skip(skip).for_each(|line| println!("{line}"));
    }
}

/// Waits until `look` finds something; an error of it ends the wait.
pub(crate) fn until<T>(
    what: &str,
    within: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let mut outcome = Ok(None);
    let waited = wait_until_every(LOOK, within, || {
        outcome = look();
        !matches!(outcome, Ok(None))
    });
    match outcome {
        Ok(Some(found)) => Ok(found),
        Ok(None) => bail!("{what}: {}", waited.err().map_or_else(String::new, |e| e.to_string())),
        Err(error) => Err(error.context(what.to_owned())),
    }
}

/// An answer over HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let end =
            end.with_context(|| format!("no head in {:?}", String::from_utf8_lossy(bytes)))?;
        let head = String::from_utf8_lossy(&bytes[..end]);
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        Ok(Self { status: status.context("no status")?, body: bytes[end + 4..].to_vec() })
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Runs a program to its end, with something on its standard input.
pub(crate) fn pipe(program: &str, arguments: &[&str], input: &[u8]) -> Result<(bool, String)> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {program}"))?;
    let mut stdin = child.stdin.take().context("its standard input")?;
    let feed = {
        let input = input.to_vec();
        thread::spawn(move || stdin.write_all(&input))
    };
    let output = child.wait_with_output().with_context(|| format!("run {program}"))?;
    // A program that needs no more closes the pipe early.
    drop(feed.join());
    let told = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&told).into_owned()))
}

/// A page of metrics must satisfy Prometheus' own checker, without a word.
pub(crate) fn lint(page: &str) -> Result<()> {
    let (clean, told) = pipe("promtool", &["check", "metrics"], page.as_bytes())?;
    ensure!(clean && told.trim().is_empty(), "promtool check metrics says:\n{told}");
    Ok(())
}

/// Reads a file of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Adds a line to the file that `REACHD_DAEMON_TABLE` names, for reports of what was measured.
pub(crate) fn record(line: &str) {
    println!("{line}");
    let Some(path) = std::env::var_os("REACHD_DAEMON_TABLE") else { return };
    if let Ok(mut file) = File::options().append(true).create(true).open(path) {
        // Only a report; the test does not depend on it.
        let _ = writeln!(file, "{line}");
    }
}
