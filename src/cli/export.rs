//! Arguments of `flowers export`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, RangedI64ValueParser};

use crate::export::onnx::OPSETS;
use crate::export::{FORMATS, Input};

#[derive(Debug, Args)]
#[command(after_help = "\
The written file is read back by another implementation (tract for ONNX, libtorch's loader for \
TorchScript), which has to give the model's own answers. An int8 model becomes ONNX with \
QuantizeLinear and DequantizeLinear, which runtimes turn into integer kernels.

Examples:
  flowers export run/model.safetensors --format onnx --out model.onnx
  flowers export run/model.safetensors --format onnx --out model.onnx --input image --softmax
  flowers export run/model.safetensors --format torchscript --out model.pt --calibration photos
  flowers export run/model.safetensors --format pth --out model.pth

Exit code: 1 when the file does not give the model's answers; it is deleted then.")]
pub struct ExportArgs {
    /// Model file
    pub model: PathBuf,
    /// Format to write
    #[arg(long, value_name = "FORMAT", value_parser = formats())]
    pub format: String,
    /// File to write
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Replace a file that is there
    #[arg(long)]
    pub force: bool,
    /// Version of the ONNX operators, 11 to 21 [default: 17]
    #[arg(long, value_name = "VERSION", value_parser = RangedI64ValueParser::<i64>::new().range(OPSETS))]
    pub opset: Option<i64>,
    /// What the network takes [default: float]
    #[arg(long, value_enum)]
    pub input: Option<Input>,
    /// Answer with probabilities instead of logits
    #[arg(long)]
    pub softmax: bool,
    /// Pictures that run at once: `dynamic` for any number, or the one number [default: dynamic]
    #[arg(long, value_name = "dynamic|N", value_parser = batch)]
    pub batch: Option<Batch>,
    /// Photos to verify on, a data set folder [default: drawn pictures]
    #[arg(long, value_name = "DATA", conflicts_with = "no_verify")]
    pub calibration: Option<PathBuf>,
    /// Don't read the file back
    #[arg(long)]
    pub no_verify: bool,
    /// Print one JSON object
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
        _ => Err("`dynamic` or a number from 1 to 1024 is wanted".into()),
    }
}
