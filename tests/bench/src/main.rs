//! Measures reachd's sweep against the kernel's own ceiling and against other probers.
//!
//! Nothing but namespaces of its own sees its traffic, and nothing of it stays. See the README
//! beside this crate for what the rows mean.

mod accuracy;
mod bench;
mod blackbox;
mod cpu;
mod daemon;
mod fping;
mod http;
mod measured;
mod null;
mod own;
mod packet;
mod part;
mod plan;
mod sandbox;
mod scrape;
mod sink;
mod smokeping;
mod stage;
mod stats;
mod surge;
mod sys;
mod table;
mod tally;
mod tokio_connect;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, Subcommand};

use bench::{Bench, Run};
use part::Part;
use plan::{GROUPS, Group};
use sandbox::Privilege;
use stage::Stage;
use table::{Report, Verdict};

/// Measures reachd's sweep against the kernel's own ceiling and against other probers.
#[derive(Debug, Clone, Parser)]
#[command(name = "reachd-bench")]
pub(crate) struct Options {
    /// How often each contender is run; below five nothing can be proven.
    #[arg(long, default_value_t = 5)]
    repetitions: usize,
    /// Seconds of one run.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Targets that are asked in turn, where a row does not say how many.
    #[arg(long, default_value_t = 10_000)]
    targets: u32,
    /// Only these groups, by name.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Name the groups and end.
    #[arg(long)]
    list: bool,
    /// Write one JSON document instead of a table.
    #[arg(long)]
    json: bool,
    /// One short run of everything, to see that all works; proves nothing.
    #[arg(long)]
    quick: bool,
    #[command(subcommand)]
    work: Option<Work>,
}

#[derive(Debug, Clone, Subcommand)]
enum Work {
    /// Runs one part in this process.
    #[command(hide = true)]
    Part {
        /// The part, as JSON.
        part: String,
    },
}

impl Options {
    /// Tells a person who waits what has just been measured.
    pub(crate) fn progress(&self, run: &Run) {
        let mark = if run.is_disturbed { ", disturbed" } else { "" };
        eprintln!(
            "{:<26} {:>9.0}/s  {:>7.2} us  {} lost, busy {:.2?}{mark}",
            run.contender,
            run.rate,
            run.measured.micros_per_probe(),
            run.measured.lost,
            run.busy
        );
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code.into(),
        Err(error) => {
            eprintln!("reachd-bench: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<u8> {
    let mut options = Options::parse();
    if let Some(Work::Part { part }) = &options.work {
        let part: Part = serde_json::from_str(part).context("read the part")?;
        return part.perform().map(|()| 0);
    }
    if options.list {
        for group in &GROUPS {
            println!("{:<16} {}", group.name, group.about);
        }
        return Ok(0);
    }
    if options.quick {
        (options.repetitions, options.seconds) = (1, 1.0);
    }
    let groups = chosen(&options)?;
    stage::check_tools()?;
    match sandbox::inside() {
        None => sandbox::rerun(),
        Some(privilege) => measure(options, &groups, privilege),
    }
}

fn chosen(options: &Options) -> Result<Vec<&'static Group>> {
    let within = 1..=stage::TARGETS_MAX;
    ensure!(
        within.contains(&options.targets),
        "--targets takes {} to {}",
        within.start(),
        within.end()
    );
    ensure!(options.repetitions > 0 && options.seconds > 0.0, "nothing to do");
    if let Some(name) = options.only.iter().find(|name| GROUPS.iter().all(|g| g.name != **name)) {
        bail!("no group is called {name:?}: see --list");
    }
    let is_chosen = |name: &str| options.only.is_empty() || options.only.iter().any(|o| o == name);
    Ok(GROUPS.iter().filter(|group| is_chosen(group.name)).collect())
}

/// Gives 1 if a promise is broken. What is missing or unproven breaks none, but shows.
fn measure(options: Options, groups: &[&Group], privilege: Privilege) -> Result<u8> {
    let stage = Stage::build(privilege).context("build the stage")?;
    let mut bench = Bench::new(options)?;
    let mut rows = Vec::new();
    for group in groups {
        rows.extend((group.run)(&mut bench));
    }
    let report = Report {
        options: &bench.options,
        privilege,
        notes: &stage.notes,
        rows: &rows,
        runs: &bench.runs,
    };
    let text = match bench.options.json {
        true => format!("{:#}\n", report.to_json()),
        false => report.to_text(),
    };
    std::io::stdout().write_all(text.as_bytes()).context("print the report")?;
    let is_broken = rows.iter().any(|row| row.verdict() == Verdict::Fail);
    Ok(u8::from(is_broken))
}
