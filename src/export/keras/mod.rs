//! Keras: the layers as JSON, their weights in HDF5; as the `.keras` of Keras 3, or as the `.h5` that
//! Keras 2 and Keras 3 read.

mod config;
mod hdf5;
mod layers;
mod legacy;
mod order;
mod reader;
#[cfg(test)]
mod tests;
mod v3;

use super::lowering::Lowered;
use super::reread::Reread;
use super::{Artifact, Input, Options, check_labels, network};
use crate::bundle::{Bundle, Manifest};
use crate::error::Result;
use crate::graph::passes::for_inference;
use crate::graph::{Graph, InferenceGraph, Op};
use crate::inference::Backend;
use layers::Layers;

/// Names of the first and the last layer.
const INPUT: &str = "image";
const OUTPUT: &str = "probabilities";

/// A `.keras` file.
pub(super) fn encode(bundle: &Bundle, options: &Options) -> Result<Vec<u8>> {
    let layers = layers(&network(bundle, options)?, options.input)?;
    v3::encode(layers, &serde_json::to_string(&bundle.manifest.labels)?)
}

/// An `.h5` file.
pub(super) fn encode_h5(bundle: &Bundle, options: &Options) -> Result<Vec<u8>> {
    let layers = layers(&network(bundle, options)?, options.input)?;
    legacy::encode(layers, &serde_json::to_string(&bundle.manifest.labels)?)
}

fn layers(network: &InferenceGraph, input: Input) -> Result<Layers> {
    Layers::new(&Lowered::new(network)?, input, network.byte_len())
}

/// Loads a `.keras` file for verification.
pub(super) fn open(exported: Artifact, manifest: &Manifest) -> Result<Box<dyn Backend>> {
    checked(reader::read(exported.file()?)?, exported, manifest)
}

/// Loads an `.h5` file for verification.
pub(super) fn open_h5(exported: Artifact, manifest: &Manifest) -> Result<Box<dyn Backend>> {
    checked(reader::read_h5(exported.file()?)?, exported, manifest)
}

/// A network that was read, if its labels are the model's, and if it is trained further as the model was.
fn checked(
    (network, labels): (Reread, String),
    exported: Artifact,
    manifest: &Manifest,
) -> Result<Box<dyn Backend>> {
    drop(exported);
    let labels: Vec<String> = serde_json::from_str(&labels)?;
    check_labels(&labels, manifest)?;
    let graph = manifest.graph()?;
    // Of one that is not trained further, those that no convolution took in.
    let expected = [trained(&graph), trained(&for_inference(&graph))];
    if !expected.contains(&trained(&network.graph)) {
        anyhow::bail!("its normalisations or its dropout are not those of the model");
    }
    network.into_backend()
}

/// What shows in training only, sorted: momentum and epsilon of normalisations, rates of dropout.
fn trained(graph: &Graph) -> Vec<String> {
    let shown = |op: &Op| match op {
        Op::BatchNorm2d(norm) if norm.eps > 0.0 => Some(format!(
            "{} {:.6} {:.3e}",
            norm.channels, norm.momentum, norm.eps
        )),
        Op::Dropout { probability } if *probability > 0.0 => Some(format!("{probability:.6}")),
        _ => None,
    };
    let mut all: Vec<String> = graph
        .iter()
        .filter_map(|(_, node)| shown(&node.op))
        .collect();
    all.sort();
    all
}
