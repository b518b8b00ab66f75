//! Images as the first layer takes them.

use half::bf16;
use tch::{Kind, Tensor};

use super::compile::takes_integers;
use super::target::Target;
use crate::device::Device;
use crate::error::Result;
use crate::graph::{InferenceGraph, QuantizationParameters};
use crate::image::Preprocessing;
use crate::inference::{Arithmetic, Images};
use crate::torch::{Normalise, torch};

/// Makes tensors of images, with the channels innermost in memory.
pub(super) struct Input {
    kind: Kind,
    integers: Option<QuantizationParameters>,
    device: tch::Device,
    /// Where 8-bit pixels are normalised on the device.
    on_device: Option<Normalise>,
    /// `(x / 255 - mean) / std` of each 8-bit value, for each channel.
    tables: [[f32; 256]; 3],
    image_size: usize,
}

impl Input {
    pub(super) fn new(
        network: &InferenceGraph,
        preprocessing: &Preprocessing,
        device: Device,
        target: Target,
    ) -> Self {
        let integers = takes_integers(network, target);
        Self {
            kind: match target.arithmetic {
                _ if integers.is_some() => Kind::Uint8,
                Arithmetic::Bfloat16 => Kind::BFloat16,
                _ => Kind::Float,
            },
            integers,
            device: device.into(),
            on_device: match device {
                Device::Cpu => None,
                device => Some(Normalise::new(preprocessing, device)),
            },
            tables: preprocessing.tables(),
            image_size: network.graph().image_size(),
        }
    }

    pub(super) fn image_size(&self) -> usize {
        self.image_size
    }

    /// Number of values of an image.
    pub(super) fn values_of_one(&self) -> usize {
        (3 * self.image_size * self.image_size).max(1)
    }

    /// A batch as a tensor `(n, 3, size, size)`.
    pub(super) fn tensor(&self, images: Images<'_>) -> Result<Tensor> {
        if let (Some(normalise), Images::Rgb8(pixels)) = (&self.on_device, images) {
            let real = normalise.pixels(pixels, self.image_size)?;
            return torch(real.f_to_kind(self.kind));
        }
        let bytes = match (self.integers, self.kind) {
            (Some(qparams), _) => self.values(images, |real| [qparams.quantize(real)]),
            (None, Kind::BFloat16) => {
                self.values(images, |real| bf16::from_f32(real).to_le_bytes())
            }
            _ => self.values(images, f32::to_ne_bytes),
        };
        let side = self.image_size as i64;
        let n = (images.len() / self.values_of_one()) as i64;
        let x = Tensor::f_from_data_size(&bytes, &[n, side, side, 3], self.kind);
        torch(x.and_then(|x| x.f_permute([0, 3, 1, 2])?.f_to_device(self.device)))
    }

    /// Every value as `N` bytes, in the order (n, y, x, channel).
    fn values<const N: usize>(
        &self,
        images: Images<'_>,
        bytes: impl Fn(f32) -> [u8; N],
    ) -> Vec<u8> {
        match images {
            Images::Rgb8(pixels) => {
                let [red, green, blue] = self.tables.map(|table| table.map(&bytes));
                let mut values = vec![[[0; N]; 3]; pixels.len() / 3];
                for (values, &[r, g, b]) in values.iter_mut().zip(pixels.as_chunks().0) {
                    let at = [r, g, b].map(usize::from);
                    *values = [red[at[0]], green[at[1]], blue[at[2]]];
                }
                values.into_flattened().into_flattened()
            }
            Images::Normalised(planes) => {
                let area = (self.image_size * self.image_size).max(1);
                let mut values = Vec::with_capacity(N * planes.len());
                for image in planes.chunks_exact(3 * area) {
                    for at in 0..area {
                        for channel in 0..3 {
                            values.extend_from_slice(&bytes(image[channel * area + at]));
                        }
                    }
                }
                values
            }
        }
    }
}
