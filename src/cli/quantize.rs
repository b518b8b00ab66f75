//! Arguments of `flowers quantize`.

use std::path::PathBuf;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

use super::data::MaxBad;
use super::paths;
use crate::graph::Method;
use crate::quantization::Observer;
use crate::values;

#[derive(Debug, Args)]
#[command(after_help = "\
Calibration photos are taken from the training part of the data set, a few of each class. --eval \
measures on the test part, as `flowers eval` does. --finetune trains on the training part, towards what \
the float model answers; labels are not needed.

Examples:
  flowers quantize run/model.safetensors --out int8.safetensors --calibration photos
  flowers quantize run/model.safetensors --out int8.safetensors --calibration photos --eval photos
  flowers quantize run/model.safetensors --out int8.safetensors --calibration photos --eval photos --finetune photos
  flowers quantize run/model.safetensors --out int8.safetensors --method dynamic

Exit code: 1 if the accuracy drops by more than --max-drop no matter which layers stay float; \
nothing is written then.")]
pub struct QuantizeArgs {
    /// Model file as written by `flowers train`, or the folder of a run
    #[arg(value_parser = paths::model())]
    pub model: PathBuf,
    /// int8 model file to write
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// How to quantize
    #[arg(long, value_enum, default_value_t = Method::Static)]
    pub method: Method,
    /// Data set folder or CSV file of labels to measure activation ranges on; required by static
    #[arg(long, value_name = "DATA")]
    pub calibration: Option<PathBuf>,
    /// Number of photos to calibrate with [default: 300]
    #[arg(long, value_name = "N", value_parser = values::whole::<u32>(1..=100_000), requires = "calibration")]
    pub samples: Option<u32>,
    /// How to choose the range of an activation from its values [default: mse]
    #[arg(long, value_enum, requires = "calibration")]
    pub observer: Option<Observer>,
    /// Data set folder or CSV file of labels to compare accuracy and speed of both models on
    #[arg(long, value_name = "DATA")]
    pub eval: Option<PathBuf>,
    /// Largest tolerated drop in accuracy; the most sensitive layers stay float to meet it
    #[arg(
        long,
        value_name = "FRACTION",
        default_value_t = 0.005,
        value_parser = values::fraction,
        requires = "eval"
    )]
    pub max_drop: f64,
    /// Data set folder or CSV file of labels to fine-tune on (quantization-aware training) where int8 loses
    /// more than --max-drop, before any layer stays float
    #[arg(long, value_name = "DATA", requires = "eval", requires = "calibration")]
    pub finetune: Option<PathBuf>,
    /// Passes over the training photos of --finetune [default: 3]
    #[arg(long, value_name = "N", value_parser = values::whole::<u32>(1..=1000), requires = "finetune")]
    pub epochs: Option<u32>,
    /// Peak learning rate of --finetune [default: 2e-5]
    #[arg(long, value_name = "RATE", value_parser = rate, requires = "finetune")]
    pub lr: Option<f64>,
    /// Replace the file if it exists
    #[arg(long)]
    pub force: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub bad: MaxBad,
    #[command(flatten)]
    pub compute: super::Compute,
}

fn rate(text: &str) -> Result<f64, String> {
    match values::number(text) {
        Ok(rate) if rate > 0.0 && rate.is_finite() => Ok(rate),
        _ => Err("expected a number above 0".into()),
    }
}

impl ValueEnum for Method {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Dynamic, Self::Static]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (name, help) = match self {
            Self::Dynamic => (
                "dynamic",
                "Quantizes the weights of linear layers; activations are quantized as the model runs",
            ),
            Self::Static => (
                "static",
                "Quantizes weights and activations of the whole network, with ranges measured on \
                 photos",
            ),
        };
        Some(PossibleValue::new(name).help(help))
    }
}
