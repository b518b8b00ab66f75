//! A TorchScript file as libtorch itself loads it.

use std::io::Cursor;

use tch::{CModule, Tensor};

use super::session::{Pictures, append, torch};
use crate::error::Result;

/// A module whose `forward` takes pictures and gives a row of numbers for each.
pub struct Loaded(CModule);

impl Loaded {
    /// Loads an archive from memory, on the CPU.
    ///
    /// # Errors
    /// When libtorch refuses it.
    pub fn read(archive: &[u8]) -> Result<Self> {
        torch(CModule::load_data(&mut Cursor::new(archive))).map(Self)
    }

    /// Runs a batch: uint8 (n, size, size, 3), or float32 planes (n, 3, size, size). Gives float32
    /// row-major `(n, classes)`.
    ///
    /// # Errors
    /// When libtorch can't run it on such pictures.
    pub fn forward(&self, pictures: Pictures<'_>, size: usize) -> Result<Vec<f32>> {
        let side = size as i64;
        let x = match pictures {
            Pictures::Rgb8(pixels) => Tensor::from_slice(pixels).f_reshape([-1, side, side, 3]),
            Pictures::Normalised(planes) => {
                Tensor::from_slice(planes).f_reshape([-1, 3, side, side])
            }
        };
        let x = torch(x)?;
        let y = torch(tch::no_grad(|| self.0.forward_ts(&[x])))?;
        let mut scores = Vec::new();
        append(&y, &mut scores)?;
        Ok(scores)
    }
}
