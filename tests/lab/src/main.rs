//! A demonstration: a network is built, broken in four ways and healed, and `reachd` says each
//! time what it sees. And the corpus of scenarios, each judged against what is true.

mod beside;
mod demo;
mod scenarios;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("reachd-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["demo"] => demo::run(None),
        ["demo", "--reachd", path] => demo::run(Some(PathBuf::from(path))),
        ["scenarios", ..] => scenarios::run(&words[1..]),
        ["scenario", mode, file, reachd] if reachd_lab::is_inside() => {
            scenarios::run_inside(mode, file, reachd, None)
        }
        ["scenario", mode, file, reachd, reports] if reachd_lab::is_inside() => {
            scenarios::run_inside(mode, file, reachd, Some(reports))
        }
        ["beside"] => beside::run(),
        ["doctor"] => {
            reachd_lab::check_machine()?;
            println!("This machine can run the lab.");
            Ok(ExitCode::SUCCESS)
        }
        ["-h" | "--help" | "help"] => {
            println!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        _ => bail!("{USAGE}"),
    }
}

const USAGE: &str = "\
usage: reachd-lab demo [--reachd PATH]   break a network in four ways and let reachd say why
       reachd-lab scenarios [--only ID,..] [--mode check|daemon] [--jobs N] [--json]
                            [--reachd PATH] [--reports FOLDER]
                                         judge reachd on the corpus of scenarios
       reachd-lab scenarios --from FILE  show what an earlier run with --json wrote
       reachd-lab beside                 say what reachd, nmap and blackbox_exporter see of RDP
       reachd-lab doctor                 say whether this machine can run the lab";
