//! Images as tensors for the first layer.

use tch::{Kind, Tensor};

use super::compile::takes_integers;
use super::target::Target;
use crate::device::Device;
use crate::error::Result;
use crate::graph::InferenceGraph;
use crate::image::Preprocessing;
use crate::inference::pixels::{Element, Pixels};
use crate::inference::{Arithmetic, Images};
use crate::torch::{Normalise, torch};

/// Makes tensors of images, with the channels innermost in memory.
pub(super) struct Input {
    kind: Kind,
    element: Element,
    pixels: Pixels,
    device: tch::Device,
    /// Where 8-bit pixels are normalised on the device.
    on_device: Option<Normalise>,
}

impl Input {
    pub(super) fn new(
        network: &InferenceGraph,
        preprocessing: &Preprocessing,
        device: Device,
        target: Target,
    ) -> Self {
        let (kind, element) = match takes_integers(network, target) {
            Some(qparams) => (Kind::Uint8, Element::Uint8(qparams)),
            None if target.arithmetic == Arithmetic::Bfloat16 => {
                (Kind::BFloat16, Element::Bfloat16)
            }
            None => (Kind::Float, Element::Float32),
        };
        Self {
            kind,
            element,
            pixels: Pixels::new(preprocessing, network.graph().image_size(), element),
            device: device.into(),
            on_device: match device {
                Device::Cpu => None,
                device => Some(Normalise::new(preprocessing, device)),
            },
        }
    }

    pub(super) fn image_size(&self) -> usize {
        self.pixels.image_size()
    }

    /// Number of values of an image.
    pub(super) fn values_of_one(&self) -> usize {
        self.pixels.values_of_one()
    }

    /// A batch as a tensor `(n, 3, size, size)`.
    pub(super) fn tensor(&self, images: Images<'_>) -> Result<Tensor> {
        if let (Some(normalise), Images::Rgb8(pixels)) = (&self.on_device, images) {
            let real = normalise.pixels(pixels, self.image_size())?;
            return torch(real.f_to_kind(self.kind));
        }
        let mut bytes = vec![0; images.len() * self.element.size()];
        self.pixels.write(images, &mut bytes);
        let side = self.image_size() as i64;
        let n = (images.len() / self.values_of_one()) as i64;
        let x = Tensor::f_from_data_size(&bytes, &[n, side, side, 3], self.kind);
        torch(x.and_then(|x| x.f_permute([0, 3, 1, 2])?.f_to_device(self.device)))
    }
}
