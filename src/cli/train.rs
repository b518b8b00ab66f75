//! Arguments of `flowers train`.

use std::path::PathBuf;

use clap::Args;

use crate::training::Settings;

#[derive(Debug, Args)]
#[command(after_help = "\
The run folder gets model.safetensors (the best epoch), report.html, confusion_matrix.png, \
training_curves.png, metrics.json, history.csv, TensorBoard events, train.log, split.json, config.toml and last.ckpt.

Examples:
  flowers train photos --out run
  flowers train photos --out run --arch mobilenet_v2 --recipe two-phase
  flowers train photos --out again --config run/config.toml --seed 1
  flowers train --resume run")]
pub struct TrainArgs {
    /// Data set folder, a subfolder a class, or with train, val and test above the classes
    #[arg(required_unless_present = "resume")]
    pub data: Option<PathBuf>,
    /// Folder for the run; must be new or empty
    #[arg(long, value_name = "RUN", required_unless_present = "resume")]
    pub out: Option<PathBuf>,
    /// Continue an interrupted run exactly where it was saved, with its own configuration
    #[arg(long, value_name = "RUN", conflicts_with_all = ["out", "config", "split"])]
    pub resume: Option<PathBuf>,
    /// Options below from a TOML file; those on the command line win
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Split manifest to follow, e.g. split.json of another run
    #[arg(long, value_name = "FILE")]
    pub split: Option<PathBuf>,
    /// Print the result as one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub settings: Settings,
}
