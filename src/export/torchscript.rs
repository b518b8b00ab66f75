//! TorchScript of plain operators, which every PyTorch loads.

use super::{Artifact, Options, network, notes};
use crate::bundle::{Bundle, Manifest};
use crate::error::Result;
use crate::inference::torchscript::{Batches, Loaded, Target, compile};
use crate::inference::{Backend, Execution, Images};

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

pub(super) fn open(exported: &Artifact, manifest: &Manifest) -> Result<Box<dyn Backend>> {
    Ok(Box::new(Archive {
        module: Loaded::read(exported.file()?)?,
        classes: manifest.labels.len(),
        image_size: manifest.preprocessing.crop as usize,
    }))
}

/// An exported archive as libtorch runs it.
struct Archive {
    module: Loaded,
    classes: usize,
    image_size: usize,
}

impl Backend for Archive {
    fn logits(&self, images: Images<'_>) -> Result<Vec<f32>> {
        self.module.forward(images, self.image_size)
    }

    fn classes(&self) -> usize {
        self.classes
    }

    fn image_size(&self) -> usize {
        self.image_size
    }

    fn execution(&self) -> Execution {
        Execution::PLAIN
    }
}
