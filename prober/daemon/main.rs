//! The binary: arguments in, exit code out.

use std::process::ExitCode;

use clap::Parser;
use reachd::cli::Cli;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to stdout with 0; everything else is usage.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { reachd::exit::USAGE } else { 0 });
        }
    };
    match reachd::main(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            reachd::report(&error);
            ExitCode::from(reachd::exit::USAGE)
        }
    }
}
