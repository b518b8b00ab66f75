//! Arguments of `flowers predict`.

use std::path::PathBuf;

use clap::Args;

use crate::engine::Precision;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  flowers predict run/model.safetensors rose.jpg
  flowers predict run/model.safetensors holiday/ --json > labels.jsonl

Exit code: 3 when a file could not be read; the others are predicted all the same.")]
pub struct PredictArgs {
    /// Model file
    pub model: PathBuf,
    /// Pictures, or folders of pictures
    #[arg(required = true, value_name = "FILE_OR_DIR")]
    pub files: Vec<PathBuf>,
    /// Classes to name for each picture
    #[arg(long, value_name = "K", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub top_k: u32,
    /// Print one JSON object a line and file
    #[arg(long)]
    pub json: bool,
    /// Numbers to compute with
    #[arg(long, value_enum, default_value_t)]
    pub precision: Precision,
    #[command(flatten)]
    pub compute: super::Compute,
}
