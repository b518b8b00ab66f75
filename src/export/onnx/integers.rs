//! int8 layers as QDQ: integers between the operators, which runtimes fuse into integer kernels.

use super::proto::{Attribute, FLOAT};
use super::writer::Writer;
use crate::error::{Error, Result};
use crate::graph::Affine;
use crate::weights::{Tensor, Values};

/// The opset that brought a scale for each channel.
const PER_CHANNEL: i64 = 13;

/// The largest integer of a bias; room is left for the products that are added to it.
const LARGEST_BIAS: f64 = (1u32 << 30) as f64;

/// An int8 layer: weight `weight[o] * scale[o]`, and its bias.
struct Layer {
    shape: Vec<usize>,
    weight: Vec<i8>,
    scale: Vec<f32>,
    bias: Vec<f32>,
}

impl Writer<'_> {
    /// Rounds a value to uint8, and gives the real numbers that the integers stand for.
    pub(super) fn rounded(&mut self, name: &str, x: &str, affine: Affine) -> Result<String> {
        let scale = self.scalar(format!("{name}.scale"), affine.scale)?;
        let zero = Tensor {
            shape: Vec::new(),
            values: Values::U8(vec![affine.zero_point]),
        };
        let zero = self.constant(format!("{name}.zero_point"), &zero)?;
        let q = format!("{name}.quantized");
        let q = self.push("QuantizeLinear", q, &[x, &scale, &zero], vec![]);
        let name = format!("{name}.dequantized");
        Ok(self.push("DequantizeLinear", name, &[&q, &scale, &zero], vec![]))
    }

    /// Weight and bias of a layer as real numbers.
    pub(super) fn layer(&mut self, place: usize) -> Result<(String, String)> {
        let input = self.input_integers(place);
        let Some(input) = input.filter(|_| self.network.is_int8(place)) else {
            return Ok((self.weight(place)?, self.parameter(place, "bias")?));
        };
        let mut layer = self.integer_layer(place)?;
        let bias = layer.integer_bias(input.scale);
        let scale = layer
            .scale
            .iter()
            .map(|scale| scale * input.scale)
            .collect();
        let weight = self.dequantized_weight(place, &layer)?;
        let name = format!("{}.bias", self.name(place));
        let outputs = bias.len();
        let bias = Tensor {
            shape: vec![outputs],
            values: Values::I32(bias),
        };
        let zeros = Tensor {
            shape: vec![outputs],
            values: Values::I32(vec![0; outputs]),
        };
        let bias = self.dequantized(&name, &bias, Tensor::f32([outputs], scale), &zeros)?;
        Ok((weight, bias))
    }

    /// The weight of a layer as real numbers.
    pub(super) fn weight(&mut self, place: usize) -> Result<String> {
        if !self.network.is_int8(place) {
            return self.parameter(place, "weight");
        }
        let layer = self.integer_layer(place)?;
        self.dequantized_weight(place, &layer)
    }

    /// Whether a layer has int8 weights and an input whose range is found anew for each batch.
    pub(super) fn is_measured(&self, place: usize) -> bool {
        self.network.is_int8(place) && self.input_integers(place).is_none()
    }

    /// An int8 linear layer that rounds its input to the range that it has in the batch.
    pub(super) fn measured_linear(&mut self, place: usize, x: &str) -> Result<String> {
        let name = self.name(place).to_owned();
        let layer = self.integer_layer(place)?;
        let outputs = layer.scale.len();
        let inputs = layer.weight.len() / outputs.max(1);
        let columns =
            (0..inputs * outputs).map(|at| layer.weight[at % outputs * inputs + at / outputs]);
        let weight = Tensor {
            shape: vec![inputs, outputs],
            values: Values::I8(columns.collect()),
        };
        let weight = self.constant(format!("{name}.weight"), &weight)?;
        let scales = Tensor::f32([outputs], layer.scale);
        let scales = self.constant(format!("{name}.weight_scale"), &scales)?;
        let bias = self.parameter(place, "bias")?;

        let part = |suffix: &str| format!("{name}.{suffix}");
        let [q, scale, zero] = ["input.quantized", "input.scale", "input.zero_point"].map(part);
        self.push_many("DynamicQuantizeLinear", &q, x, &[&q, &scale, &zero]);
        let sums = self.push("MatMulInteger", part("sums"), &[&q, &weight, &zero], vec![]);
        let to_float = Attribute::int("to", FLOAT.into());
        let sums = self.push("Cast", part("float"), &[&sums], vec![to_float]);
        let scale = self.push("Mul", part("scales"), &[&scale, &scales], vec![]);
        let products = self.push("Mul", part("products"), &[&sums, &scale], vec![]);
        Ok(self.push("Add", name, &[&products, &bias], vec![]))
    }

    fn dequantized_weight(&mut self, place: usize, layer: &Layer) -> Result<String> {
        let name = self.name(place);
        if self.opset < PER_CHANNEL {
            let message = format!(
                "{name} has int8 weights with a scale per channel, which needs ONNX opset \
                 {PER_CHANNEL}: use --opset {PER_CHANNEL} or later"
            );
            return Err(Error::Usage(message).into());
        }
        let name = format!("{name}.weight");
        let outputs = layer.scale.len();
        let weight = Tensor {
            shape: layer.shape.clone(),
            values: Values::I8(layer.weight.clone()),
        };
        let zeros = Tensor {
            shape: vec![outputs],
            values: Values::I8(vec![0; outputs]),
        };
        self.dequantized(
            &name,
            &weight,
            Tensor::f32([outputs], layer.scale.clone()),
            &zeros,
        )
    }

    /// Real numbers of constant integers with a scale for each output.
    fn dequantized(
        &mut self,
        name: &str,
        integers: &Tensor,
        scale: Tensor,
        zeros: &Tensor,
    ) -> Result<String> {
        let q = self.constant(format!("{name}.quantized"), integers)?;
        let scale = self.constant(format!("{name}.scale"), &scale)?;
        let zeros = self.constant(format!("{name}.zero_point"), zeros)?;
        let outputs = Attribute::int("axis", 0);
        let inputs = [q.as_str(), &scale, &zeros];
        Ok(self.push("DequantizeLinear", name.into(), &inputs, vec![outputs]))
    }

    fn integer_layer(&self, place: usize) -> Result<Layer> {
        let [weight, scale, bias] =
            ["weight", "weight_scale", "bias"].map(|suffix| self.network.tensor(place, suffix));
        let (weight, scale, bias) = (weight?, scale?, bias?);
        match (&weight.values, scale.as_f32(), bias.as_f32()) {
            (Values::I8(q), Some(scale), Some(bias))
                if weight.shape.first() == Some(&scale.len()) && scale.len() == bias.len() =>
            {
                Ok(Layer {
                    shape: weight.shape.clone(),
                    weight: q.clone(),
                    scale: scale.to_vec(),
                    bias: bias.to_vec(),
                })
            }
            _ => Err(Error::Data(format!(
                "{} has no int8 weights with a scale and a bias for each output",
                self.name(place)
            ))
            .into()),
        }
    }

    fn name(&self, place: usize) -> &str {
        &self.network.graph.nodes()[place].name
    }
}

