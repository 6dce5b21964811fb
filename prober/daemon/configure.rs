//! `reachd config`: check, describe or begin a configuration file. Touches no network and no store.

use std::path::Path;

use anyhow::{Context, Result};
use reachd_exporters::http::Web;

use crate::cli::Config;
use crate::exit;

/// Does what the subcommand asks for.
pub fn run(command: &Config) -> Result<u8> {
    match command {
        Config::Check { file } => Ok(check(file)),
        Config::Schema => {
            let schema = serde_json::to_string_pretty(&reachd_config::schema());
            println!("{}", schema.context("write the schema")?);
            Ok(exit::OK)
        }
        Config::Init => {
            print!("{}", reachd_config::template());
            Ok(exit::OK)
        }
    }
}

fn check(file: &Path) -> u8 {
    let settings = match reachd_config::load(file) {
        Ok(settings) => settings,
        Err(report) => {
            let mistakes = report.errors.len();
            for problem in report.errors.iter().chain(&report.warnings) {
                eprintln!("{problem}");
            }
            let noun = if mistakes == 1 { "mistake" } else { "mistakes" };
            eprintln!("{}: {mistakes} {noun}; nothing was applied", file.display());
            return exit::USAGE;
        }
    };
    for warning in &settings.warnings {
        eprintln!("warning: {warning}");
    }
    for problem in settings.file_problems.iter().flat_map(|file| &file.problems) {
        eprintln!("warning: {problem}");
    }
    for later in &settings.later {
        eprintln!("note: {later}");
    }
    if let Some(path) = &settings.listen.web_config {
        if !path.exists() {
            let path = path.display();
            eprintln!("warning: [listen] web_config {path} is not there; create it first");
        } else if let Err(error) = Web::read(path) {
            eprintln!("{:#}", anyhow::Error::from(error));
            eprintln!("{}: 1 mistake; nothing was applied", file.display());
            return exit::USAGE;
        }
    }
    let cost = reachd_config::cost(&settings);
    println!(
        "{}: good. {} targets from {} vantages: {:.1} packets a second, about {} series",
        file.display(),
        cost.targets,
        cost.vantages,
        cost.packets_per_second,
        cost.series,
    );
    exit::OK
}
