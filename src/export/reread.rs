//! Networks that were read from exported files, as this program runs them.

use crate::device::Device;
use crate::error::Result;
use crate::graph::{Graph, InferenceGraph, Int8};
use crate::inference::torchscript::{Batches, Loaded, Target, compile};
use crate::inference::{Backend, Execution, Images};
use crate::weights::StateDict;

/// A network that was read from an exported file.
pub(super) struct Reread {
    /// For images `[3, size, size]` of pixels from 0 to 255, whatever the file's layout.
    pub graph: Graph,
    pub parameters: StateDict,
    pub int8: Option<Int8>,
}

impl Reread {
    /// The network on plain operators of libtorch.
    ///
    /// # Errors
    /// When its parameters do not fit, or memory runs out.
    pub(super) fn into_backend(self) -> Result<Box<dyn Backend>> {
        let (classes, image_size) = (self.graph.output_shape()[0], self.graph.image_size());
        let target = match self.int8 {
            Some(_) => Target::PORTABLE_INT8,
            None => Target::PORTABLE,
        };
        let network = InferenceGraph::unfused(self.graph, self.parameters, self.int8)?;
        let module = compile(&network, target, Batches::ANY, &[])?.module;
        Ok(Box::new(Plain {
            module: Loaded::compile(module, Device::Cpu)?,
            classes,
            image_size,
            takes_planes: true,
        }))
    }
}

/// A module that libtorch loaded, as a backend.
pub(super) struct Plain {
    pub module: Loaded,
    pub classes: usize,
    pub image_size: usize,
    /// Whether it takes pixels as float32, channels first, instead of as bytes.
    pub takes_planes: bool,
}

impl Backend for Plain {
    fn logits(&self, images: Images<'_>) -> Result<Vec<f32>> {
        match images {
            Images::Rgb8(pixels) if self.takes_planes => {
                let planes = planes(pixels, self.image_size);
                self.module
                    .forward(Images::Normalised(&planes), self.image_size)
            }
            images => self.module.forward(images, self.image_size),
        }
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

/// Pixels as float32, 0 to 255, with the channels first.
fn planes(pixels: &[u8], size: usize) -> Vec<f32> {
    let area = size * size;
    let images = pixels.chunks_exact(3 * area);
    let planes = images
        .flat_map(|image| (0..3 * area).map(move |at| f32::from(image[at % area * 3 + at / area])));
    planes.collect()
}
