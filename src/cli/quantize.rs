//! Arguments of `flowers quantize`.

use std::path::PathBuf;

use clap::Args;

use super::data::MaxBad;
use crate::graph::Method;
use crate::quantization::Observer;

#[derive(Debug, Args)]
#[command(after_help = "\
Calibration photos are taken from the part that the model was trained on, a few of each class; \
--eval measures on the test part, as `flowers eval` does.

Examples:
  flowers quantize run/model.safetensors --out int8.safetensors --calibration photos
  flowers quantize run/model.safetensors --out int8.safetensors --calibration photos --eval photos
  flowers quantize run/model.safetensors --out int8.safetensors --method dynamic

Exit code: 1 when the accuracy drops by more than --max-drop whatever layers stay float; nothing \
is written then.")]
pub struct QuantizeArgs {
    /// Model file, as `flowers train` writes it
    pub model: PathBuf,
    /// The int8 model file to write
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// What becomes int8
    #[arg(long, value_enum, default_value_t = Method::Static)]
    pub method: Method,
    /// Data set folder to measure the ranges of activations on; for static
    #[arg(long, value_name = "DATA")]
    pub calibration: Option<PathBuf>,
    /// Photos to calibrate with [default: 300]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000), requires = "calibration")]
    pub samples: Option<u32>,
    /// How the range of an activation follows from its values [default: mse]
    #[arg(long, value_enum, requires = "calibration")]
    pub observer: Option<Observer>,
    /// Data set folder to compare the accuracy, size and speed of both models on
    #[arg(long, value_name = "DATA")]
    pub eval: Option<PathBuf>,
    /// Largest loss of accuracy; beyond it the most sensitive layers stay float
    #[arg(
        long,
        value_name = "SHARE",
        default_value_t = 0.005,
        value_parser = super::data::share,
        requires = "eval"
    )]
    pub max_drop: f64,
    /// Replace --out if it exists
    #[arg(long)]
    pub force: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub bad: MaxBad,
    #[command(flatten)]
    pub compute: super::Compute,
}
