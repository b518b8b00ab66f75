//! Normalises images on the device that computes, so that a quarter of the bytes are copied there.

use tch::{Kind, Tensor};

use super::tensors::torch;
use crate::device::Device;
use crate::error::Result;
use crate::image::Preprocessing;

/// The normalisation of a model on a device.
pub(crate) struct Normalise {
    /// Per channel, in the scale 0 to 1, as is the next.
    mean: [f32; 3],
    std: [f32; 3],
    device: tch::Device,
}

impl Normalise {
    pub(crate) fn new(preprocessing: &Preprocessing, device: Device) -> Self {
        Self {
            mean: preprocessing.mean,
            std: preprocessing.std,
            device: device.into(),
        }
    }

    /// 8-bit RGB (n, size, size, 3) as float32 `(n, 3, size, size)` with the channels innermost in
    /// memory, `(x / 255 - mean) / std`.
    ///
    /// # Errors
    /// [`Error::Environment`](crate::error::Error::Environment) when memory runs out.
    pub(crate) fn pixels(&self, pixels: &[u8], size: usize) -> Result<Tensor> {
        let side = size as i64;
        let n = pixels.len() as i64 / (3 * side * side).max(1);
        let there = |x: Tensor| x.f_to_device(self.device);
        let channels = |values| there(Tensor::f_from_slice(values)?.f_reshape([1, 3, 1, 1])?);
        let normalised = || {
            let x = Tensor::f_from_data_size(pixels, &[n, side, side, 3], Kind::Uint8)?;
            let mut x = there(x)?.f_permute([0, 3, 1, 2])?.f_to_kind(Kind::Float)?;
            x.f_divide_scalar_(255.0)?
                .f_sub_(&channels(&self.mean)?)?
                .f_divide_(&channels(&self.std)?)
        };
        torch(normalised())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_computes_what_the_tables_hold() {
        let preprocessing = Preprocessing::imagenet(2);
        let bytes: Vec<u8> = (0..24).map(|value| value * 11).collect();
        let normalise = Normalise::new(&preprocessing, Device::Cpu);
        let pixels = normalise.pixels(&bytes, 2).unwrap();
        assert_eq!(pixels.size(), [2, 3, 2, 2]);
        let tables = preprocessing.tables();
        let found = Vec::<f32>::try_from(pixels.permute([0, 2, 3, 1]).flatten(0, -1)).unwrap();
        for (at, (&byte, value)) in bytes.iter().zip(found).enumerate() {
            assert_eq!(value, tables[at % 3][usize::from(byte)]);
        }
    }
}
