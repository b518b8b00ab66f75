//! Layers with integer weights.

use std::borrow::Cow;

use super::float::{NO_SCALARS, Padded, fused_activation};
use super::{Form, Method, activation, both, pair, v};
use crate::error::Result;
use crate::graph::{Activation, Conv2d, Int8Weight, Linear, NodeId, Op, QuantizationParameters};
use crate::inference::Arithmetic;
use crate::weights::{Tensor, Values};

/// libtorch's numbers for element types.
const UINT8: u8 = 0;
const FLOAT: u8 = 6;

impl<'a> Method<'a, '_> {
    /// The weight of a layer that runs in oneDNN's integer kernels: its weights are integers, and so is
    /// its input, or it is a linear layer, whose input's range is measured.
    pub(super) fn integer_layer(&self, id: NodeId) -> Option<&'a Int8Weight> {
        let node = &self.graph[id];
        let weight = self.network.int8_weight(id)?;
        let input = self.forms[node.inputs[0].index()];
        let runs = self.target.fused
            && self.target.arithmetic == Arithmetic::Int8
            && (matches!(node.op, Op::Linear(_)) || matches!(input, Form::Integer(_)));
        runs.then_some(weight)
    }

    pub(super) fn integer_convolution(
        &mut self,
        id: NodeId,
        conv: &Conv2d,
        weight: &'a Int8Weight,
    ) -> Result<Form> {
        let graph = self.graph;
        let node = &graph[id];
        let input = node.inputs[0];
        let Form::Integer(from) = self.forms[input.index()] else {
            anyhow::bail!("{} takes integers", node.name);
        };
        let zero = from.zero_point.to_string();
        let Padded { x, padding, shape } = self.padded(id, &v(input), conv, &zero);
        let (stride, padding) = (pair(conv.stride), both(padding));
        let window = format!(
            "{stride}, {padding}, {}, {}",
            pair(conv.dilation),
            conv.groups
        );
        let range = range(from);
        let Weights {
            weight,
            added,
            scale,
            zeros,
        } = self.integer_weights(id, weight);
        let weight = self.packed(id, &weight, added, |batch| {
            let [c, h, w] = shape;
            let shape = format!("[{batch}, {c}, {h}, {w}]");
            format!("ops.onednn.qconv_prepack({weight}, {scale}, {range}, {window}, {shape})")
        });
        let layer = Layer {
            before: format!("{x}, {range}, {weight}, {scale}, {zeros}"),
            bias: self.bias(id, conv.bias)?,
            window,
        };
        let kind = conv.epilogue.activation;
        match node.inputs.get(1) {
            Some(&addend) => Ok(self.integer_sum(id, &layer, kind, addend)),
            None if kind.is_none_or(is_fused) => {
                let to = self.network.qparams(id);
                self.assign(id, &layer.call(to, &unary(kind, to)));
                Ok(to.map_or(Form::Float, Form::Integer))
            }
            None => {
                let sum = layer.call(None, &unary(None, None));
                let value = kind.map_or(sum.clone(), |kind| activation(kind, &sum));
                self.assign(id, &value);
                Ok(self.stored(id))
            }
        }
    }

    /// A convolution and what is added to it: in the integers of the sum, where the kernel can.
    fn integer_sum(
        &mut self,
        id: NodeId,
        layer: &Layer,
        kind: Option<Activation>,
        addend: NodeId,
    ) -> Form {
        if let Form::Integer(before) = self.forms[addend.index()]
            && let Some(to) = self.network.qparams(id)
            && (matches!(kind, None | Some(Activation::Relu)) || saturates(kind, to))
        {
            let sum = match self.is_last_use(addend, id) {
                true => v(addend),
                false => format!("torch.clone({})", v(addend)),
            };
            let unary = if kind.is_some() { "\"relu\"" } else { "None" };
            self.assign(id, &layer.call_on(&sum, before, to, unary));
            return Form::Integer(to);
        }
        let addend = self.float(addend);
        let sum = format!(
            "torch.add({}, {addend})",
            layer.call(None, &unary(None, None))
        );
        let value = kind.map_or(sum.clone(), |kind| activation(kind, &sum));
        self.assign(id, &value);
        self.stored(id)
    }

    pub(super) fn integer_linear(
        &mut self,
        id: NodeId,
        linear: &Linear,
        weight: &'a Int8Weight,
    ) -> Result<Form> {
        let input = self.graph[id].inputs[0];
        let Weights {
            weight,
            added,
            scale,
            zeros,
        } = self.integer_weights(id, weight);
        if added {
            let shape = format!("[{}, {}]", self.batches.usual, linear.in_features);
            let packed = format!("{weight} = ops.onednn.qlinear_prepack({weight}, {shape})");
            self.parameters.prepare(&packed);
        }
        let bias = self.bias(id, true)?;
        let (x, range) = match self.forms[input.index()] {
            Form::Integer(from) => (v(input), range(from)),
            Form::Float => self.measured(id, input),
        };
        let to = self.network.qparams(id);
        let value = format!(
            "ops.onednn.qlinear_pointwise({x}, {range}, {weight}, {scale}, {zeros}, {bias}, {}, \
             \"none\", {NO_SCALARS}, \"\")",
            stored_as(to)
        );
        self.assign(id, &value);
        Ok(to.map_or(Form::Float, Form::Integer))
    }

    /// Rounds a value to integers that cover its range in this batch.
    fn measured(&mut self, id: NodeId, input: NodeId) -> (String, String) {
        let [range, scale, zero, q] =
            ["r", "s", "z", "q"].map(|name| format!("{name}{}", id.index()));
        let x = self.float(input);
        let lines = [
            format!("{range} = torch.aminmax({x})"),
            format!("{range}l = torch.clamp(({range})[0], None, 0.)"),
            format!("{range}h = torch.clamp(({range})[1], 0., None)"),
            format!(
                "{scale} = torch.clamp(torch.div(torch.sub({range}h, {range}l), 255.), 1e-30, None)"
            ),
            format!("{zero} = torch.to(torch.round(torch.div(torch.neg({range}l), {scale})), 3)"),
            format!("{q} = torch.add(torch.round(torch.div({x}, {scale})), {zero})"),
            format!("{q} = torch.to(torch.clamp({q}, 0, 255), {UINT8})"),
        ];
        for line in lines {
            self.line(&line);
        }
        (q, format!("{scale}, {zero}"))
    }

    fn integer_weights(&mut self, id: NodeId, weight: &'a Int8Weight) -> Weights {
        let outputs = weight.scales().len();
        let zeros = Tensor {
            shape: vec![outputs],
            values: Values::I32(vec![0; outputs]),
        };
        let (own, added) = self.attribute("weight", id, Cow::Borrowed(weight.tensor()));
        Weights {
            weight: own,
            added,
            scale: self
                .attribute("scale", id, Cow::Borrowed(weight.scale_tensor()))
                .0,
            zeros: self.attribute("zeros", id, Cow::Owned(zeros)).0,
        }
    }
}

