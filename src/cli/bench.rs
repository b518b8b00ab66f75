//! Arguments of `flowers bench`.

use std::path::PathBuf;

use clap::Args;

use super::paths;
use crate::inference::{Kernels, Precision};
use crate::values;

#[derive(Debug, Args)]
#[command(after_help = "\
Times whole passes from 8-bit pixels to logits, without decoding and resizing. The speed is the \
batch size over the median time of a pass. Resident and peak memory are those of the whole process, \
including what earlier precisions in the same run allocated: give a single precision to measure it alone.

Examples:
  flowers bench run/model.safetensors
  flowers bench run/model.safetensors --precision float32,bfloat16 --batch 1,32 --json
  flowers bench --arch resnet18 --threads 2")]
pub struct BenchArgs {
    /// Model file, or the folder of a run
    #[arg(required_unless_present = "arch", conflicts_with = "arch", value_parser = paths::model())]
    pub model: Option<PathBuf>,
    /// Architecture to time with random weights, instead of a model
    #[arg(long, value_name = "NAME")]
    pub arch: Option<String>,
    /// Number of classes, with --arch
    #[arg(long, value_name = "N", default_value_t = 1000, conflicts_with = "model", value_parser = values::whole::<u32>(1..=1_000_000))]
    pub classes: u32,
    /// Width and height of the images in pixels, with --arch
    #[arg(long, value_name = "PIXELS", conflicts_with = "model", value_parser = values::whole::<u32>(32..=1024))]
    pub image_size: Option<u32>,
    /// Precisions to compute in
    #[arg(
        long,
        value_enum,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "auto"
    )]
    pub precision: Vec<Precision>,
    /// Kernels to compute with
    #[arg(long, value_enum, default_value_t = Kernels::Auto)]
    pub kernels: Kernels,
    /// Batch sizes
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_values_t = [1, 8, 32], value_parser = values::whole::<u32>(1..=1024))]
    pub batch: Vec<u32>,
    /// Seconds to measure for, per precision and batch size
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0, value_parser = seconds)]
    pub seconds: f64,
    /// Print the measurements as a JSON list
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub compute: super::Compute,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 3600.0 => Ok(seconds),
        _ => Err("expected a number above 0, at most 3600".into()),
    }
}
