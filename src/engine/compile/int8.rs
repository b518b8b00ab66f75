//! Layers with integer weights.

use std::borrow::Cow;

use super::float::NO_SCALARS;
use super::{Compiler, Form, activation, pair};
use crate::engine::precision::Arithmetic;
use crate::error::Result;
use crate::graph::{Activation, Affine, Conv2d, Linear};
use crate::weights::{Tensor, Values};

/// libtorch's numbers for element types.
const UINT8: u8 = 0;
const FLOAT: u8 = 6;

impl Compiler<'_, '_> {
    /// Whether a layer runs in oneDNN's integer kernels: its weights are integers, and so is its
    /// input, or it is a linear layer that can find its input's range as it comes.
    pub(super) fn is_integer_layer(&self, place: usize) -> bool {
        let node = &self.network.graph.nodes()[place];
        let linear = matches!(node.op, crate::graph::Op::Linear(_));
        self.target.fused
            && self.target.arithmetic == Arithmetic::Int8
            && self.network.is_int8(place)
            && (linear || matches!(self.forms[node.inputs[0]], Form::Integer(_)))
    }

    pub(super) fn integer_convolution(&mut self, place: usize, conv: &Conv2d) -> Result<Form> {
        let node = &self.network.graph.nodes()[place];
        let input = node.inputs[0];
        let Form::Integer(from) = self.forms[input] else {
            anyhow::bail!("{} takes integers", node.name);
        };
        let zero = from.zero_point.to_string();
        let (x, padding, map) = self.padded(place, &format!("v{input}"), conv, &zero);
        let (stride, padding) = (pair(conv.stride), pair(padding));
        let window = format!(
            "{stride}, {padding}, {}, {}",
            pair(conv.dilation),
            conv.groups
        );
        let range = range(from);
        let (weight, scale, zeros) = self.integer_weights(place)?;
        let weight = self.packed(place, &weight, |batch| {
            let shape = format!("[{batch}, {map}]");
            format!("ops.onednn.qconv_prepack({weight}, {scale}, {range}, {window}, {shape})")
        });
        let layer = Layer {
            before: format!("{x}, {range}, {weight}, {scale}, {zeros}"),
            bias: self.bias(place, conv.bias)?,
            window,
        };
        let kind = conv.epilogue.activation;
        match node.inputs.get(1) {
            Some(&addend) => self.integer_sum(place, &layer, kind, addend),
            None => {
                let to = self.network.affine(place);
                self.assign(place, &layer.call(to, &unary(kind, to)));
                Ok(to.map_or(Form::Float, Form::Integer))
            }
        }
    }

    /// A convolution and what is added to it: in the integers of the sum, where the kernel can.
    fn integer_sum(
        &mut self,
        place: usize,
        layer: &Layer,
        kind: Option<Activation>,
        addend: usize,
    ) -> Result<Form> {
        if let Form::Integer(before) = self.forms[addend]
            && let Some(to) = self.network.affine(place)
            && (matches!(kind, None | Some(Activation::Relu)) || saturates(kind, to))
        {
            let sum = match self.is_last_use(addend, place) {
                true => format!("v{addend}"),
                false => format!("torch.clone(v{addend})"),
            };
            let unary = if kind.is_some() { "\"relu\"" } else { "None" };
            self.assign(place, &layer.call_on(&sum, before, to, unary));
            return Ok(Form::Integer(to));
        }
        let addend = self.float(addend);
        let sum = format!(
            "torch.add({}, {addend})",
            layer.call(None, &unary(None, None))
        );
        let value = kind.map_or(sum.clone(), |kind| activation(kind, &sum));
        self.assign(place, &value);
        self.stored(place)
    }

    pub(super) fn integer_linear(&mut self, place: usize, linear: &Linear) -> Result<Form> {
        let input = self.network.graph.nodes()[place].inputs[0];
        let (weight, scale, zeros) = self.integer_weights(place)?;
        let shape = format!("[{}, {}]", self.batches.usual, linear.in_features);
        self.prepare.push_str(&format!(
            "    {weight} = ops.onednn.qlinear_prepack({weight}, {shape})\n"
        ));
        let bias = self.bias(place, true)?;
        let (x, range) = match self.forms[input] {
            Form::Integer(from) => (format!("v{input}"), range(from)),
            Form::Float => self.measured(place, input),
        };
        let to = self.network.affine(place);
        let value = format!(
            "ops.onednn.qlinear_pointwise({x}, {range}, {weight}, {scale}, {zeros}, {bias}, {}, \
             \"none\", {NO_SCALARS}, \"\")",
            stored_as(to)
        );
        self.assign(place, &value);
        Ok(to.map_or(Form::Float, Form::Integer))
    }

    /// Rounds a value to integers that cover its range in this batch.
    fn measured(&mut self, place: usize, input: usize) -> (String, String) {
        let [range, scale, zero, q] = ["r", "s", "z", "q"].map(|name| format!("{name}{place}"));
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

    /// The attributes of a layer's integer weights: the weights, their scales, and zeros.
    fn integer_weights(&mut self, place: usize) -> Result<(String, String, String)> {
        let weight = self.network.tensor(place, "weight")?;
        let scale = self.network.tensor(place, "weight_scale")?;
        let outputs = scale.len();
        let zeros = Tensor {
            shape: vec![outputs],
            values: Values::I32(vec![0; outputs]),
        };
        Ok((
            self.attribute(&format!("weight{place}"), Cow::Borrowed(weight)),
            self.attribute(&format!("scale{place}"), Cow::Borrowed(scale)),
            self.attribute(&format!("zeros{place}"), Cow::Owned(zeros)),
        ))
    }
}

/// The arguments of a convolution that all its calls share.
struct Layer {
    /// The input and the weights.
    before: String,
    bias: String,
    window: String,
}

impl Layer {
    fn call(&self, to: Option<Affine>, unary: &str) -> String {
        let Self {
            before,
            bias,
            window,
        } = self;
        let to = stored_as(to);
        format!("ops.onednn.qconv2d_pointwise({before}, {bias}, {window}, {to}, {unary}, \"\")")
    }

    /// Adds to `sum`, which is overwritten.
    fn call_on(&self, sum: &str, from: Affine, to: Affine, unary: &str) -> String {
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
fn range(affine: Affine) -> String {
    format!("{:?}, {}", f64::from(affine.scale), affine.zero_point)
}

/// Output scale, zero point and element type of an integer kernel.
fn stored_as(to: Option<Affine>) -> String {
    match to {
        Some(to) => format!("{}, {UINT8}", range(to)),
        None => format!("1., 0, {FLOAT}"),
    }
}

/// Whether the integers themselves cut off what the activation would.
fn saturates(kind: Option<Activation>, to: Affine) -> bool {
    let largest = to.dequantize(255);
    kind == Some(Activation::Relu6) && to.zero_point == 0 && largest <= 6.0 * (1.0 + 1e-6)
}

/// oneDNN's name and numbers of the activation after an integer kernel.
fn unary(kind: Option<Activation>, to: Option<Affine>) -> String {
    match kind {
        Some(Activation::Relu6) if to.is_some_and(|to| saturates(kind, to)) => {
            format!("\"relu\", {NO_SCALARS}")
        }
        _ => {
            let (name, scalars) = super::float::fused_activation(kind);
            format!("\"{name}\", {scalars}")
        }
    }
}
