//! Keras: the layers as JSON, their weights in HDF5; as the `.keras` of Keras 3, or as the `.h5` that
//! Keras 2 and Keras 3 read.

mod hdf5;
mod layers;
mod legacy;
mod reader;
#[cfg(test)]
mod tests;
mod v3;

use super::lowering::Lowered;
use super::{Artifact, Input, Options, network};
use crate::bundle::{Bundle, Manifest};
use crate::error::Result;
use crate::graph::InferenceGraph;
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
pub(super) fn open(exported: Artifact, _manifest: &Manifest) -> Result<Box<dyn Backend>> {
    let network = reader::read(exported.file()?)?;
    drop(exported);
    network.into_backend()
}

/// Loads an `.h5` file for verification.
pub(super) fn open_h5(exported: Artifact, _manifest: &Manifest) -> Result<Box<dyn Backend>> {
    let network = reader::read_h5(exported.file()?)?;
    drop(exported);
    network.into_backend()
}
