//! Layers with float weights.

use std::borrow::Cow;

use super::{Method, activation, both, pair};
use crate::error::Result;
use crate::graph::{Activation, Conv2d, NodeId, Op, Weight};
use crate::weights::Tensor;

/// An empty list of numbers needs its type.
pub(super) const NO_SCALARS: &str = "annotate(List[Optional[number]], [])";

/// The input of a convolution, padded by hand where the sides differ.
pub(super) struct Padded {
    pub x: String,
    /// What is left for the operator: rows and columns on either side.
    pub padding: [usize; 2],
    /// The shape `[channels, height, width]` that the operator takes.
    pub shape: [usize; 3],
}

impl Method<'_, '_> {
    pub(super) fn convolution(&mut self, id: NodeId, conv: &Conv2d) -> Result<String> {
        let graph = self.graph;
        let inputs = &graph[id].inputs;
        let x = self.float(inputs[0]);
        let Padded { x, padding, shape } = self.padded(id, &x, conv, "0.");
        let (stride, padding) = (pair(conv.stride), both(padding));
        let rest = format!("{}, {}", pair(conv.dilation), conv.groups);
        if !self.target.fused {
            let window = format!("{stride}, {padding}, {rest}");
            return self.plain_convolution(id, conv, &x, &window);
        }
        // The fused operators want the padding first.
        let window = format!("{padding}, {stride}, {rest}");
        let (weight, added) = self.weight(id)?;
        let weight = self.packed(id, &weight, added, |batch| {
            let [c, h, w] = shape;
            let shape = format!("[{batch}, {c}, {h}, {w}]");
            format!("ops.mkldnn._reorder_convolution_weight({weight}, {window}, {shape})")
        });
        let bias = self.bias(id, conv.bias)?;
        let kind = conv.epilogue.activation;
        if !conv.epilogue.add {
            let (name, scalars) = fused_activation(kind);
            let algorithm = match kind {
                Some(Activation::Gelu) => "\"none\"",
                _ => "None",
            };
            return Ok(format!(
                "ops.mkldnn._convolution_pointwise({x}, {weight}, {bias}, {window}, \"{name}\", \
                 {scalars}, {algorithm})"
            ));
        }
        let addend = self.float(inputs[1]);
        // Only ReLU can follow a fused sum.
        let unary = match kind {
            Some(Activation::Relu) => "\"relu\"",
            _ => "None",
        };
        let tail = format!("{weight}, {bias}, {window}, \"add\", 1.0, {unary}, {NO_SCALARS}, None");
        let sum = match self.is_last_use(inputs[1], id) {
            true => format!("ops.mkldnn._convolution_pointwise_({addend}, {x}, {tail})"),
            false => format!("ops.mkldnn._convolution_pointwise({x}, {addend}, {tail})"),
        };
        Ok(match kind {
            None | Some(Activation::Relu) => sum,
            Some(kind) => activation(kind, &sum),
        })
    }

    fn plain_convolution(
        &mut self,
        id: NodeId,
        conv: &Conv2d,
        x: &str,
        window: &str,
    ) -> Result<String> {
        let (weight, _) = self.weight(id)?;
        let bias = self.bias(id, conv.bias)?;
        let mut value = format!("torch.conv2d({x}, {weight}, {bias}, {window})");
        if conv.epilogue.add {
            value = format!(
                "torch.add({value}, {})",
                self.float(self.graph[id].inputs[1])
            );
        }
        Ok(match conv.epilogue.activation {
            Some(kind) => activation(kind, &value),
            None => value,
        })
    }

    pub(super) fn linear(&mut self, id: NodeId) -> Result<String> {
        let x = self.float(self.graph[id].inputs[0]);
        let (weight, _) = self.weight(id)?;
        let bias = self.bias(id, true)?;
        Ok(format!("torch.linear({x}, {weight}, {bias})"))
    }

