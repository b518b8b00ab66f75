//! Operators on the features of each pixel or token, and on the order of channels.

use std::f32::consts::FRAC_1_SQRT_2;
use std::ops::Range;

use super::writer::Writer;
use crate::error::{Error, Result};
use crate::graph::{LayerNorm, Node, NodeId, Weight};
use crate::inference::onnx::proto::Attribute;
use crate::weights::{Tensor, Values};

/// The opset that brought LayerNormalization.
const LAYER_NORM: i64 = 17;

impl Writer<'_> {
    pub(super) fn layer_norm(&mut self, id: NodeId, norm: &LayerNorm, x: &str) -> Result<String> {
        let node = &self.network.graph()[id];
        let name = node.name.as_str();
        if self.opset < LAYER_NORM {
            let message = format!(
                "LayerNorm {name} needs ONNX opset {LAYER_NORM}: use --opset {LAYER_NORM} or later"
            );
            return Err(Error::Usage(message).into());
        }
        let (weight, bias) = (self.parameter(id, "weight")?, self.parameter(id, "bias")?);
        let of = |writer: &mut Self, name: &str, x: &str| {
            let attributes = vec![
                Attribute::int("axis", -1),
                Attribute::float("epsilon", norm.eps as f32),
            ];
            let inputs = [x, &weight, &bias];
            writer.push("LayerNormalization", name.into(), &inputs, attributes)
        };
        if node.shape.len() != 3 {
            return Ok(of(self, name, x));
        }
        let order = |order: [usize; 4]| vec![Attribute::ints("perm", order)];
        let part = |part: &str| format!("{name}.{part}");
        let x = self.push("Transpose", part("pixels"), &[x], order([0, 2, 3, 1]));
        let x = of(self, &part("normalised"), &x);
        Ok(self.push("Transpose", name.into(), &[&x], order([0, 3, 1, 2])))
    }

    /// `x / 2 * (1 + erf(x / sqrt(2)))`, in the form that runtimes look for.
    pub(super) fn gelu(&mut self, name: &str, x: &str) -> Result<String> {
        let part = |part: &str| format!("{name}.{part}");
        let [root, one, half] = [("root", FRAC_1_SQRT_2.recip()), ("one", 1.0), ("half", 0.5)]
            .map(|(of, value)| self.scalar(part(of), value));
        let scaled = self.push("Div", part("scaled"), &[x, &root?], vec![]);
        let erf = self.push("Erf", part("erf"), &[&scaled], vec![]);
        let sum = self.push("Add", part("sum"), &[&erf, &one?], vec![]);
        let product = self.push("Mul", part("product"), &[x, &sum], vec![]);
        Ok(self.push("Mul", name.into(), &[&product, &half?], vec![]))
    }

    pub(super) fn slice(&mut self, name: &str, x: &str, channels: Range<usize>) -> Result<String> {
        let Range { start, end } = channels;
        let [start, end, axis] = [("start", start), ("end", end), ("axis", 1)]
            .map(|(of, value)| self.integers(format!("{name}.{of}"), &[1], vec![value as i64]));
        Ok(self.push("Slice", name.into(), &[x, &start?, &end?, &axis?], vec![]))
    }

    pub(super) fn channel_shuffle(
        &mut self,
        name: &str,
        x: &str,
        node: &Node,
        groups: usize,
    ) -> Result<String> {
        let &[channels, height, width] = &node.shape[..] else {
            anyhow::bail!("{name} shuffles no map");
        };
        let apart = [groups, channels / groups, height, width];
        let apart = self.reshape(&format!("{name}.apart"), x, &apart)?;
        let order = Attribute::ints("perm", [0, 2, 1, 3, 4]);
        let shuffled = format!("{name}.shuffled");
        let shuffled = self.push("Transpose", shuffled, &[&apart], vec![order]);
        self.reshape(name, &shuffled, &node.shape)
    }

    /// Zeros before the first token, to which the class token is added.
    pub(super) fn class_token(&mut self, id: NodeId, x: &str, features: usize) -> Result<String> {
        let node = &self.network.graph()[id];
        let name = node.name.as_str();
        let sides = self.integers(format!("{name}.sides"), &[6], vec![0, 1, 0, 0, 0, 0])?;
        let padded = self.push("Pad", format!("{name}.padded"), &[x, &sides], vec![]);
        let token = self.network.parameter(id, "")?.as_f32().unwrap_or_default();
        let mut values = vec![0.0; node.shape.iter().product()];
        values[..features].copy_from_slice(token);
        let values = Tensor::f32(node.shape.clone(), values);
        let values = self.constant(format!("{name}.token"), &values)?;
        Ok(self.push("Add", name.into(), &[&padded, &values], vec![]))
    }

    pub(super) fn linear_of_tokens(&mut self, id: NodeId, x: &str) -> Result<String> {
        let node = &self.network.graph()[id];
        let name = node.name.as_str();
        let Weight::Float(weight) = self.network.weight(id)? else {
            anyhow::bail!("{name} has integers for tokens");
        };
        let [outputs, inputs] = weight.shape[..] else {
            anyhow::bail!("{name} has a weight of shape {:?}", weight.shape);
        };
        let values = weight.as_f32().unwrap_or_default();
        let columns = (0..values.len()).map(|at| values[at % outputs * inputs + at / outputs]);
        let columns = Tensor::f32([inputs, outputs], columns.collect());
        let weight = self.constant(node.parameter("weight"), &columns)?;
        let bias = self.parameter(id, "bias")?;
        let products = format!("{name}.products");
        let products = self.push("MatMul", products, &[x, &weight], vec![]);
        Ok(self.push("Add", name.into(), &[&products, &bias], vec![]))
    }

    pub(super) fn attention(
        &mut self,
        name: &str,
        x: &str,
        node: &Node,
        heads: usize,
    ) -> Result<String> {
        let &[tokens, features] = &node.shape[..] else {
            anyhow::bail!("{name} attends to no tokens");
        };
        let each = features / heads.max(1);
        let part = |part: &str| format!("{name}.{part}");
        let order = |order: &[usize]| vec![Attribute::ints("perm", order.iter().copied())];
        let x = self.reshape(&part("apart"), x, &[tokens, 3, heads, each])?;
        let x = self.push("Transpose", part("heads"), &[&x], order(&[2, 0, 3, 1, 4]));
        let [q, k, v] = ["query", "key", "value"].map(part);
        for (at, of) in [&q, &k, &v].into_iter().enumerate() {
            let index = self.integers(format!("{of}.index"), &[], vec![at as i64])?;
            let first = vec![Attribute::int("axis", 0)];
            self.push("Gather", of.clone(), &[&x, &index], first);
        }
        let scale = self.scalar(part("scale"), (each as f32).sqrt().recip())?;
        let q = self.push("Mul", part("scaled"), &[&q, &scale], vec![]);
        let k = self.push("Transpose", part("columns"), &[&k], order(&[0, 1, 3, 2]));
        let scores = self.push("MatMul", part("scores"), &[&q, &k], vec![]);
        let last = vec![Attribute::int("axis", 3)];
        let weights = self.push("Softmax", part("weights"), &[&scores], last);
        let mixed = self.push("MatMul", part("mixed"), &[&weights, &v], vec![]);
        let mixed = self.push("Transpose", part("tokens"), &[&mixed], order(&[0, 2, 1, 3]));
        self.reshape(name, &mixed, &node.shape)
    }

    /// A value in another shape for one image.
    pub(super) fn reshape(&mut self, name: &str, x: &str, shape: &[usize]) -> Result<String> {
        // A zero stands for the length that there is.
        let sides = shape.iter().map(|&side| side as i64);
        let sides: Vec<i64> = [0].into_iter().chain(sides).collect();
        let sides = self.integers(format!("{name}.shape"), &[sides.len()], sides)?;
        Ok(self.push("Reshape", name.into(), &[x, &sides], vec![]))
    }

    pub(super) fn integers(
        &mut self,
        name: String,
        shape: &[usize],
        values: Vec<i64>,
    ) -> Result<String> {
        let tensor = Tensor {
            shape: shape.to_vec(),
            values: Values::I64(values),
        };
        self.constant(name, &tensor)
    }
}
