//! Arguments of `flowers export`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, RangedI64ValueParser};

use super::paths;
use crate::export::onnx::OPSETS;
use crate::export::{FORMATS, Input, Weights};

#[derive(Debug, Args)]
#[command(after_help = "\
The export is read back (TorchScript by libtorch's loader, all others by readers that follow the \
specification), and the results must match the model's own. Then the code that loads it is printed. An \
int8 model becomes ONNX with QuantizeLinear and DequantizeLinear nodes, which runtimes turn into integer \
kernels, and TensorFlow Lite that takes and gives bytes.

Formats for apps and TensorFlow take RGB images from 0 to 255 and output probabilities. What a folder \
holds besides an export is never replaced.

Examples:
  flowers export run/model.safetensors --format onnx --out model.onnx
  flowers export run/model.safetensors --format onnx --out model.onnx --input image --softmax
  flowers export run/model.safetensors --format tflite --out model.tflite
  flowers export run/model.safetensors --format coreml --weights float16 --out Flowers.mlpackage
  flowers export run/model.safetensors --format keras --trainable --out model.keras
  flowers export run/model.safetensors --format torchscript --out model.pt --calibration photos
  flowers export run/model.safetensors --format pth --out model.pth

Exit code: 1 if the results do not match; nothing is written then.")]
pub struct ExportArgs {
    /// Model file, or the folder of a run
    #[arg(value_parser = paths::model())]
    pub model: PathBuf,
    /// Format to write
    #[arg(long, value_name = "FORMAT", value_parser = formats())]
    pub format: String,
    /// File to write; a folder for saved-model, coreml, web and triton
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Replace the export if it exists
    #[arg(long)]
    pub force: bool,
    /// ONNX operator set version, 11 to 21 [default: 17]
    #[arg(long, value_name = "VERSION", value_parser = RangedI64ValueParser::<i64>::new().range(OPSETS))]
    pub opset: Option<i64>,
    /// Input of the network, for formats that have a choice [default: float for onnx and torchscript, image for the others]
    #[arg(long, value_enum)]
    pub input: Option<Input>,
    /// Output probabilities instead of logits, where that is not the default
    #[arg(long)]
    pub softmax: bool,
    /// Batch size: a number, or `dynamic` for any [default: dynamic]
    #[arg(long, value_name = "dynamic|N", value_parser = batch)]
    pub batch: Option<Batch>,
    /// Precision of the weights of a float model [default: float32]
    #[arg(long, value_enum)]
    pub weights: Option<Weights>,
    /// Keep batch normalisation and dropout as layers, to train on
    #[arg(long)]
    pub trainable: bool,
    /// Author that the file names
    #[arg(long, value_name = "TEXT")]
    pub author: Option<String>,
    /// Licence that the file names
    #[arg(long, value_name = "TEXT")]
    pub license: Option<String>,
    /// What the file says that the model does [default: classes and architecture]
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
    /// Version of the model that the file names
    #[arg(long, value_name = "TEXT")]
    pub model_version: Option<String>,
    /// Data set folder or CSV file of labels with photos to verify on [default: synthetic images]
    #[arg(long, value_name = "DATA", conflicts_with = "no_verify")]
    pub calibration: Option<PathBuf>,
    /// Do not read the file back
    #[arg(long)]
    pub no_verify: bool,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// The batch sizes that an exported network takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batch {
    Dynamic,
    Fixed(usize),
}

fn formats() -> PossibleValuesParser {
    let value =
        |format: &crate::export::Format| PossibleValue::new(format.name).help(format.summary);
    PossibleValuesParser::new(FORMATS.iter().map(value))
}

fn batch(text: &str) -> Result<Batch, String> {
    match text.parse() {
        _ if text == "dynamic" => Ok(Batch::Dynamic),
        Ok(pictures @ 1..=1024) => Ok(Batch::Fixed(pictures)),
        _ => Err("expected `dynamic` or a whole number from 1 to 1024".into()),
    }
}
