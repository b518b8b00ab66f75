//! TorchScript of plain operators, which every PyTorch loads.

use super::{Options, Runtime, network, notes};
use crate::bundle::Bundle;
use crate::engine::compile::{Batches, compile};
use crate::engine::{Loaded, Pictures, Target};
use crate::error::Result;

/// An archive whose `forward` takes a batch of any size. `labels.json` and `preprocessing.json`
/// are its extra files. What an int8 model rounds is rounded here too, in float32.
pub(super) fn encode(bundle: &Bundle, options: &Options) -> Result<Vec<u8>> {
    let network = network(bundle, options)?;
    let target = match network.quantization {
        Some(_) => Target::PORTABLE_INT8,
        None => Target::PORTABLE,
    };
    let mut module = compile(&network, target, Batches::ANY, &[])?;
    for (name, json) in notes(&bundle.manifest)? {
        module.extra.push((format!("{name}.json"), json.into()));
    }
    module.to_bytes()
}

pub(super) fn open(file: &[u8]) -> Result<Box<dyn Runtime>> {
    Ok(Box::new(Loaded::read(file)?))
}

impl Runtime for Loaded {
    fn scores(&self, pictures: Pictures<'_>, size: usize) -> Result<Vec<f32>> {
        self.forward(pictures, size)
    }
}
