//! The command line: clap definitions only.

pub mod bench;
pub mod data;
pub mod eval;
pub mod export;
pub mod info;
pub mod predict;
pub mod quantize;
pub mod serve;
pub mod train;

use clap::{Args, Parser, Subcommand};

use crate::training::DeviceChoice;

/// Turns a folder of photos into a tested image classifier.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "\
Exit codes: 0 done; 1 a quality gate failed; 2 wrong usage; 3 bad data or model file; \
4 the environment (download, disk, memory); 130 stopped by Ctrl-C, and saved.

Start here:
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
    /// Measure a model on photos it has not learned from, and fail below a threshold
    Eval(eval::EvalArgs),
    /// Tell what is on pictures
    Predict(predict::PredictArgs),
    /// Make a small and fast int8 model of a float one
    Quantize(quantize::QuantizeArgs),
    /// Time a model or an architecture on this machine
    Bench(bench::BenchArgs),
    /// Write a model for another runtime, and verify that it gives the same answers
    Export(export::ExportArgs),
    /// Answer over HTTP, with a page to try it
    Serve(Box<serve::ServeArgs>),
    /// Check, split, or draw a data set
    #[command(subcommand)]
    Data(data::DataCommand),
    /// Describe a model file or an architecture
    Info(info::InfoArgs),
}

/// Where and with how many threads a network runs.
#[derive(Debug, Clone, Args)]
pub struct Compute {
    /// Where to compute
    #[arg(long, value_enum, default_value_t = DeviceChoice::Auto)]
    pub device: DeviceChoice,
    /// Threads that compute [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}
