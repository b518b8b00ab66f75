//! Tensors of a file: their constants, and how their integers are read.

use anyhow::{Context, bail};
use half::f16;

use super::record::Record;
use super::schema::{buffer, dtype, quantization, tensor};
use crate::error::Result;
use crate::graph::QuantizationParameters;

/// A tensor of the file.
pub(super) struct Stored<'a> {
    pub(super) name: &'a str,
    pub(super) shape: Vec<usize>,
    pub(super) dtype: i8,
    /// Empty for what is computed.
    pub(super) bytes: &'a [u8],
    pub(super) scale: Vec<f32>,
    pub(super) zero_point: Vec<i64>,
    pub(super) axis: i32,
}

impl<'a> Stored<'a> {
    pub(super) fn of(tensor: Record<'a>, buffers: &[Record<'a>]) -> Result<Self> {
        let buffer = tensor
            .u32(tensor::BUFFER)
            .and_then(|at| buffers.get(at as usize));
        let shape = tensor
            .ints(tensor::SHAPE)
            .context("a tensor without a shape")?;
        let quantization = tensor.table(tensor::QUANTIZATION);
        let stored = Self {
            name: tensor
                .text(tensor::NAME)
                .context("a tensor without a name")?,
            shape: shape.iter().map(|&side| side as usize).collect(),
            dtype: tensor.i8(tensor::TYPE).unwrap_or(dtype::FLOAT32),
            bytes: buffer
                .context("a buffer")?
                .bytes(buffer::DATA)
                .unwrap_or_default(),
            scale: quantization
                .and_then(|q| q.floats(quantization::SCALE))
                .unwrap_or_default(),
            zero_point: quantization
                .and_then(|q| q.longs(quantization::ZERO_POINT))
                .unwrap_or_default(),
            axis: quantization
                .and_then(|q| q.i32(quantization::DIMENSION))
                .unwrap_or(0),
        };
        let values: usize = stored.shape.iter().product();
        let bytes = stored.bytes.len();
        let size = bytes.checked_div(values).unwrap_or(0);
        let is_whole = match stored.dtype {
            dtype::FLOAT32 | dtype::INT32 => size == 4,
            dtype::FLOAT16 => size == 2,
            _ => size == 1,
        };
        match bytes == 0 || (is_whole && size * values == bytes) {
            true => Ok(stored),
            false => bail!("the constant {} has {bytes} bytes", stored.name),
        }
    }

    pub(super) fn integers(&self) -> Vec<i32> {
        let (words, _) = self.bytes.as_chunks::<4>();
        words.iter().map(|&word| i32::from_le_bytes(word)).collect()
    }

    /// The real numbers of a constant.
    pub(super) fn reals(&self) -> Result<Vec<f32>> {
        let inner: usize = self.shape.iter().skip(self.axis as usize + 1).product();
        let scale = |at: usize| match self.scale[..] {
            [one] => one,
            _ => self
                .scale
                .get(at / inner.max(1) % self.scale.len().max(1))
                .copied()
                .unwrap_or(f32::NAN),
        };
        let words = self.bytes.as_chunks::<4>().0.iter();
        Ok(match self.dtype {
            dtype::FLOAT32 => words.map(|&word| f32::from_le_bytes(word)).collect(),
            dtype::FLOAT16 => {
                let halves = self.bytes.as_chunks::<2>().0.iter();
                halves
                    .map(|&half| f16::from_le_bytes(half).to_f32())
                    .collect()
            }
            dtype::INT32 => {
                let steps = self.integers().into_iter().enumerate();
                steps
                    .map(|(at, step)| (f64::from(step) * f64::from(scale(at))) as f32)
                    .collect()
            }
            dtype::INT8 => {
                let steps = self.bytes.iter().enumerate();
                steps
                    .map(|(at, &step)| f32::from(step as i8) * scale(at))
                    .collect()
            }
            other => bail!("a constant of type {other}"),
        })
    }

    /// The number that padding is filled with: the smallest integer is lower than any.
    pub(super) fn fill(&self) -> Result<f32> {
        match (self.dtype, self.bytes) {
            (dtype::INT8, [lowest]) if *lowest as i8 == i8::MIN => Ok(f32::MIN),
            _ => Ok(self.reals()?.first().copied().unwrap_or(f32::NAN)),
        }
    }

    /// How the integers of a value that is computed are read.
    pub(super) fn qparams(&self) -> Option<QuantizationParameters> {
        let (&scale, &zero_point) = (self.scale.first()?, self.zero_point.first()?);
        let lowest = if self.dtype == dtype::INT8 { -128 } else { 0 };
        let zero_point = u8::try_from(zero_point - lowest).ok()?;
        Some(QuantizationParameters { scale, zero_point })
    }
}
