//! TorchScript of plain operators, which every PyTorch loads.

use super::reread::Plain;
use super::{Artifact, Options, network, notes};
use crate::bundle::{Bundle, Manifest};
use crate::error::Result;
use crate::inference::Backend;
use crate::inference::torchscript::{Batches, Loaded, Target, compile};

/// An archive whose `forward` takes a batch of any size. `labels.json` and `preprocessing.json`
/// are its extra files. What an int8 model rounds is rounded here too, in float32.
pub(super) fn encode(bundle: &Bundle, options: &Options) -> Result<Vec<u8>> {
    let network = network(bundle, options)?;
    let target = match network.quantized() {
        Some(_) => Target::PORTABLE_INT8,
        None => Target::PORTABLE,
    };
    let mut module = compile(&network, target, Batches::ANY, &[])?.module;
    for (name, json) in notes(&bundle.manifest)? {
        module.extra.push((format!("{name}.json"), json.into()));
    }
    module.to_bytes()
}

pub(super) fn open(exported: Artifact, manifest: &Manifest) -> Result<Box<dyn Backend>> {
    Ok(Box::new(Plain {
        module: Loaded::read(exported.file()?)?,
        classes: manifest.labels.len(),
        image_size: manifest.preprocessing.crop as usize,
        takes_planes: false,
    }))
}
