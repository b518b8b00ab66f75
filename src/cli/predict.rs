//! Arguments of `flowers predict`.

use std::path::PathBuf;

use clap::Args;

use super::paths;
use crate::inference::Precision;
use crate::values;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  flowers predict run/model.safetensors rose.jpg
  flowers predict run/model.safetensors holiday/ --json > labels.jsonl
  flowers predict run/model.safetensors holiday/ --csv > labels.csv
  curl -s https://example.com/rose.jpg | flowers predict run/model.safetensors -

Exit code: 3 if a file can't be read; the others are still classified.")]
pub struct PredictArgs {
    /// Model file, or the folder of a run
    #[arg(value_parser = paths::model())]
    pub model: PathBuf,
    /// Pictures, or folders of pictures; - reads one picture from standard input
    #[arg(required = true, value_name = "FILE_OR_DIR")]
    pub files: Vec<PathBuf>,
    /// Number of classes to print for each picture
    #[arg(long, value_name = "K", default_value_t = 3, value_parser = values::whole::<u32>(1..=u32::MAX.into()))]
    pub top_k: u32,
    /// Print one JSON object per picture, each on its own line
    #[arg(long)]
    pub json: bool,
    /// Print a CSV table: the file, the most likely classes with their confidence, any error, any warnings
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// Precision to compute in
    #[arg(long, value_enum, default_value_t)]
    pub precision: Precision,
    #[command(flatten)]
    pub compute: super::Compute,
}
