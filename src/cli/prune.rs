//! Arguments of `flowers prune`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use super::data::SourceArgs;
use super::paths;
use crate::device::DeviceChoice;
use crate::pruning::Importance;
use crate::values;

#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("target").args(["speedup", "macs", "max_drop"]).multiple(true).required(true),
    after_help = "\
Whole channels are removed, those that matter least for the work they cause, together with all that is \
added to, multiplied with or computed from them one by one. This is done in several steps, and after \
each the smaller network is fine-tuned on the training photos of the model's own split, with the \
unpruned model as its teacher. The result is an ordinary model: every other command takes it.

OUT will hold model.safetensors, split.json, prune.json and step-1, step-2 .., the runs. The same \
command again continues where an interrupted one stopped.

With --max-drop, a step after which accuracy on the validation photos is lower by more than that is \
not kept, and none is made after it: the result is the smallest network that is still good enough.

Examples:
  flowers prune run/model.safetensors photos --out pruned --macs 0.5
  flowers prune run photos --out pruned --speedup 2 --max-drop 0.02
  flowers prune run photos --out pruned --max-drop 0.01
  flowers quantize pruned --out int8.safetensors --calibration photos

Exit code: 1 if no step keeps the accuracy within --max-drop; no model is written then."
)]
pub struct PruneArgs {
    /// Float model file as written by `flowers train`, or the folder of a run
    #[arg(value_parser = paths::model())]
    pub model: PathBuf,
    #[command(flatten)]
    pub source: SourceArgs,
    /// Folder for the result and the steps: new, empty, or that of an interrupted pruning
    #[arg(long, value_name = "OUT")]
    pub out: PathBuf,
    /// Part of the multiply-accumulate operations to keep, e.g. 0.5
    #[arg(long, value_name = "FRACTION", value_parser = part, conflicts_with = "speedup")]
    pub macs: Option<f64>,
    /// Make it this many times as fast on this machine, e.g. 2, measured in batches of 32
    #[arg(long, value_name = "TIMES", value_parser = faster)]
    pub speedup: Option<f64>,
    /// Largest tolerated drop in accuracy on the validation photos, e.g. 0.01
    #[arg(long, value_name = "FRACTION", value_parser = values::fraction)]
    pub max_drop: Option<f64>,
    /// Steps to prune in [default: as many as leave at least three quarters of the operations each]
    #[arg(long, value_name = "N", value_parser = values::whole::<u32>(1..=50))]
    pub steps: Option<u32>,
    /// How to tell how much a channel matters
    #[arg(long, value_enum, default_value_t = Importance::Taylor)]
    pub importance: Importance,
    /// Training photos to measure importance on
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = values::whole::<u32>(1..=100_000))]
    pub samples: u32,
    /// Keep a multiple of this many channels in each layer, which processors are faster with
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = values::whole::<u32>(1..=256))]
    pub round_to: u32,
    /// Split manifest that the model was trained with [default: split.json beside the model]
    #[arg(long, value_name = "FILE")]
    pub split: Option<PathBuf>,
    /// Passes over the training photos after each step [default: 5]
    #[arg(long, value_name = "N", value_parser = values::count)]
    pub epochs: Option<usize>,
    /// Peak learning rate of fine-tuning [default: 3e-4]
    #[arg(long, value_name = "RATE", value_parser = values::number)]
    pub lr: Option<f64>,
    /// Photos per training step [default: 32]
    #[arg(long, value_name = "N", value_parser = values::count)]
    pub batch_size: Option<usize>,
    /// Random seed [default: 0]
    #[arg(long, value_name = "N", value_parser = values::seed)]
    pub seed: Option<u64>,
    /// TOML file with any of the options of training; the options above take precedence
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Threads that decode photos [default: one per core]
    #[arg(long, value_name = "N", value_parser = values::count)]
    pub workers: Option<usize>,
    /// Threads to compute with [default: one per core]
    #[arg(long, value_name = "N", value_parser = values::count)]
    pub threads: Option<usize>,
    /// Device to compute on [default: auto]
    #[arg(long)]
    pub device: Option<DeviceChoice>,
    /// Seconds to time each model for, at each batch size; more is steadier on a busy machine
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = values::real(0.01..=3600.0))]
    pub seconds: f64,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

fn part(text: &str) -> Result<f64, String> {
    match values::number(text) {
        Ok(number) if number > 0.0 && number < 1.0 => Ok(number),
        _ => Err("expected a fraction above 0 and below 1, e.g. 0.5 for half".into()),
    }
}

fn faster(text: &str) -> Result<f64, String> {
    match values::number(text) {
        Ok(number) if number > 1.0 && number <= 100.0 => Ok(number),
        _ => Err("expected a number above 1, e.g. 2 for twice as fast".into()),
    }
}
