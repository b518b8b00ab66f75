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
    let network = network(bundle, options)?;
    let labels = serde_json::to_string(bundle.manifest.labels.names())?;
    v3::encode(layers(&network, options.input)?, &labels)
}

/// An `.h5` file.
pub(super) fn encode_h5(bundle: &Bundle, options: &Options) -> Result<Vec<u8>> {
    let network = network(bundle, options)?;
    let labels = serde_json::to_string(bundle.manifest.labels.names())?;
    legacy::encode(layers(&network, options.input)?, &labels)
}

fn layers(network: &InferenceGraph, input: Input) -> Result<Layers> {
    Layers::new(&Lowered::new(network)?, input, network.byte_len())
}

/// Loads a `.keras` file for verification.
pub(super) fn open(exported: &Artifact, _manifest: &Manifest) -> Result<Box<dyn Backend>> {
    reader::read(exported.file()?)?.into_backend()
}

/// Loads an `.h5` file for verification.
pub(super) fn open_h5(exported: &Artifact, _manifest: &Manifest) -> Result<Box<dyn Backend>> {
    reader::read_h5(exported.file()?)?.into_backend()
}
