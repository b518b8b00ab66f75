//! Arguments of `flowers tune`.

use std::path::PathBuf;

use clap::Args;

use super::data::SourceArgs;
use crate::training::Settings;
use crate::values;

#[derive(Debug, Args)]
#[command(
    mut_arg("epochs", |arg| arg.help(
        "Passes over the training photos, per phase of the recipe, of a trial that is trained to the \
         end [default: 25 for classic, 10 for two-phase, 6 for fast, 30 for scratch]",
    )),
    mut_arg("time_budget", |arg| arg.help(
        "Time for the search, earlier sessions included, e.g. 10m or 2h: no trial is begun that would \
         take longer, and one that does stops after its epoch; the defaults are trained to the end in any \
         case, and the test of the best comes on top [default: none]",
    )),
    after_help = "\
The first trial has the defaults, with whatever options are given, and is trained to the end. The others \
have values drawn at random around them: of the learning rate, weight decay, label smoothing, dropout, \
augmentation, the first trained layer, and the image size. Options that are given, here or in --config, \
stay as they are. A trial trains for a few epochs; the best third of those that got that far go on for \
three times as long, and so on to the last epoch (ASHA, Li et al., 2020). Each is an ordinary run, \
planned for all its epochs and paused in between. The validation photos choose; the best trial alone is \
tested, once.

A --space file names the options to search instead, for each a list of values or a range:
  lr = { min = 1e-5, max = 1e-2, log = true }
  dropout = { min = 0, max = 0.5 }
  image-size = [160, 192, 224]
  optimizer = [\"adamw\", \"sgd\"]

The same command again continues where an interrupted one stopped, also with another --trials or \
--time-budget. OUT will hold best.toml (for `flowers train --config`), tune.html, tune.png, tune.csv, \
tune.json, split.json, search.json and the runs, trials/NNN, of which the best has a model and a report. \
Features of the recipe fast are kept in OUT for all trials, up to --cache-size, until the search is over.

Examples:
  flowers tune photos --out tuning --recipe fast --time-budget 10m
  flowers tune photos --out tuning --arch mobilenet_v2 --trials 50 --image-size 224
  flowers tune photos --out tuning --recipe fast --space space.toml
  flowers train photos --out run --config tuning/best.toml"
)]
pub struct TuneArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    /// Folder for the runs and the results: new, empty, or that of an interrupted search
    #[arg(long, value_name = "OUT")]
    pub out: PathBuf,
    /// TOML file with any of the options of training; the command line takes precedence
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// TOML file with the options to search, and their values [default: those around the defaults]
    #[arg(long, value_name = "FILE")]
    pub space: Option<PathBuf>,
    /// Split manifest to use, e.g. split.json of another run
    #[arg(long, value_name = "FILE")]
    pub split: Option<PathBuf>,
    /// Most trials, the defaults among them [default: 30, or as many as --time-budget allows]
    #[arg(long, value_name = "N", value_parser = values::whole::<u32>(1..=100_000))]
    pub trials: Option<u32>,
    /// One in so many trials is trained further, for so many times as long
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = values::whole::<u32>(2..=100))]
    pub reduction: u32,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub settings: Settings,
}
