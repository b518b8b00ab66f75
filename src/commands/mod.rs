//! One file a verb: arguments to validated configuration, call, print.

mod bench;
mod compare;
mod completions;
mod compute;
pub mod data;
mod dry_run;
mod eval;
mod evaluation;
mod export;
mod facts;
mod info;
mod man;
pub mod output;
mod photos;
mod predict;
pub mod progress;
mod prune;
mod quantize;
mod serve;
mod stop;
mod table;
mod train;
mod tune;
mod watch;

use rayon::ThreadPoolBuilder;

use crate::cli::{Cli, Command};
use crate::error::{Error, Result};

/// Runs a command with its results on standard output.
///
/// # Errors
/// [`Error::Environment`] when no threads can be started, and those of the command;
/// [`crate::error::exit_code`] turns them into an exit code.
pub fn run(cli: Cli) -> Result<()> {
    // Started unasked, threads that can't be had end the program.
    ThreadPoolBuilder::new()
        .build_global()
        .map_err(|cause| Error::Environment(format!("can't start threads: {cause}")))?;
    match cli.command {
        Command::Train(args) if args.dry_run => dry_run::run(&args),
        Command::Train(args) => train::run(*args),
        Command::Compare(args) => compare::run(&args),
        Command::Tune(args) => tune::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Predict(args) => predict::run(&args),
        Command::Prune(args) => prune::run(&args),
        Command::Quantize(args) => quantize::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Data(command) => data::run(&command),
        Command::Info(args) => info::run(&args),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    }
}
