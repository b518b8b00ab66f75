//! Starts `flowers`: parse, dispatch, exit code.

use std::process::ExitCode;

use clap::Parser;
use flowers::cli::Cli;
use flowers::commands::{self, output};
use flowers::error::exit_code;

fn main() -> ExitCode {
    match commands::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::note(format_args!("error: {error:#}"));
            exit_code(&error).into()
        }
    }
}
