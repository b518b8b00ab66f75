//! Arguments of `flowers compare`.

use std::path::PathBuf;

use clap::Args;

use super::data::SourceArgs;
use crate::training::Settings;
use crate::values;

#[derive(Debug, Args)]
#[command(
    mut_arg("arch", |arg| arg.value_name("LIST").required(true).help(
        "Networks to compare, two or more, with commas; `flowers info` lists them",
    )),
    mut_arg("weights", |arg| arg.help(
        "Initial weights: imagenet, none (random initialisation), or auto (imagenet if available, \
         else none, with a warning) [default: imagenet]",
    )),
    mut_arg("time_budget", |arg| arg.help(
        "Time for training all networks together, e.g. 5m or 2h, of which each gets an equal share; \
         what is measured afterwards takes longer [default: none]",
    )),
    after_help = "\
Each network is trained in turn on the same photos, with the same options and seed, in a run folder \
of its own, OUT/NAME, as `flowers train` writes it. The same command again continues where an \
interrupted one stopped: finished runs are kept, and with more names in --arch only those are \
trained. Then all of them are measured: accuracy on the test photos in float32, in bfloat16 if this \
processor has it, and in int8 (quantized as by `flowers quantize`, without looking at the test \
photos); the median time for one picture and pictures per second in batches of 32, the models taking \
turns; and the peak memory of a process that only predicts. Accuracies are compared photo by \
photo with the best one's: where the interval holds 0, the difference may be chance.

OUT will hold compare.html, compare.png, compare.json, compare.csv, split.json and the runs; each run \
also int8.safetensors.

Examples:
  flowers compare photos --out comparison --arch resnet18,mobilenet_v2,efficientnet_lite0 --recipe fast
  flowers compare photos --out comparison --arch resnet18,resnet50 --time-budget 30m
  flowers compare photos --out comparison --arch mobilenet_v2,efficientnet_lite0 --recipe fast --max-latency 5 \
--max-size 10"
)]
pub struct CompareArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    /// Folder for the runs and the results: new, empty, or that of an interrupted comparison
    #[arg(long, value_name = "OUT")]
    pub out: PathBuf,
    /// TOML file with any of the options of training; the command line takes precedence
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Split manifest to use, e.g. split.json of another run
    #[arg(long, value_name = "FILE")]
    pub split: Option<PathBuf>,
    /// Recommend the most accurate model that takes no longer for one picture
    #[arg(long, value_name = "MS", value_parser = positive)]
    pub max_latency: Option<f64>,
    /// Recommend the most accurate model whose file is no larger, in millions of bytes
    #[arg(long, value_name = "MB", value_parser = positive)]
    pub max_size: Option<f64>,
    /// Seconds to time each model for, at each batch size; more is steadier on a busy machine
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = values::real(0.01..=3600.0))]
    pub seconds: f64,
    /// Photos to calibrate int8 models with
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = values::whole::<u32>(1..=100_000))]
    pub samples: u32,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub settings: Settings,
}

fn positive(text: &str) -> Result<f64, String> {
    match values::number(text) {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err("expected a number above 0".into()),
    }
}
