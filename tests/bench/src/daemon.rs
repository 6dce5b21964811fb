//! The whole daemon: the real binary with a plan of many targets, one vantage, an echo every 10 s.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::cpu::Process;
use crate::http::Client;
use crate::part::Part;
use crate::stage::{PROBER_CPU, Side, Stage};

/// What the daemon was found to take.
#[derive(Debug, Clone)]
pub(crate) struct Whole {
    /// Seconds from its start until it said that it is ready.
    pub(crate) ready: f64,
    /// Milliseconds of each page.
    pub(crate) scrapes: Vec<f64>,
    /// Bytes of a page.
    pub(crate) bytes: usize,
    /// Seconds that a reload took which exchanges ten targets.
    pub(crate) reload: f64,
    /// Resident bytes.
    pub(crate) rss: u64,
    /// Share of a core that it used between the pages.
    pub(crate) share: f64,
    /// Probes whose fate was known at the last page, and those of them that were lost.
    pub(crate) sent: u64,
    pub(crate) lost: u64,
}

/// One request, timed where it is made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Until the daemon says that it is ready.
    Ready,
    /// A page of metrics.
    Page,
    /// That the plan be read again.
    Reload,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Answer {
    seconds: f64,
    bytes: usize,
    targets: usize,
    sent: u64,
    lost: u64,
}

/// Starts the daemon over so many targets, looks at it, exchanges ten of them, and ends it.
pub(crate) fn run(targets: u32) -> Result<Whole> {
    let program = program()?;
    let folder = Path::new(FOLDER);
    fs::create_dir_all(folder.join("store")).context("make a folder for the plan")?;
    let all = usize::try_from(targets)?;
    write_plan(folder, 0..targets)?;
    let begun = Instant::now();
    let daemon = Daemon::start(&program, folder)?;
    ask(&Ask::Ready)?;
    let ready = begun.elapsed().as_secs_f64();
    thread::sleep(WARM_UP);

    let (before, watched) = (daemon.usage()?, Instant::now());
    thread::sleep(WATCH);
    let (after, elapsed) = (daemon.usage()?, watched.elapsed().as_secs_f64());
    let used = after.user + after.system - before.user - before.system;
    let pages: Vec<Answer> = (0..PAGES).map(|_| ask(&Ask::Page)).collect::<Result<_>>()?;
    let last = pages.last().context("no page was read")?;
    ensure!(last.targets == all, "the page names {} targets of {all}", last.targets);

    write_plan(folder, EXCHANGED..targets + EXCHANGED)?;
    let reload = ask(&Ask::Reload)?.seconds;
    let exchanged = ask(&Ask::Page)?;
    ensure!(exchanged.targets == all, "after the reload {} targets of {all}", exchanged.targets);
    ensure!(exchanged.sent > last.sent / 2, "the reload forgot what was counted");
    Ok(Whole {
        ready,
        scrapes: pages.iter().map(|page| page.seconds * 1e3).collect(),
        bytes: last.bytes,
        reload,
        rss: daemon.usage()?.rss,
        share: used / elapsed,
        sent: last.sent,
        lost: last.lost,
    })
}

/// The release build beside this program.
fn program() -> Result<PathBuf> {
    let path = env::current_exe().context("find the own executable")?.with_file_name("reachd");
    ensure!(path.exists(), "there is no {}: cargo build --release", path.display());
    Ok(path)
}

fn write_plan(folder: &Path, targets: std::ops::Range<u32>) -> Result<()> {
    let hosts: Vec<String> = targets.map(|index| Stage::target(index).to_string()).collect();
    let groups = serde_json::json!([{ "targets": hosts, "labels": {} }]);
    fs::write(folder.join("targets.json"), groups.to_string()).context("write the targets")?;
    fs::write(folder.join("reachd.toml"), PLAN).context("write the plan")
}

fn ask(ask: &Ask) -> Result<Answer> {
    Part::Ask(ask.clone()).run()
}

/// Asks the daemon; the caller is in its namespace.
pub(crate) fn answer(ask: &Ask) -> Result<Answer> {
    let server = LISTEN.parse()?;
    let begun = Instant::now();
    let page = match ask {
        Ask::Ready => loop {
            match Client::connect(server).and_then(|mut client| client.get("/-/ready")) {
                Ok(page) => break page,
                Err(error) if begun.elapsed() > PATIENCE => return Err(error),
                Err(_) => thread::sleep(Duration::from_millis(5)),
            }
        },
        Ask::Page => Client::connect(server)?.get("/metrics")?,
        Ask::Reload => Client::connect(server)?.post("/-/reload")?,
    };
    let seconds = begun.elapsed().as_secs_f64();
    let lines = |family: &'static str| page.lines().filter(move |line| line.starts_with(family));
    let sum = |family| {
        lines(family).filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    };
    Ok(Answer {
        seconds,
        bytes: page.len(),
        targets: lines("reachd_target_info{").count(),
        sent: sum("reachd_probe_packets_sent_total{"),
        lost: sum("reachd_probe_packets_lost_total{"),
    })
}

/// The daemon at work; killed when dropped.
struct Daemon {
    child: Child,
}

impl Daemon {
    fn start(program: &Path, folder: &Path) -> Result<Self> {
        let program = program.to_str().context("the path of reachd is no text")?;
        let plan = folder.join("reachd.toml");
        let child = Stage::command(Side::Prober, PROBER_CPU, program)
            .args(["run", "--config"])
            .arg(plan)
            .env("RUST_LOG", "error")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start reachd")?;
        Ok(Self { child })
    }

    fn usage(&self) -> Result<Process> {
        Process::of(self.child.id())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail only for a process that is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(FOLDER);
    }
}

const FOLDER: &str = "/run/reachd-bench-daemon";
const LISTEN: &str = "127.0.0.1:9639";
const PATIENCE: Duration = Duration::from_secs(60);
/// All were asked once, and what begins has begun.
const WARM_UP: Duration = Duration::from_secs(12);
const WATCH: Duration = Duration::from_secs(10);
const PAGES: usize = 5;
/// Targets that a reload removes, and as many that it adds.
const EXCHANGED: u32 = 10;
const PLAN: &str = "\
target_files = [\"targets.json\"]
[store]
path = \"/run/reachd-bench-daemon/store\"
[budget]
packets_per_second = 200000
per_prefix = 20000
per_destination = 1000
[defaults]
service = \"ping\"
siblings = \"off\"
";