/// The attributes of a layer's integer weights.
struct Weights {
    weight: String,
    /// Whether they are new in the module.
    added: bool,
    scale: String,
    zeros: String,
}

/// The arguments of a convolution that all its calls share.
struct Layer {
    /// The input and the weights.
    before: String,
    bias: String,
    window: String,
}

impl Layer {
    fn call(&self, to: Option<QuantizationParameters>, unary: &str) -> String {
        let Self {
            before,
            bias,
            window,
        } = self;
        let to = stored_as(to);
        format!("ops.onednn.qconv2d_pointwise({before}, {bias}, {window}, {to}, {unary}, \"\")")
    }

    /// Adds to `sum`, which is overwritten.
    fn call_on(
        &self,
        sum: &str,
        from: QuantizationParameters,
        to: QuantizationParameters,
        unary: &str,
    ) -> String {
        let Self {
            before,
            bias,
            window,
        } = self;
        let (from, to) = (range(from), stored_as(Some(to)));
        format!(
            "ops.onednn.qconv2d_pointwise({before}, {sum}, {bias}, {window}, {to}, {from}, \
             \"sum\", 1.0, {unary}, {NO_SCALARS}, \"\")"
        )
    }
}

/// Scale and zero point as arguments.
fn range(qparams: QuantizationParameters) -> String {
    format!("{:?}, {}", f64::from(qparams.scale), qparams.zero_point)
}

/// Output scale, zero point and element type of an integer kernel.
fn stored_as(to: Option<QuantizationParameters>) -> String {
    match to {
        Some(to) => format!("{}, {UINT8}", range(to)),
        None => format!("1., 0, {FLOAT}"),
    }
}

/// Whether the integers themselves cut off what the activation would.
fn saturates(kind: Option<Activation>, to: QuantizationParameters) -> bool {
    let largest = to.dequantize(255);
    kind == Some(Activation::Relu6) && to.zero_point == 0 && largest <= 6.0 * (1.0 + 1e-6)
}

/// Whether integer kernels apply an activation.
fn is_fused(kind: Activation) -> bool {
    match kind {
        Activation::Relu | Activation::Relu6 | Activation::Hardswish | Activation::Silu => true,
        Activation::Hardsigmoid | Activation::Sigmoid | Activation::Gelu => false,
    }
}

/// oneDNN's name and numbers of the activation after an integer kernel.
fn unary(kind: Option<Activation>, to: Option<QuantizationParameters>) -> String {
    match kind {
        Some(Activation::Relu6) if to.is_some_and(|to| saturates(kind, to)) => {
            format!("\"relu\", {NO_SCALARS}")
        }
        _ => {
            let (name, scalars) = fused_activation(kind);
            format!("\"{name}\", {scalars}")
        }
    }
}
