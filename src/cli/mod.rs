//! The command line: clap definitions only.

pub mod bench;
pub mod compare;
pub mod completions;
pub mod data;
pub mod eval;
pub mod export;
pub mod info;
pub mod man;
mod mistaken;
mod paths;
pub mod predict;
mod processes;
pub mod prune;
pub mod quantize;
pub mod serve;
pub mod train;
pub mod tune;

use clap::{Arg, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::device::DeviceChoice;
use crate::inference::Choice;
use crate::values;

/// Turn a folder of photos into a tested image classifier
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "\
Exit codes: 0 success; 1 a quality gate failed; 2 wrong usage; 3 bad data or model file; \
4 environment (download, disk, memory); 130 interrupted with Ctrl-C, progress saved.

To start:
  flowers data sample photos
  flowers train photos --out run
  flowers predict run/model.safetensors photos/rose
  flowers serve run/model.safetensors"
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Fine-tune a network on a folder of photos
    Train(Box<train::TrainArgs>),
    /// Train several networks on the same photos, measure them, and say which to take
    Compare(Box<compare::CompareArgs>),
    /// Search for better options of training, and write down the best
    Tune(Box<tune::TuneArgs>),
    /// Measure a model on held-out photos, and fail if it misses a threshold
    Eval(eval::EvalArgs),
    /// Classify pictures
    Predict(predict::PredictArgs),
    /// Remove the channels of a model that matter least, and fine-tune what is left
    Prune(Box<prune::PruneArgs>),
    /// Convert a float model to a smaller, faster int8 model
    Quantize(quantize::QuantizeArgs),
    /// Measure the speed of a model or an architecture on this machine
    Bench(bench::BenchArgs),
    /// Export a model to another format, and verify the result
    Export(export::ExportArgs),
    /// Serve a model over HTTP, with a web page to try it
    Serve(Box<serve::ServeArgs>),
    /// Check or split a data set, or generate a synthetic one
    #[command(subcommand)]
    Data(data::DataCommand),
    /// Describe a model file or an architecture
    Info(info::InfoArgs),
    /// Print a script that completes commands and options in a shell
    Completions(completions::CompletionsArgs),
    /// Write the manual pages
    Man(man::ManArgs),
}

/// Where a network runs, and on how many threads.
#[derive(Debug, Clone, Args)]
pub struct Compute {
    /// Device to compute on
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    pub device: DeviceChoice,
    /// Threads to compute with; they sleep sooner while other processes use the machine, unless
    /// OMP_WAIT_POLICY or GOMP_SPINCOUNT is set [default: one per core]
    #[arg(long, value_name = "N", value_parser = values::whole::<u16>(1..=1024))]
    pub threads: Option<u16>,
    /// Backend to compute with
    #[arg(long, value_enum, default_value_t = Choice::Auto)]
    pub backend: Choice,
}

impl Cli {
    /// Reads the arguments of this process; wrong ones end it with a message.
    pub fn read() -> Self {
        let matches = command().get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }
}

/// The command line with tips for options of other tools. Empty environment variables are unset
/// ones, as Compose files write them.
fn command() -> clap::Command {
    prepared(Cli::command())
}

fn prepared(command: clap::Command) -> clap::Command {
    let command = mistaken::with_tips(command).mut_args(lenient);
    command.mut_subcommands(prepared)
}

fn lenient(arg: Arg) -> Arg {
    let is_empty = |name| std::env::var_os(name).is_some_and(|value| value.is_empty());
    let arg = match arg.get_env().is_some_and(is_empty) {
        true => arg.env(None::<&str>),
        false => arg,
    };
    // So that `--lr -1` is a value out of range, not an unknown option.
    let takes_values = arg.get_long().is_some() && arg.get_action().takes_values();
    match takes_values {
        true => arg.allow_negative_numbers(true),
        false => arg,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }
}
