//! Layers with float weights.

use std::borrow::Cow;

use super::{Batches, Compiler, PACKED, activation, pair};
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
        let weight = self.weight(place)?;
        let weight = self.packed(place, &weight, |batch| {
            let shape = format!("[{batch}, {map}]");
            format!("ops.mkldnn._reorder_convolution_weight({weight}, {window}, {shape})")
        });
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

    /// A weight as a fused operator takes it for a number of pictures: once for the usual batch,
    /// and for the others where they want it in another order. What it was made of is given up.
    pub(super) fn packed(
        &mut self,
        place: usize,
        weight: &str,
        reordered: impl Fn(usize) -> String,
    ) -> String {
        let Batches { usual, others, .. } = self.batches;
        let own = |batch: usize| format!("{PACKED}{batch}_{place}");
        let order = |batch| format!("ops.mkldnn._get_mkldnn_serialized_md({})", own(batch));
        for &batch in [usual].iter().chain(others) {
            let empty = Cow::Owned(Tensor::f32([0], Vec::new()));
            self.attribute(own(batch).trim_start_matches("self."), empty);
            let (name, value) = (own(batch), reordered(batch));
            self.prepare.push_str(&format!("    {name} = {value}\n"));
            if batch != usual {
                let same = format!("torch.equal({}, {})", order(batch), order(usual));
                let shared = format!("{name} = {}", own(usual));
                self.prepare.push_str(&format!(
                    "    if {same}:\n      {shared}\n    else:\n      pass\n"
                ));
            }
        }
        self.prepare
            .push_str(&format!("    {weight} = torch.empty([0])\n"));
        own(usual)
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
