//! Arguments of `flowers info`.

use clap::Args;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  flowers info
  flowers info resnet18
  flowers info run/model.safetensors --json")]
pub struct InfoArgs {
    /// Architecture or model file; without it, architectures and recipes are listed
    #[arg(value_name = "ARCH_OR_MODEL")]
    pub subject: Option<String>,
    /// Side of the pictures in pixels, for an architecture
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(32..=1024))]
    pub image_size: Option<u32>,
    /// Number of classes, for an architecture
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub classes: u32,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}
