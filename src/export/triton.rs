//! NVIDIA Triton Inference Server: the ONNX network in a model repository's layout.

use super::{Artifact, Input, Members, Options, check_labels, label_lines, onnx};
use crate::bundle::{Bundle, Manifest};
use crate::error::Result;
use crate::files::Layout;
use crate::inference::Backend;
use crate::inference::onnx::Interpreter;

const CONFIG: &str = "config.pbtxt";
const LABELS: &str = "labels.txt";
const NETWORK: &str = "1/model.onnx";
pub(super) const LAYOUT: Layout = Layout {
    members: &[CONFIG, LABELS, NETWORK],
    kept: &[],
};

/// Pictures that the server may join to a batch.
const MAX_BATCH: usize = 32;

/// A folder for a model repository; the server takes the model's name from the folder's.
pub(super) fn encode(bundle: &Bundle, options: &Options) -> Result<Members> {
    let labels = label_lines("Triton", &bundle.manifest.labels)?;
    Ok(Members::from([
        (CONFIG.into(), config(&bundle.manifest, options).into()),
        (LABELS.into(), labels.into()),
        (NETWORK.into(), onnx::encode(bundle, options)?),
    ]))
}

fn config(manifest: &Manifest, options: &Options) -> String {
    let (size, classes) = (manifest.preprocessing.crop, manifest.labels.len());
    let (element, shape) = match options.input {
        Input::Float => ("FP32", format!("3, {size}, {size}")),
        Input::Image => ("UINT8", format!("{size}, {size}, 3")),
    };
    let (input, output) = (onnx::INPUT, onnx::OUTPUT);
    format!(
        r#"backend: "onnxruntime"
max_batch_size: {MAX_BATCH}
input [
  {{
    name: "{input}"
    data_type: TYPE_{element}
    dims: [ {shape} ]
  }}
]
output [
  {{
    name: "{output}"
    data_type: TYPE_FP32
    dims: [ {classes} ]
    label_filename: "{LABELS}"
  }}
]
dynamic_batching {{ }}
"#
    )
}

/// Loads the network of a folder.
pub(super) fn open(exported: Artifact, manifest: &Manifest) -> Result<Box<dyn Backend>> {
    check_labels(&exported.lines(LABELS)?, manifest)?;
    Ok(Box::new(Interpreter::read(exported.member(NETWORK)?)?))
}
