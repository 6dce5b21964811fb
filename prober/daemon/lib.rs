//! The composition root: wires core, net, exporters and config into the `reachd` binary.
//!
//! Nothing here decides anything about the network; that is core's business.

#[macro_use]
mod out;

pub mod check;
pub mod cli;
pub mod configure;
pub mod doctor;
pub mod evidence;
pub mod exit;
pub mod explain;
pub mod history;
pub mod incidents;
pub mod logging;
pub mod notify;
pub mod outbox;
mod receiver;
pub mod run;
pub mod screen;
pub mod silence;
pub mod status;

use anyhow::{Context, Result};

use cli::{Cli, Command};

/// Does what the command line asks for; gives the exit code.
pub fn main(cli: Cli) -> Result<u8> {
    let code = obey(cli)?;
    let written = out::finish().context("write the output");
    // Whatever was found, nobody could be told.
    Ok(written.map_or_else(
        |error| {
            report(&error);
            exit::OURSELVES
        },
        |()| code,
    ))
}

/// Tells a person on standard error why nothing came of it.
pub fn report(error: &anyhow::Error) {
    note!("reachd: {error:#}");
}

fn obey(cli: Cli) -> Result<u8> {
    match cli.command {
        Command::Run(arguments) => run::run(arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Evidence(arguments) => evidence::run(&arguments),
        Command::History(arguments) => history::run(&arguments),
        Command::Silence(command) => silence::run(&command),
        Command::Incidents(arguments) => incidents::run(&arguments),
        Command::Outbox(command) => outbox::run(&command),
        Command::Config(command) => configure::run(&command),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Notify(command) => notify::run(&command),
    }
}
