//! Arguments of `flowers bench`.

use std::path::PathBuf;

use clap::Args;

use crate::engine::{Kernels, Precision};

#[derive(Debug, Args)]
#[command(after_help = "\
Times whole passes from 8-bit pixels to logits; decoding and resizing are not in them. The speed is \
the batch over the median pass. Resident memory is that of the process, which keeps what earlier \
precisions of the same run took: ask for one precision to learn what it needs.

Examples:
  flowers bench run/model.safetensors
  flowers bench run/model.safetensors --precision float32,bfloat16 --batch 1,32 --json
  flowers bench --arch resnet18 --threads 2")]
pub struct BenchArgs {
    /// Model file
    #[arg(required_unless_present = "arch", conflicts_with = "arch")]
    pub model: Option<PathBuf>,
    /// Architecture to time with random weights, without a model
    #[arg(long, value_name = "NAME")]
    pub arch: Option<String>,
    /// Number of classes, for an architecture
    #[arg(long, value_name = "N", default_value_t = 1000, conflicts_with = "model", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub classes: u32,
    /// Side of the pictures in pixels, for an architecture
    #[arg(long, value_name = "PIXELS", conflicts_with = "model", value_parser = clap::value_parser!(u32).range(32..=1024))]
    pub image_size: Option<u32>,
    /// Numbers to compute with, one kind or more
    #[arg(
        long,
        value_enum,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "auto"
    )]
    pub precision: Vec<Precision>,
    /// Operators to compute with
    #[arg(long, value_enum, default_value_t = Kernels::Auto)]
    pub kernels: Kernels,
    /// Pictures a pass, one or more numbers
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_values_t = [1, 8, 32], value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub batch: Vec<u32>,
    /// Time for each precision and batch
    #[arg(long, value_name = "S", default_value_t = 3.0, value_parser = seconds)]
    pub seconds: f64,
    /// Print one JSON list
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub compute: super::Compute,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 3600.0 => Ok(seconds),
        _ => Err("a number above 0, up to 3600, is wanted".into()),
    }
}
