//! TensorFlow Lite: for Android, MediaPipe and microcontrollers.

mod channels;
mod file;
mod flatbuffer;
mod integers;
mod metadata;
mod reader;
mod record;
mod schema;
mod stored;
#[cfg(test)]
mod tests;
mod writer;

pub(super) use reader::open;

use super::lowering::Lowered;
use super::{Options, Weights, label_lines, network};
use crate::bundle::{Bundle, Manifest};
use crate::error::{Error, Result};
use crate::graph::{InferenceGraph, Method};
use file::Frame;
use writer::Writer;

/// A file that takes an image `[1, size, size, 3]`, RGB from 0 to 255, and answers with probabilities
/// `[1, classes]`: float32, or uint8 where the model is int8 (a byte is 256 times the probability). Its
/// labels and the range of pixels are in its metadata.
pub(super) fn encode(bundle: &Bundle, options: &Options) -> Result<Vec<u8>> {
    let manifest = &bundle.manifest;
    let usage = |message: &str| Err(Error::Usage(message.into()).into());
    match manifest.quantization.as_ref().map(|found| found.method) {
        Some(Method::Dynamic) => {
            return usage(
                "TensorFlow Lite needs the ranges of all values, which a dynamically quantized model \
                 does not have: quantize with --method static, or export the float model",
            );
        }
        Some(Method::Static) if options.weights != Weights::default() => {
            return usage("an int8 model's weights are int8: leave out --weights");
        }
        Some(Method::Static) | None => {}
    }
    let labels = label_lines("TensorFlow Lite", &manifest.labels)?;
    let file = encoded(network(bundle, options)?, options, manifest)?;
    metadata::with_labels(file, &labels)
}

fn encoded(network: InferenceGraph, options: &Options, manifest: &Manifest) -> Result<Vec<u8>> {
    let lowered = Lowered::new(&network)?;
    let is_half = options.weights == Weights::Float16;
    let (file, input, output) = Writer::new(&lowered, is_half).write()?;
    drop(network);
    let about = options.about(manifest);
    let size = manifest.preprocessing.crop as usize;
    let frame = Frame {
        input,
        output,
        description: &about.description,
        metadata: metadata::classifier(&about, size),
    };
    Ok(file.into_bytes(&frame))
}
