//! What makes a graph an int8 network: which values are stored as integers, and how.

use std::collections::BTreeMap;
use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The integers of a network, which is fused first (`passes::fuse` of `passes::for_inference`).
///
/// A layer whose `NAME.weight` is int8 in the state dict computes with integers: weight
/// `q * NAME.weight_scale[out]`, symmetric, a scale for each output channel. Its bias is float32.
/// Everything else is float32. A value of [`Quantization::values`] is rounded to uint8 when its
/// node has computed it, and whoever reads it reads the rounded one. An int8 layer whose input is
/// not among them finds the range of its input anew for each batch, as PyTorch's dynamic
/// quantization does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quantization {
    pub method: Method,
    /// By the names of the fused graph's nodes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, Affine>,
    /// How they were found and what they cost: told, not computed with.
    #[serde(flatten)]
    pub details: Map<String, Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Quantizes the weights of linear layers; activations are quantized as the model runs
    Dynamic,
    /// Quantizes weights and activations of the whole network, with ranges measured on photos
    Static,
}

/// The method as `--method` takes it.
impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dynamic => "dynamic",
            Self::Static => "static",
        })
    }
}

/// uint8 integers for real numbers: `real = scale * (q - zero_point)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Affine {
    pub scale: f32,
    pub zero_point: u8,
}

impl Affine {
    /// The integers that cover `[low, high]` and hold 0 exactly.
    pub fn covering(low: f32, high: f32) -> Self {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let scale = (high - low) / 255.0;
        if !(scale.is_finite() && scale > f32::MIN_POSITIVE) {
            return Self {
                scale: 1.0,
                zero_point: 0,
            };
        }
        Self {
            scale,
            zero_point: (-low / scale).round_ties_even() as u8,
        }
    }

    /// Rounds to the nearest integer, ties to even, as libtorch and ONNX do.
    pub fn quantize(self, real: f32) -> u8 {
        ((real / self.scale).round_ties_even() + f32::from(self.zero_point)) as u8
    }

    pub fn dequantize(self, q: u8) -> f32 {
        (f32::from(q) - f32::from(self.zero_point)) * self.scale
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_exact_and_the_ends_saturate() {
        let affine = Affine::covering(-1.0, 3.0);
        assert_eq!(affine.dequantize(affine.quantize(0.0)), 0.0);
        assert_eq!(affine.quantize(9.0), 255);
        assert_eq!(affine.quantize(-9.0), 0);
        assert_eq!(affine.quantize(f32::NAN), 0);
        assert!((affine.dequantize(affine.quantize(1.0)) - 1.0).abs() <= affine.scale / 2.0);
        assert_eq!(Affine::covering(0.0, 0.0).scale, 1.0);
        assert_eq!(Affine::covering(0.5, 5.1), Affine::covering(0.0, 5.1));
    }
}
