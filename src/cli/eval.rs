//! Arguments of `flowers eval`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::data::{MaxBad, SourceArgs};
use super::paths;
use crate::data::Part;
use crate::inference::Precision;
use crate::values;

#[derive(Debug, Args)]
#[command(after_help = "\
A DATA/<class>/* folder is split again as it was for training, and the split is checked against \
the one recorded in the model, so that the model is never tested on photos it was trained on. Where \
photos were renamed, the split.json next to the model identifies them. For a folder that the \
model was not trained on, use --split all.

Examples:
  flowers eval run/model.safetensors photos
  flowers eval run/model.safetensors photos --min-accuracy 0.9 --junit eval.xml
  flowers eval run/model.safetensors photos --baseline run/metrics.json --max-regression 0.01
  flowers eval run/model.safetensors new-photos --split all --json

Exit code: 1 if a threshold is missed, after the full report.")]
pub struct EvalArgs {
    /// Model file, or the folder of a run
    #[arg(value_parser = paths::model())]
    pub model: PathBuf,
    #[command(flatten)]
    pub source: SourceArgs,
    /// Photos to measure on
    #[arg(long, value_enum, default_value_t = EvalPart::Test)]
    pub split: EvalPart,
    /// Split manifest to use, e.g. split.json of the run
    #[arg(long, value_name = "FILE")]
    pub split_manifest: Option<PathBuf>,
    /// Fail if the accuracy is lower, 0 to 1
    #[arg(long, value_name = "FRACTION", value_parser = values::number)]
    pub min_accuracy: Option<f64>,
    /// Fail if the macro F1 is lower, 0 to 1
    #[arg(long, value_name = "FRACTION", value_parser = values::number)]
    pub min_macro_f1: Option<f64>,
    /// metrics.json of an earlier evaluation to compare with
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Fail if accuracy or macro F1 drop by more than this below the baseline
    #[arg(
        long,
        value_name = "FRACTION",
        default_value_t = 0.01,
        value_parser = values::number,
        requires = "baseline"
    )]
    pub max_regression: f64,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Write the results for thresholds and classes as JUnit XML
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Write report.html, confusion_matrix.png and metrics.json to a new folder
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
    #[command(flatten)]
    pub bad: MaxBad,
    /// Precision to compute in [default: float32, or int8 for an int8 model]
    #[arg(long, value_enum)]
    pub precision: Option<Precision>,
    #[command(flatten)]
    pub compute: super::Compute,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EvalPart {
    Train,
    Val,
    Test,
    /// Every photo in the folder
    All,
}

impl EvalPart {
    /// The part of a split, or `None` for all photos.
    pub fn part(self) -> Option<Part> {
        match self {
            Self::Train => Some(Part::Train),
            Self::Val => Some(Part::Val),
            Self::Test => Some(Part::Test),
            Self::All => None,
        }
    }
}
