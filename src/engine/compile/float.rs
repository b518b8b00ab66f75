//! Layers with float weights.

use std::borrow::Cow;

use super::{Compiler, Form, PACKED, PACKED_FOR_ONE, activation, pair};
use crate::error::Result;
use crate::graph::{Activation, Conv2d, Op};
use crate::weights::{Tensor, Values};

/// An empty list of numbers needs its type.
pub(super) const NO_SCALARS: &str = "annotate(List[Optional[number]], [])";

impl Compiler<'_, '_> {
    pub(super) fn convolution(&mut self, place: usize, conv: &Conv2d) -> Result<String> {
        let node = &self.network.graph.nodes()[place];
        let x = self.float(node.inputs[0]);
        let (x, padding, map) = self.padded(place, &x, conv, "0.");
        let (stride, padding) = (pair(conv.stride), pair(padding));
        let rest = format!("{}, {}", pair(conv.dilation), conv.groups);
        if !self.target.fused {
            let window = format!("{stride}, {padding}, {rest}");
            return self.plain_convolution(place, conv, &x, &window);
        }
        // The fused operators want the padding first.
        let window = format!("{padding}, {stride}, {rest}");
        let weight = self.packed(place, &window, &map)?;
        let bias = self.bias(place, conv.bias)?;
        let kind = conv.epilogue.activation;
        if !conv.epilogue.add {
            let (name, scalars) = fused_activation(kind);
            return Ok(format!(
                "ops.mkldnn._convolution_pointwise({x}, {weight}, {bias}, {window}, \"{name}\", \
                 {scalars}, None)"
            ));
        }
        let addend = self.float(node.inputs[1]);
        let owned = self.is_last_use(node.inputs[1], place);
        // Only ReLU can follow a fused sum.
        let unary = match kind {
            Some(Activation::Relu) => "\"relu\"",
            _ => "None",
        };
        let tail = format!("{weight}, {bias}, {window}, \"add\", 1.0, {unary}, {NO_SCALARS}, None");
        let sum = if owned {
            format!("ops.mkldnn._convolution_pointwise_({addend}, {x}, {tail})")
        } else {
            format!("ops.mkldnn._convolution_pointwise({x}, {addend}, {tail})")
        };
        Ok(match kind {
            None | Some(Activation::Relu) => sum,
            Some(kind) => activation(kind, &sum),
        })
    }

    fn plain_convolution(
        &mut self,
        place: usize,
        conv: &Conv2d,
        x: &str,
        window: &str,
    ) -> Result<String> {
        let node = &self.network.graph.nodes()[place];
        let weight = self.weight(place)?;
        let bias = self.bias(place, conv.bias)?;
        let mut value = format!("torch.conv2d({x}, {weight}, {bias}, {window})");
        if conv.epilogue.add {
            value = format!("torch.add({value}, {})", self.float(node.inputs[1]));
        }
        Ok(match conv.epilogue.activation {
            Some(kind) => activation(kind, &value),
            None => value,
        })
    }

    pub(super) fn linear(&mut self, place: usize) -> Result<String> {
        let x = self.float(self.network.graph.nodes()[place].inputs[0]);
        let weight = self.weight(place)?;
        let bias = self.bias(place, true)?;
        Ok(format!("torch.linear({x}, {weight}, {bias})"))
    }

    /// The mean over height and width; of integers without their real numbers in between.
    pub(super) fn global_average(&mut self, input: usize) -> String {
        match self.forms[input] {
            Form::Float => format!("torch.adaptive_avg_pool2d({}, [1, 1])", self.float(input)),
            Form::Integer(affine) => {
                let mean = format!("torch.mean(v{input}, [2, 3], True, dtype=6)");
                super::dequantized(&mean, affine)
            }
        }
    }

