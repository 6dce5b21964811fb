//! `reachd config`: check, describe or begin a configuration file. Touches no network and no store.

use std::path::Path;

use anyhow::{Context, Result};
use reachd_config::{Endpoint, Settings};
use reachd_exporters::http::Web;

use crate::cli::Config;
use crate::{exit, notify};

/// Does what the subcommand asks for.
pub fn run(command: &Config) -> Result<u8> {
    match command {
        Config::Check { file } => Ok(check(file)),
        Config::Schema => {
            let schema = serde_json::to_string_pretty(&reachd_config::schema());
            block!("{}\n", schema.context("write the schema")?);
            Ok(exit::OK)
        }
        Config::Init => {
            block!("{}", reachd_config::template());
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
                note!("{problem}");
            }
            let noun = if mistakes == 1 { "mistake" } else { "mistakes" };
            note!("{}: {mistakes} {noun}; nothing was applied", file.display());
            return exit::USAGE;
        }
    };
    for warning in &settings.warnings {
        note!("warning: {warning}");
    }
    for problem in settings.file_problems.iter().flat_map(|file| &file.problems) {
        note!("warning: {problem}");
    }
    for later in &settings.later {
        note!("note: {later}");
    }
    if !check_ways_out(&settings) {
        note!("{}: nothing was applied", file.display());
        return exit::USAGE;
    }
    if let Some(path) = &settings.listen.web_config {
        if !path.exists() {
            let path = path.display();
            note!("warning: [listen] web_config {path} is not there; create it first");
        } else if let Err(error) = Web::read(path) {
            note!("{:#}", anyhow::Error::from(error));
            note!("{}: 1 mistake; nothing was applied", file.display());
            return exit::USAGE;
        }
    }
    let cost = reachd_config::cost(&settings);
    line!(
        "{}: good. {} targets from {} vantages: {:.1} packets a second, about {} series",
        file.display(),
        cost.targets,
        cost.vantages,
        cost.packets_per_second,
        cost.series,
    );
    exit::OK
}

/// Whether everything may be told to whom it is to be told, as far as is known without doing it.
fn check_ways_out(settings: &Settings) -> bool {
    let mut good = true;
    for receiver in &settings.receivers {
        let (result, warning) = notify::check(receiver);
        if let Err(error) = result {
            note!("{error:#}");
            good = false;
        }
        if let Some(warning) = warning {
            note!("warning: receiver {}: {warning}", receiver.name);
        }
    }
    if let Some(Endpoint::Url(url)) = settings.heartbeat.as_ref().map(|beat| &beat.endpoint)
        && let Err(error) = notify::check_url("heartbeat", url.as_str())
    {
        note!("{error:#}");
        good = false;
    }
    good
}
