//! How a model file says that its network is int8, and the arithmetic of uint8 values.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How a network is quantized, whose graph is [`super::InferenceGraph`]'s: folded and fused.
///
/// A layer whose `NAME.weight` is int8 in the state dict computes with integers: its weight is
/// `q * NAME.weight_scale[out]`, symmetric, with a scale for each output channel. Its bias is float32,
/// as is everything else. A value of [`Quantization::values`] is rounded to uint8 when its node has
/// computed it, and every reader reads the rounded one. The range of the input of an int8 layer that is
/// not among them is measured in each batch, as in PyTorch's dynamic quantization.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quantization {
    pub method: Method,
    /// By the names of their nodes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, QuantizationParameters>,
    /// By the names of their nodes, smallest and largest of the values that stay float32 here, on the
    /// calibration images: for runtimes that round all values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ranges: BTreeMap<String, [f32; 2]>,
    /// The same of the sums of convolutions before they add a residual.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub before_add: BTreeMap<String, [f32; 2]>,
    /// How they were found and what they cost in accuracy, for the reader of the file.
    #[serde(flatten)]
    pub details: Map<String, Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// The weights of linear layers; the range of their inputs is measured in each batch.
    Dynamic,
    /// Weights and activations of the whole network, with ranges measured on calibration images.
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

/// Scale and zero point of a uint8 value: `real = scale * (q - zero_point)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct QuantizationParameters {
    pub scale: f32,
    pub zero_point: u8,
}

impl QuantizationParameters {
    /// Those that cover `[low, high]` and represent 0 exactly.
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

    /// The real number that an integer stands for.
    pub fn dequantize(self, q: u8) -> f32 {
        (f32::from(q) - f32::from(self.zero_point)) * self.scale
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_exact_and_the_ends_saturate() {
        let qparams = QuantizationParameters::covering(-1.0, 3.0);
        assert_eq!(qparams.dequantize(qparams.quantize(0.0)), 0.0);
        assert_eq!(qparams.quantize(9.0), 255);
        assert_eq!(qparams.quantize(-9.0), 0);
        assert_eq!(qparams.quantize(f32::NAN), 0);
        assert!((qparams.dequantize(qparams.quantize(1.0)) - 1.0).abs() <= qparams.scale / 2.0);
        assert_eq!(QuantizationParameters::covering(0.0, 0.0).scale, 1.0);
        assert_eq!(
            QuantizationParameters::covering(0.5, 5.1),
            QuantizationParameters::covering(0.0, 5.1)
        );
        assert_eq!(
            QuantizationParameters::covering(-5.1, -0.5),
            QuantizationParameters::covering(-5.1, 0.0)
        );
    }
}
