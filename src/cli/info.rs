//! Arguments of `flowers info`.

use clap::Args;

use crate::values;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  flowers info
  flowers info resnet18
  flowers info run/model.safetensors --json
  flowers info --backends")]
pub struct InfoArgs {
    /// Architecture, model file, or folder of a run; lists architectures and recipes if left out
    #[arg(value_name = "ARCH_OR_MODEL")]
    pub subject: Option<String>,
    /// Width and height of the images in pixels, for an architecture
    #[arg(long, value_name = "PIXELS", value_parser = values::whole::<u32>(32..=1024))]
    pub image_size: Option<u32>,
    /// Number of classes, for an architecture
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = values::whole::<u32>(1..=1_000_000))]
    pub classes: u32,
    /// List the inference backends, and whether (or why not) this machine can use each
    #[arg(long, conflicts_with_all = ["subject", "image_size"])]
    pub backends: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}