impl Layer {
    /// The bias in steps of `input scale * weight scale`, as integer kernels add it. Where that
    /// does not fit, the channel's weights are so small that longer steps cost nothing.
    fn integer_bias(&mut self, input_scale: f32) -> Vec<i32> {
        let taps = self.weight.len() / self.scale.len().max(1);
        let mut integers = Vec::with_capacity(self.bias.len());
        for (at, &bias) in self.bias.iter().enumerate() {
            let bias = f64::from(bias);
            let step = |scale: f32| f64::from(scale) * f64::from(input_scale);
            let longer = bias.abs() / LARGEST_BIAS / step(self.scale[at]);
            if longer > 1.0 {
                for q in &mut self.weight[at * taps..(at + 1) * taps] {
                    *q = (f64::from(*q) / longer).round() as i8;
                }
                self.scale[at] = (f64::from(self.scale[at]) * longer) as f32;
            }
            integers.push((bias / step(self.scale[at])).round() as i32);
        }
        integers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bias_that_needs_more_than_32_bits_gets_longer_steps() {
        let mut layer = Layer {
            shape: vec![2, 2],
            weight: vec![100, -100, 100, -100],
            scale: vec![0.01, 1e-12],
            bias: vec![1.0, 1.0],
        };
        let bias = layer.integer_bias(0.1);
        assert_eq!(bias[0], 1000);
        assert_eq!(layer.weight, [100, -100, 0, 0]);
        let real = f64::from(bias[1]) * f64::from(layer.scale[1]) * 0.1;
        assert!((real - 1.0).abs() < 1e-6, "{real}");
    }
}
