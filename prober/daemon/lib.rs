//! The composition root: wires core, net, exporters and config into the `reachd` binary.
//!
//! Nothing here decides anything about the network; that is core's business.

// A reader may close the pipe early (`reachd status | head`), where the standard macros panic.
/// Prints a line.
macro_rules! println {
    ($($argument:tt)*) => {
        $crate::exit::print(format_args!("{}\n", format_args!($($argument)*)))
    };
}

/// The same without the end of the line.
macro_rules! print {
    ($($argument:tt)*) => { $crate::exit::print(format_args!($($argument)*)) };
}

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

use anyhow::Result;

use cli::{Cli, Command};

/// Does what the command line asks for; gives the exit code.
pub fn main(cli: Cli) -> Result<u8> {
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
