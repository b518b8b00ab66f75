//! Starts `flowers`: parse, dispatch, exit code.

use std::process::ExitCode;

use flowers::cli::Cli;
use flowers::commands::{self, output};
use flowers::error::exit_code;

fn main() -> ExitCode {
    match commands::run(Cli::read()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::fail(&error);
            exit_code(&error).into()
        }
    }
}
