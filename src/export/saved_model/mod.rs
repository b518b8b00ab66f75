//! TensorFlow's SavedModel: a graph whose weights are constants, with one signature.

mod proto;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::BTreeMap;

use prost::Message;

use super::lowering::Lowered;
use super::{Input, Members, Options, check_protobuf, label_lines, network};
use crate::bundle::Bundle;
use crate::error::Result;
use crate::files::Layout;
use crate::graph::InferenceGraph;
use proto::{MetaGraph, MetaInfo, SavedModel, Shape, Signature, TensorInfo, dtype};
pub(super) use reader::open;
use writer::Writer;

/// TensorFlow Serving looks for folders whose names are versions.
const GRAPH: &str = "1/saved_model.pb";
const LABELS: &str = "1/labels.txt";
pub(super) const LAYOUT: Layout = Layout {
    members: &[GRAPH, LABELS],
    kept: &[],
};

/// Keys of the signature.
const SIGNATURE: &str = "serving_default";
pub(super) const INPUT: &str = "image";
pub(super) const OUTPUT: &str = "probabilities";

/// A folder whose signature `serving_default` takes `image`, uint8 `[n, size, size, 3]`, and gives
/// `probabilities`, float32 `[n, classes]`; with `--input float` the image is float32 and normalised.
pub(super) fn encode(bundle: &Bundle, options: &Options) -> Result<Members> {
    let labels = label_lines("a SavedModel", &bundle.manifest.labels)?;
    let model = model(&network(bundle, options)?, options.input)?;
    Ok(Members::from([
        (GRAPH.into(), model.encode_to_vec()),
        (LABELS.into(), labels.into()),
    ]))
}

fn model(network: &InferenceGraph, input: Input) -> Result<SavedModel> {
    check_protobuf("a SavedModel", network)?;
    let lowered = Lowered::new(network)?;
    let element = match input {
        Input::Float => dtype::FLOAT,
        Input::Image => dtype::UINT8,
    };
    let size = network.graph().image_size() as i64;
    let classes = network.graph().output_shape()[0] as i64;
    let info = |name: &str, dtype, shape: &[i64]| TensorInfo {
        name: format!("{name}:0"),
        dtype,
        shape: Some(Shape::new(shape)),
    };
    let image = info(INPUT, element, &[-1, size, size, 3]);
    let probabilities = info(OUTPUT, dtype::FLOAT, &[-1, classes]);
    let signature = Signature {
        inputs: BTreeMap::from([(INPUT.into(), image)]),
        outputs: BTreeMap::from([(OUTPUT.into(), probabilities)]),
        method: "tensorflow/serving/predict".into(),
    };
    let graph = Writer::new(&lowered, element).write()?;
    Ok(SavedModel {
        schema_version: 1,
        meta_graphs: vec![MetaGraph {
            info: Some(MetaInfo {
                tags: vec!["serve".into()],
                tensorflow_version: "2.0.0".into(),
            }),
            graph: Some(graph),
            signatures: BTreeMap::from([(SIGNATURE.into(), signature)]),
        }],
    })
}
