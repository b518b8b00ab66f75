//! Reads ONNX with tract, which shares nothing with the writer.

use std::sync::Arc;

use tract_onnx::prelude::*;

use crate::engine::Pictures;
use crate::error::Result;
use crate::export::Runtime;

/// An ONNX model, optimised and ready to run.
pub(super) struct Tract(Arc<TypedRunnableModel>);

impl Tract {
    pub(super) fn read(mut file: &[u8]) -> Result<Self> {
        let model = tract_onnx::onnx().model_for_read(&mut file)?;
        Ok(Self(model.into_optimized()?.into_runnable()?))
    }
}

impl Runtime for Tract {
    fn scores(&self, pictures: Pictures<'_>, size: usize) -> Result<Vec<f32>> {
        let length = 3 * size * size;
        let input = match pictures {
            Pictures::Rgb8(pixels) => {
                Tensor::from_shape(&[pixels.len() / length, size, size, 3], pixels)?
            }
            Pictures::Normalised(planes) => {
                Tensor::from_shape(&[planes.len() / length, 3, size, size], planes)?
            }
        };
        let scores = self.0.run(tvec!(input.into()))?.remove(0);
        Ok(scores
            .to_plain_array_view::<f32>()?
            .iter()
            .copied()
            .collect())
    }
}
