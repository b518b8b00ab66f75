//! Core ML: an ML Program for iOS 15, macOS 12 and later, in a package.

mod blobs;
mod constants;

mod proto;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::BTreeMap;

use prost::Message;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::lowering::Lowered;
use super::{Members, Options, Weights, network};
use crate::bundle::{Bundle, Manifest};
use crate::error::Result;
use crate::files::Layout;
use crate::graph::InferenceGraph;
use proto::{
    Block, ByText, Description, Empty, Feature, FeatureType, Function, Image, Kind, Metadata,
    Model, Named, Program, RGB, ValueType, dtype,
};
pub(super) use reader::open;
use writer::Writer;

/// The files of the package.
const MANIFEST: &str = "Manifest.json";
const MODEL: &str = "Data/com.apple.CoreML/model.mlmodel";
const WEIGHTS: &str = "Data/com.apple.CoreML/weights/weight.bin";
pub(super) const LAYOUT: Layout = Layout {
    members: &[MANIFEST, MODEL, WEIGHTS],
    kept: &[],
};

/// How the program refers to [`WEIGHTS`].
const WEIGHT_FILE: &str = "@model_path/weights/weight.bin";

/// Names of the input and of the outputs, as Vision and Xcode show them.
const INPUT: &str = "image";
const LABEL: &str = "classLabel";
const PROBABILITIES: &str = "classLabel_probs";

/// Of iOS 15, with its operators.
const VERSION: i32 = 6;
const OPSET: &str = "CoreML5";

/// A package that takes an RGB image of the network's size and gives `classLabel` and the dictionary
/// `classLabel_probs`.
pub(super) fn encode(bundle: &Bundle, options: &Options) -> Result<Members> {
    let network = network(bundle, options)?;
    let (model, weights) = encoded(&network, options, &bundle.manifest)?;
    let manifest = manifest(&model, &weights);
    Ok(Members::from([
        (MANIFEST.into(), manifest.into()),
        (MODEL.into(), model),
        (WEIGHTS.into(), weights),
    ]))
}

/// The model and its weights.
fn encoded(
    network: &InferenceGraph,
    options: &Options,
    manifest: &Manifest,
) -> Result<(Vec<u8>, Vec<u8>)> {
    let lowered = Lowered::new(network)?;
    let is_half = options.weights == Weights::Float16;
    let writer = Writer::new(&lowered, is_half, network.byte_len());
    let (operations, weights) = writer.write(&manifest.labels)?;
    let size = network.graph().image_size();
    let image = Named {
        name: INPUT.into(),
        kind: Some(ValueType::tensor(dtype::FLOAT32, &[1, 3, size, size])),
    };
    let block = Block {
        outputs: vec![LABEL.into(), PROBABILITIES.into()],
        operations,
    };
    let function = Function {
        inputs: vec![image],
        opset: OPSET.into(),
        blocks: BTreeMap::from([(OPSET.into(), block)]),
    };
    let model = Model {
        version: VERSION,
        description: Some(description(size, options, manifest)),
        program: Some(Program {
            version: 1,
            functions: BTreeMap::from([("main".into(), function)]),
        }),
    };
    Ok((model.encode_to_vec(), weights))
}

fn description(size: usize, options: &Options, manifest: &Manifest) -> Description {
    let feature = |name: &str, description: String, kind| Feature {
        name: name.into(),
        description,
        kind: Some(FeatureType { kind: Some(kind) }),
    };
    let image = Kind::Image(Image {
        width: size as i64,
        height: size as i64,
        channels: RGB,
    });
    let about = options.about(manifest);
    Description {
        inputs: vec![feature(
            INPUT,
            format!("RGB, {size} x {size} pixels"),
            image,
        )],
        outputs: vec![
            feature(
                LABEL,
                "The most probable label".into(),
                Kind::Text(Empty {}),
            ),
            feature(
                PROBABILITIES,
                "The probability of each label".into(),
                Kind::Dictionary(ByText {
                    keys: Some(Empty {}),
                }),
            ),
        ],
        predicted: LABEL.into(),
        probabilities: PROBABILITIES.into(),
        metadata: Some(Metadata {
            description: about.description,
            version: about.version,
            author: about.author,
            license: about.license,
            others: BTreeMap::new(),
        }),
    }
}

/// What the package consists of.
fn manifest(model: &[u8], weights: &[u8]) -> String {
    let digest = Sha256::new().chain_update(model).chain_update(weights);
    let digest = digest.finalize();
    let [model, weights] = &["model", "weights"].map(|part| uuid(part, &digest));
    let entry = |name: &str, path: &str, description: &str| {
        json!({
            "author": "com.apple.CoreML",
            "description": description,
            "name": name,
            "path": format!("com.apple.CoreML/{path}"),
        })
    };
    let manifest = json!({
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": {
            model: entry("model.mlmodel", "model.mlmodel", "CoreML Model Specification"),
            weights: entry("weights", "weights", "CoreML Model Weights"),
        },
        "rootModelIdentifier": model,
    });
    format!("{manifest:#}\n")
}

/// A UUID that is the same for the same model (RFC 9562, version 8).
fn uuid(part: &str, model: &[u8]) -> String {
    let digest = Sha256::new().chain_update(part).chain_update(model);
    let digest = digest.finalize();
    let mut uuid: [u8; 16] = std::array::from_fn(|at| digest[at]);
    uuid[6] = uuid[6] & 0x0f | 0x80;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02X}")).collect() };
    let parts = [
        &uuid[..4],
        &uuid[4..6],
        &uuid[6..8],
        &uuid[8..10],
        &uuid[10..],
    ];
    parts.map(hex).join("-")
}