    /// Pads by hand where the sides differ, says how much is left for the operator, and gives the
    /// shape of a feature map that it takes, without the brackets and the batch.
    pub(super) fn padded(
        &mut self,
        place: usize,
        x: &str,
        conv: &Conv2d,
        zero: &str,
    ) -> (String, usize, String) {
        let (before, after) = (conv.padding.before, conv.padding.after);
        let graph = &self.network.graph;
        let shape = &graph.nodes()[graph.nodes()[place].inputs[0]].shape;
        let map =
            |grown: usize| format!("{}, {}, {}", shape[0], shape[1] + grown, shape[2] + grown);
        if before == after {
            return (x.into(), before, map(0));
        }
        let map = map(before + after);
        let sides = format!("[{before}, {after}, {before}, {after}]");
        let padded = format!("p{place}");
        self.line(&format!(
            "{padded} = torch.constant_pad_nd({x}, {sides}, {zero})"
        ));
        (padded, 0, map)
    }

    /// A weight as the fused operators take it, in one copy if its order for a batch is that for
    /// a single picture.
    fn packed(&mut self, place: usize, window: &str, map: &str) -> Result<String> {
        let weight = self.weight(place)?;
        let [many, one] = [PACKED, PACKED_FOR_ONE].map(|name| format!("{name}{place}"));
        for own in [&many, &one] {
            let empty = Tensor::f32([0], Vec::new());
            self.attribute(own.trim_start_matches("self."), Cow::Owned(empty));
        }
        let reordered = |batch: usize| {
            let shape = format!("[{batch}, {map}]");
            format!("ops.mkldnn._reorder_convolution_weight({weight}, {window}, {shape})")
        };
        let order = |own: &str| format!("ops.mkldnn._get_mkldnn_serialized_md({own})");
        let (for_many, for_one) = (reordered(self.batch), reordered(1));
        let same = format!("torch.equal({}, {})", order(&many), order(&one));
        self.prepare.push_str(&format!(
            "    {many} = {for_many}\n    {one} = {for_one}\n    {weight} = torch.empty([0])\n    \
             if {same}:\n      {one} = {many}\n    else:\n      pass\n"
        ));
        Ok(many)
    }

    fn weight(&mut self, place: usize) -> Result<String> {
        if !self.network.is_int8(place) {
            return self.parameter(place, "weight");
        }
        let real = self.dequantized_weight(place)?;
        Ok(self.attribute(&format!("weight{place}"), Cow::Owned(real)))
    }

    pub(super) fn bias(&mut self, place: usize, has_bias: bool) -> Result<String> {
        match has_bias {
            true => self.parameter(place, "bias"),
            false => Ok("None".into()),
        }
    }

    /// Integer weights as the real numbers that they stand for.
    fn dequantized_weight(&self, place: usize) -> Result<Tensor> {
        let weight = self.network.tensor(place, "weight")?;
        let scale = self.network.tensor(place, "weight_scale")?;
        let (Values::I8(q), Some(scale)) = (&weight.values, scale.as_f32()) else {
            anyhow::bail!("int8 weights have float scales");
        };
        let row = (q.len() / scale.len().max(1)).max(1);
        let real = q.iter().enumerate();
        let real = real.map(|(at, &q)| f32::from(q) * scale[at / row]);
        Ok(Tensor::f32(weight.shape.clone(), real.collect()))
    }

    /// Whether a convolution may overwrite what it adds: it reads it last and does not convolve it,
    /// it is not the caller's picture, and nobody looks at it afterwards.
    pub(super) fn is_last_use(&self, value: usize, reader: usize) -> bool {
        let graph = &self.network.graph;
        graph.nodes()[value].op != Op::Input
            && graph.nodes()[reader].inputs[0] != value
            && self.observed.is_empty()
            && graph.output() != value
            && graph.readers(value).last() == Some(&reader)
    }
}

/// oneDNN's name and numbers of an activation.
pub(super) fn fused_activation(kind: Option<Activation>) -> (&'static str, &'static str) {
    match kind {
        None => ("none", NO_SCALARS),
        Some(Activation::Relu) => ("relu", NO_SCALARS),
        Some(Activation::Relu6) => ("hardtanh", "annotate(List[Optional[number]], [0., 6.])"),
        Some(Activation::Hardswish) => ("hardswish", NO_SCALARS),
        Some(Activation::Hardsigmoid) => ("hardsigmoid", NO_SCALARS),
        Some(Activation::Silu) => ("swish", NO_SCALARS),
        Some(Activation::Sigmoid) => ("sigmoid", NO_SCALARS),
    }
}
