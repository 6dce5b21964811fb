//! The corpus on the command line: judge it, look at one case, or see what a fit would change.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use reachd_sim::corpus::examine::{Examined, examine, examine_all};
use reachd_sim::corpus::incidents::happen_all;
use reachd_sim::corpus::scene::Air;
use reachd_sim::corpus::{Corpus, Split, calibrate, fit, report};
use reachd_sim::healthy::watch;

/// The generated corpus of failures with known truth.
#[derive(Debug, Parser)]
#[command(name = "reachd-sim")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Judges cases and says how well: F1, coverage, calibration, honesty, cost.
    Report {
        #[command(flatten)]
        which: Which,
        /// Folder for the text, the reliability plot and the list of sure mistakes.
        #[arg(long)]
        out: Option<PathBuf>,
        /// Cases that strike a watched target and are healed again: label changes, alerts.
        #[arg(long, default_value_t = 300)]
        incidents: u64,
        /// Healthy targets, and the days for which false alarms of theirs are counted.
        #[arg(long, default_value = "60x2", value_name = "TARGETSxDAYS", value_parser = healthy)]
        healthy: (u32, u32),
    },
    /// Compares the judge's table with the development split and proposes exponents; changes
    /// nothing.
    Calibrate {
        /// At most so many cases, evenly spread.
        #[arg(long)]
        cases: Option<u64>,
        /// Threads; all processors by default.
        #[arg(long)]
        threads: Option<usize>,
    },
    /// Shows one case in full.
    Case {
        /// Its number.
        index: u64,
    },
    /// Says how many cases there are of what.
    Count,
}

#[derive(Debug, Args)]
struct Which {
    /// Which part of the corpus.
    #[arg(long, default_value = "all")]
    split: SplitChoice,
    /// At most so many cases, evenly spread.
    #[arg(long)]
    cases: Option<u64>,
    /// Only this family.
    #[arg(long)]
    family: Option<String>,
    /// Threads; all processors by default.
    #[arg(long)]
    threads: Option<usize>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SplitChoice {
    Dev,
    Heldout,
    All,
}

fn healthy(text: &str) -> Result<(u32, u32), String> {
    let numbers = text.split_once('x');
    let read = numbers.and_then(|(count, days)| Some((count.parse().ok()?, days.parse().ok()?)));
    read.ok_or_else(|| format!("{text:?} is not targets and days, as 600x30"))
}

fn threads(wanted: Option<usize>) -> usize {
    let all = || std::thread::available_parallelism().map_or(1, usize::from);
    wanted.unwrap_or_else(all)
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), Box<dyn std::error::Error>> {
    let corpus = Corpus::load()?;
    match command {
        Command::Report { which, out, incidents, healthy: (targets, days) } => {
            let split = match which.split {
                SplitChoice::Dev => Some(Split::Dev),
                SplitChoice::Heldout => Some(Split::Heldout),
                SplitChoice::All => None,
            };
            let indices = match &which.family {
                Some(family) => corpus.sample_of(family, split, which.cases),
                None => corpus.sample(split, which.cases),
            };
            let examined = examine_all(&corpus, &indices, threads(which.threads));
            let mut report = report::write(&corpus, &examined);
            let struck = corpus.sample(split, Some(incidents * 3));
            let courses = happen_all(&corpus, &struck, threads(which.threads));
            report::incidents(&mut report.text, &corpus, &courses);
            report::false_alarms(&mut report.text, (targets, days), &watch(targets, days));
            print!("{}", report.text);
            if let Some(out) = out {
                save(&out, &report)?;
            }
        }
        Command::Calibrate { cases, threads: wanted } => {
            let indices = corpus.sample(Some(Split::Dev), cases);
            let examined = examine_all(&corpus, &indices, threads(wanted));
            print!("{}", calibrate::compare(&corpus, &examined));
            print!("{}", fit::propose(&corpus, &examined));
        }
        Command::Case { index } => {
            let case = corpus.case(index).ok_or_else(|| format!("there is no case {index}"))?;
            let outcome = examine(&case, &corpus.manifest, Air::Real);
            let ideal = examine(&case, &corpus.manifest, Air::Still);
            print!("{}", report::explain(&Examined { case, outcome, ideal }));
        }
        Command::Count => {
            for split in Split::ALL {
                println!("{:<8} {}", split.as_str(), corpus.indices(Some(split)).len());
            }
            println!("all      {}", corpus.len());
        }
    }
    Ok(())
}

fn save(out: &Path, report: &report::Report) -> std::io::Result<()> {
    std::fs::create_dir_all(out)?;
    std::fs::write(out.join("report.txt"), &report.text)?;
    std::fs::write(out.join("reliability.svg"), &report.reliability)?;
    std::fs::write(out.join("mistakes.tsv"), &report.mistakes)
}
