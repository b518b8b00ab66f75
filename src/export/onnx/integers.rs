//! int8 layers as QDQ: integers between the operators, which runtimes fuse into integer kernels.

use super::writer::Writer;
use crate::error::{Error, Result};
use crate::export::bias::with_integer_bias;
use crate::graph::{Int8Weight, NodeId, QuantizationParameters, Weight};
use crate::inference::onnx::proto::{Attribute, FLOAT};
use crate::weights::{Tensor, Values};

/// The opset that brought a scale for each channel.
const PER_CHANNEL: i64 = 13;

impl Writer<'_> {
    /// Rounds a value to uint8, and gives the float values that the integers stand for.
    pub(super) fn rounded(
        &mut self,
        name: &str,
        x: &str,
        qparams: QuantizationParameters,
    ) -> Result<String> {
        let scale = self.scalar(format!("{name}.scale"), qparams.scale)?;
        let zero = Tensor {
            shape: Vec::new(),
            values: Values::U8(vec![qparams.zero_point]),
        };
        let zero = self.constant(format!("{name}.zero_point"), &zero)?;
        let q = format!("{name}.quantized");
        let q = self.push("QuantizeLinear", q, &[x, &scale, &zero], vec![]);
        let name = format!("{name}.dequantized");
        Ok(self.push("DequantizeLinear", name, &[&q, &scale, &zero], vec![]))
    }

    /// Weight and bias of a layer as float values.
    pub(super) fn layer(&mut self, id: NodeId) -> Result<(String, String)> {
        let (weight, input) = match (self.network.weight(id)?, self.input_qparams(id)) {
            (Weight::Int8(weight), Some(input)) => (weight, input),
            _ => return Ok((self.weight(id)?, self.parameter(id, "bias")?)),
        };
        let bias = self.bias(id)?;
        let (weight, bias) = with_integer_bias(weight, bias, input.scale)?;
        let outputs = bias.len();
        let steps = weight.scales().iter().map(|scale| scale * input.scale);
        let steps = Tensor::f32([outputs], steps.collect());
        let weight = self.dequantized_weight(id, &weight)?;
        let name = format!("{}.bias", self.name(id));
        let integers = |values: Vec<i32>| Tensor {
            shape: vec![outputs],
            values: Values::I32(values),
        };
        let zeros = integers(vec![0; outputs]);
        let bias = self.dequantized(&name, &integers(bias), &steps, &zeros)?;
        Ok((weight, bias))
    }

    /// The weight of a layer as float values.
    pub(super) fn weight(&mut self, id: NodeId) -> Result<String> {
        match self.network.weight(id)? {
            Weight::Float(_) => self.parameter(id, "weight"),
            Weight::Int8(weight) => self.dequantized_weight(id, weight),
        }
    }

    /// Whether a layer has int8 weights and an input whose range is measured in each batch.
    pub(super) fn is_measured(&self, id: NodeId) -> bool {
        self.network.int8_weight(id).is_some() && self.input_qparams(id).is_none()
    }

    /// An int8 linear layer that rounds its input to the range that it has in the batch.
    pub(super) fn measured_linear(&mut self, id: NodeId, x: &str) -> Result<String> {
        let name = self.name(id).to_owned();
        let Weight::Int8(weight) = self.network.weight(id)? else {
            anyhow::bail!("{name} is not an int8 layer");
        };
        let (q, outputs) = (weight.values(), weight.scales().len());
        let inputs = q.len() / outputs.max(1);
        let columns = (0..q.len()).map(|at| q[at % outputs * inputs + at / outputs]);
        let columns = Tensor {
            shape: vec![inputs, outputs],
            values: Values::I8(columns.collect()),
        };
        let scales = self.constant(format!("{name}.weight_scale"), weight.scale_tensor())?;
        let weight = self.constant(format!("{name}.weight"), &columns)?;
        let bias = self.parameter(id, "bias")?;

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

    fn dequantized_weight(&mut self, id: NodeId, weight: &Int8Weight) -> Result<String> {
        let name = self.name(id);
        if self.opset < PER_CHANNEL {
            let message = format!(
                "{name} has int8 weights with a scale per channel, which needs ONNX opset \
                 {PER_CHANNEL}: use --opset {PER_CHANNEL} or later"
            );
            return Err(Error::Usage(message).into());
        }
        let name = format!("{name}.weight");
        let outputs = weight.scales().len();
        let zeros = Tensor {
            shape: vec![outputs],
            values: Values::I8(vec![0; outputs]),
        };
        self.dequantized(&name, weight.tensor(), weight.scale_tensor(), &zeros)
    }

    /// The float values of constant integers with a scale for each output.
    fn dequantized(
        &mut self,
        name: &str,
        integers: &Tensor,
        scale: &Tensor,
        zeros: &Tensor,
    ) -> Result<String> {
        let q = self.constant(format!("{name}.quantized"), integers)?;
        let scale = self.constant(format!("{name}.scale"), scale)?;
        let zeros = self.constant(format!("{name}.zero_point"), zeros)?;
        let outputs = Attribute::int("axis", 0);
        let inputs = [q.as_str(), &scale, &zeros];
        Ok(self.push("DequantizeLinear", name.into(), &inputs, vec![outputs]))
    }

    fn bias(&self, id: NodeId) -> Result<&[f32]> {
        let bias = self.network.parameter(id, "bias")?.as_f32();
        let integers = || Error::Data(format!("the bias of {} is not float32", self.name(id)));
        bias.ok_or_else(|| integers().into())
    }

    fn name(&self, id: NodeId) -> &str {
        &self.network.graph()[id].name
    }
}
