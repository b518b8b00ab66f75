//! ONNX: one operator a node, normalisations folded, int8 models as QDQ.

mod integers;
mod tokens;
mod writer;

use prost::Message;

use super::{Input, Options, check_protobuf, network, notes};
use crate::bundle::Bundle;
use crate::error::{Error, Result};
use crate::graph::InferenceGraph;
pub use crate::inference::onnx::OPSETS;
use crate::inference::onnx::proto::{Entry, FLOAT, Graph, Model, OperatorSet, UINT8, ValueInfo};
use writer::Writer;

/// Of ONNX 1.12 (2022), which the runtimes in use all know.
pub const DEFAULT_OPSET: i64 = 17;

/// Names of the network's input and output.
pub(super) const INPUT: &str = "input";
pub(super) const OUTPUT: &str = "output";

/// An ONNX model with input `input` and output `output`.
pub(super) fn encode(bundle: &Bundle, options: &Options) -> Result<Vec<u8>> {
    let mut model = model(&network(bundle, options)?, options)?;
    let notes = notes(&bundle.manifest)?.into_iter();
    model.metadata_props = notes.map(|(key, value)| Entry { key, value }).collect();
    Ok(model.encode_to_vec())
}

fn model(network: &InferenceGraph, options: &Options) -> Result<Model> {
    let ir_version = ir_version(options.opset)?;
    check_protobuf("an ONNX file", network)?;
    let (node, initializer) = Writer::new(network, options.opset).write()?;
    let element = match options.input {
        Input::Float => FLOAT,
        Input::Image => UINT8,
    };
    let layers = network.graph();
    let (input, output) = (&layers[layers.input()].shape, layers.output_shape());
    let graph = Graph {
        node,
        name: "network".into(),
        initializer,
        input: vec![ValueInfo::of_batch(INPUT, element, options.batch, input)],
        output: vec![ValueInfo::of_batch(OUTPUT, FLOAT, options.batch, output)],
    };
    Ok(Model {
        ir_version,
        producer_name: "flowers".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(graph),
        opset_import: vec![OperatorSet {
            domain: String::new(),
            version: options.opset,
        }],
        metadata_props: Vec::new(),
    })
}

/// The version of the format that came with an opset.
fn ir_version(opset: i64) -> Result<i64> {
    Ok(match opset {
        11 => 6,
        12..=14 => 7,
        15..=18 => 8,
        19..=20 => 9,
        21 => 10,
        _ => {
            let (first, last) = (OPSETS.start(), OPSETS.end());
            let message = format!("opset {opset} can't be written: choose {first} to {last}");
            return Err(Error::Usage(message).into());
        }
    })
}

#[cfg(test)]
mod tests;