    /// The input `x` of a convolution; `zero` is what its zeros are stored as.
    pub(super) fn padded(&mut self, id: NodeId, x: &str, conv: &Conv2d, zero: &str) -> Padded {
        let [rows, columns] = conv.padding;
        let shape = &self.graph[self.graph[id].inputs[0]].shape;
        let grown = |rows: usize, columns: usize| [shape[0], shape[1] + rows, shape[2] + columns];
        if conv.padding.iter().all(|sides| sides.before == sides.after) {
            return Padded {
                x: x.into(),
                padding: [rows.before, columns.before],
                shape: grown(0, 0),
            };
        }
        let shape = grown(rows.before + rows.after, columns.before + columns.after);
        let sides = [columns.before, columns.after, rows.before, rows.after];
        let sides = format!("{sides:?}");
        let padded = format!("p{}", id.index());
        self.line(&format!(
            "{padded} = torch.constant_pad_nd({x}, {sides}, {zero})"
        ));
        Padded {
            x: padded,
            padding: [0; 2],
            shape,
        }
    }

    /// A weight as a fused operator takes it in this method: packed once for each batch size, or as for
    /// the usual one where the order is the same. If it is `added` now, what it was made of is freed.
    pub(super) fn packed(
        &mut self,
        id: NodeId,
        weight: &str,
        added: bool,
        reordered: impl Fn(usize) -> String,
    ) -> String {
        let usual = self.batches.usual;
        let own = |size: usize| format!("self.packed{size}_{}", id.index());
        if added {
            let order = |size| format!("ops.mkldnn._get_mkldnn_serialized_md({})", own(size));
            for size in [usual].into_iter().chain(self.batches.others()) {
                let empty = Cow::Owned(Tensor::f32([0], Vec::new()));
                self.attribute(&format!("packed{size}_"), id, empty);
                let prepare = &mut *self.parameters;
                prepare.prepare(&format!("{} = {}", own(size), reordered(size)));
                if size != usual {
                    let same = format!("torch.equal({}, {})", order(size), order(usual));
                    let shared = format!("{} = {}", own(size), own(usual));
                    prepare.prepare(&format!(
                        "if {same}:\n      {shared}\n    else:\n      pass"
                    ));
                }
            }
            self.parameters
                .prepare(&format!("{weight} = torch.empty([0])"));
            self.parameters.packed = true;
        }
        own(self.packing)
    }

    /// The float weight of a layer, and whether it is new in the module.
    fn weight(&mut self, id: NodeId) -> Result<(String, bool)> {
        match self.network.weight(id)? {
            Weight::Float(_) => self.parameter(id, "weight"),
            Weight::Int8(weight) => {
                Ok(self.attribute("weight", id, Cow::Owned(weight.dequantized())))
            }
        }
    }

    pub(super) fn bias(&mut self, id: NodeId, has_bias: bool) -> Result<String> {
        match has_bias {
            true => Ok(self.parameter(id, "bias")?.0),
            false => Ok("None".into()),
        }
    }

    /// Whether a convolution may overwrite what it adds: it reads it last and does not convolve it,
    /// it is not the caller's image, and nobody looks at it afterwards.
    pub(super) fn is_last_use(&self, value: NodeId, reader: NodeId) -> bool {
        let graph = self.graph;
        graph[value].op != Op::Input
            && graph[reader].inputs[0] != value
            && !self.observed.contains(&value)
            && graph.output() != value
            && graph.readers(value).last() == Some(&reader)
    }
}

/// oneDNN's name and scalars of an activation.
pub(super) fn fused_activation(kind: Option<Activation>) -> (&'static str, &'static str) {
    match kind {
        None => ("none", NO_SCALARS),
        Some(Activation::Relu) => ("relu", NO_SCALARS),
        Some(Activation::Relu6) => ("hardtanh", "annotate(List[Optional[number]], [0., 6.])"),
        Some(Activation::Hardswish) => ("hardswish", NO_SCALARS),
        Some(Activation::Hardsigmoid) => ("hardsigmoid", NO_SCALARS),
        Some(Activation::Silu) => ("swish", NO_SCALARS),
        Some(Activation::Sigmoid) => ("sigmoid", NO_SCALARS),
        Some(Activation::Gelu) => ("gelu", NO_SCALARS),
    }
}
