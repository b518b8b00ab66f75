//! From a graph to ONNX nodes and initializers.

use super::{INPUT, OUTPUT};
use crate::error::Result;
use crate::graph::{
    Activation, Conv2d, InferenceGraph, NodeId, Op, Padding, Pool2d, QuantizationParameters,
};
use crate::inference::onnx::proto::{Attribute, FLOAT, Initializer, Node};
use crate::weights::Tensor;

/// The opset that brought HardSwish.
const HARD_SWISH: i64 = 14;

/// Walks a network. What a node adds is named after it: `fc.weight`, `layer1.0.conv1.relu`.
pub(super) struct Writer<'a> {
    pub(super) network: &'a InferenceGraph,
    pub(super) opset: i64,
    nodes: Vec<Node>,
    initializers: Vec<Initializer>,
    /// Names of the float values of the graph's nodes.
    values: Vec<String>,
    /// How they were rounded.
    qparams: Vec<Option<QuantizationParameters>>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(network: &'a InferenceGraph, opset: i64) -> Self {
        Self {
            network,
            opset,
            nodes: Vec::new(),
            initializers: Vec::new(),
            values: Vec::new(),
            qparams: Vec::new(),
        }
    }

    pub(super) fn write(mut self) -> Result<(Vec<Node>, Vec<Initializer>)> {
        for id in self.network.graph().ids() {
            self.node(id)?;
        }
        // The last node computes the output, since nothing is written that it does not depend on.
        if let Some(last) = self.nodes.last_mut() {
            last.output = vec![OUTPUT.into()];
        }
        Ok((self.nodes, self.initializers))
    }

    /// Writes a node, and rounds its value as the network is quantized.
    fn node(&mut self, id: NodeId) -> Result<()> {
        let value = self.operator(id)?;
        let node = &self.network.graph()[id];
        let own = self.network.qparams(id);
        let qparams = match node.op {
            // The largest integer is that of the largest number.
            Op::MaxPool2d(_) | Op::Slice { .. } | Op::ChannelShuffle { .. } => {
                self.input_qparams(id).or(own)
            }
            _ => own,
        };
        let value = match qparams {
            Some(qparams) => self.rounded(&node.name, &value, qparams)?,
            None => value,
        };
        self.values.push(value);
        self.qparams.push(qparams);
        Ok(())
    }

    /// Writes a node's operators; gives the name of its float value.
    fn operator(&mut self, id: NodeId) -> Result<String> {
        let node = &self.network.graph()[id];
        let name = node.name.as_str();
        let inputs: Vec<String> = node
            .inputs
            .iter()
            .map(|&input| self.values[input.index()].clone())
            .collect();
        let all: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let over_channels = || vec![Attribute::int("axis", 1)];
        Ok(match &node.op {
            Op::Input => INPUT.into(),
            Op::PixelsToFloat => {
                let to_float = Attribute::int("to", FLOAT.into());
                let x = self.push("Cast", format!("{name}.float"), &all, vec![to_float]);
                let order = Attribute::ints("perm", [0, 3, 1, 2]);
                self.push("Transpose", name.into(), &[&x], vec![order])
            }
            Op::Normalize { scale, shift } => self.normalize(name, all[0], scale, shift)?,
            Op::Conv2d(conv) => self.convolution(id, conv, &all)?,
            Op::BatchNorm2d(norm) => {
                let mut inputs = inputs.clone();
                for suffix in ["weight", "bias", "running_mean", "running_var"] {
                    inputs.push(self.parameter(id, suffix)?);
                }
                let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
                let eps = Attribute::float("epsilon", norm.eps as f32);
                self.push("BatchNormalization", name.into(), &inputs, vec![eps])
            }
            Op::LayerNorm(norm) => self.layer_norm(id, norm, all[0])?,
            Op::LayerScale { .. } => {
                let scale = self.network.parameter(id, "")?;
                let scale = self.constant(format!("{name}.scale"), scale)?;
                self.push("Mul", name.into(), &[all[0], &scale], vec![])
            }
            Op::Linear(_) if node.shape.len() > 1 => self.linear_of_tokens(id, all[0])?,
            Op::Linear(_) if self.is_measured(id) => self.measured_linear(id, all[0])?,
            Op::Linear(_) => {
                let (weight, bias) = self.layer(id)?;
                let rows = Attribute::int("transB", 1);
                self.push("Gemm", name.into(), &[all[0], &weight, &bias], vec![rows])
            }
            Op::Activation(kind) => self.activation(name, *kind, all[0])?,
            Op::MaxPool2d(pool) => {
                let attributes = self.window(id, pool);
                self.push("MaxPool", name.into(), &all, attributes)
            }
            Op::AvgPool2d(pool) => {
                let mut attributes = self.window(id, pool);
                attributes.push(Attribute::int("count_include_pad", 1));
                self.push("AveragePool", name.into(), &all, attributes)
            }
            Op::GlobalAvgPool => self.push("GlobalAveragePool", name.into(), &all, vec![]),
            Op::Add => self.push("Add", name.into(), &all, vec![]),
            Op::Mul => self.push("Mul", name.into(), &all, vec![]),
            Op::Concat => self.push("Concat", name.into(), &all, over_channels()),
            Op::Slice { start, end } => self.slice(name, all[0], *start..*end)?,
            Op::ChannelShuffle { groups } => self.channel_shuffle(name, all[0], node, *groups)?,
            Op::Tokens => {
                let last = Attribute::ints("perm", [0, 2, 3, 1]);
                let pixels = format!("{name}.pixels");
                let pixels = self.push("Transpose", pixels, &all, vec![last]);
                self.reshape(name, &pixels, &node.shape)?
            }
            Op::ClassToken { features } => self.class_token(id, all[0], *features)?,
            Op::PositionEmbedding { .. } => {
                let embedding = self.network.parameter(id, "")?;
                let embedding = self.constant(format!("{name}.embedding"), embedding)?;
                self.push("Add", name.into(), &[all[0], &embedding], vec![])
            }
            Op::Attention { heads } => self.attention(name, all[0], node, *heads)?,
            Op::FirstToken => {
                let first = self.integers(format!("{name}.index"), &[], vec![0])?;
                self.push("Gather", name.into(), &[all[0], &first], over_channels())
            }
            Op::Flatten => self.push("Flatten", name.into(), &all, over_channels()),
            Op::Softmax => self.push("Softmax", name.into(), &all, over_channels()),
            Op::Dropout { .. } | Op::StochasticDepth { .. } => inputs[0].clone(),
        })
    }

    fn convolution(&mut self, id: NodeId, conv: &Conv2d, inputs: &[&str]) -> Result<String> {
        let name = &self.network.graph()[id].name;
        let Conv2d {
            stride, dilation, ..
        } = *conv;
        let attributes = vec![
            Attribute::ints("kernel_shape", conv.kernel),
            Attribute::ints("strides", [stride, stride]),
            Attribute::ints("pads", pads(conv.padding)),
            Attribute::ints("dilations", [dilation, dilation]),
            Attribute::int("group", conv.groups as i64),
        ];
        let mut value = if conv.bias {
            let (weight, bias) = self.layer(id)?;
            let inputs = [inputs[0], &weight, &bias];
            self.push("Conv", name.clone(), &inputs, attributes)
        } else {
            let weight = self.weight(id)?;
            self.push("Conv", name.clone(), &[inputs[0], &weight], attributes)
        };
        if conv.epilogue.add {
            value = self.push("Add", format!("{name}.add"), &[&value, inputs[1]], vec![]);
        }
        match conv.epilogue.activation {
            Some(kind) => self.activation(&format!("{name}.activation"), kind, &value),
            None => Ok(value),
        }
    }

    fn activation(&mut self, name: &str, kind: Activation, x: &str) -> Result<String> {
        // relu6(x + 3) / 6, as PyTorch's; ONNX's own default slope is 0.2.
        let hard_sigmoid = || {
            vec![
                Attribute::float("alpha", 1.0 / 6.0),
                Attribute::float("beta", 0.5),
            ]
        };
        let own = name.to_owned();
        Ok(match kind {
            Activation::Relu => self.push("Relu", own, &[x], vec![]),
            Activation::Relu6 => {
                let [low, high] = [("low", 0.0), ("high", 6.0)]
                    .map(|(end, value)| self.scalar(format!("{name}.{end}"), value));
                self.push("Clip", own, &[x, &low?, &high?], vec![])
            }
            Activation::Sigmoid => self.push("Sigmoid", own, &[x], vec![]),
            Activation::Hardsigmoid => self.push("HardSigmoid", own, &[x], hard_sigmoid()),
            Activation::Hardswish if self.opset >= HARD_SWISH => {
                self.push("HardSwish", own, &[x], vec![])
            }
            Activation::Hardswish => {
                let gate = format!("{name}.gate");
                let gate = self.push("HardSigmoid", gate, &[x], hard_sigmoid());
                self.push("Mul", own, &[x, &gate], vec![])
            }
            Activation::Silu => {
                let gate = self.push("Sigmoid", format!("{name}.gate"), &[x], vec![]);
                self.push("Mul", own, &[x, &gate], vec![])
            }
            Activation::Gelu => self.gelu(name, x)?,
        })
    }

    fn normalize(
        &mut self,
        name: &str,
        x: &str,
        scale: &[f32; 3],
        shift: &[f32; 3],
    ) -> Result<String> {
        let mut value = x.to_owned();
        if *scale != [1.0; 3] {
            let factor = Tensor::f32([1, 3, 1, 1], scale.to_vec());
            let factor = self.constant(format!("{name}.factor"), &factor)?;
            value = self.push("Mul", format!("{name}.scaled"), &[&value, &factor], vec![]);
        }
        let shift = Tensor::f32([1, 3, 1, 1], shift.to_vec());
        let shift = self.constant(format!("{name}.shift"), &shift)?;
        Ok(self.push("Add", name.into(), &[&value, &shift], vec![]))
    }

    /// Adds an operator; its output has its own name, which is returned.
    pub(super) fn push(
        &mut self,
        operator: &str,
        name: String,
        inputs: &[&str],
        attribute: Vec<Attribute>,
    ) -> String {
        self.nodes.push(Node {
            input: inputs.iter().map(|&input| input.into()).collect(),
            output: vec![name.clone()],
            name: name.clone(),
            op_type: operator.into(),
            attribute,
        });
        name
    }

    /// As [`Writer::push`], for an operator with more outputs.
    pub(super) fn push_many(&mut self, operator: &str, name: &str, x: &str, outputs: &[&str]) {
        self.nodes.push(Node {
            input: vec![x.into()],
            output: outputs.iter().map(|&output| output.into()).collect(),
            name: name.into(),
            op_type: operator.into(),
            attribute: Vec::new(),
        });
    }

    pub(super) fn constant(&mut self, name: String, tensor: &Tensor) -> Result<String> {
        self.initializers
            .push(Initializer::new(name.clone(), tensor)?);
        Ok(name)
    }

    pub(super) fn scalar(&mut self, name: String, value: f32) -> Result<String> {
        self.constant(name, &Tensor::f32([], vec![value]))
    }

    /// A float parameter of a node.
    pub(super) fn parameter(&mut self, id: NodeId, suffix: &str) -> Result<String> {
        let tensor = self.network.parameter(id, suffix)?;
        self.constant(self.network.graph()[id].parameter(suffix), tensor)
    }

    /// Sizes are rounded up by padding.
    fn window(&self, id: NodeId, pool: &Pool2d) -> Vec<Attribute> {
        let graph = self.network.graph();
        let around = match graph[graph[id].inputs[0]].shape[..] {
            [_, height, width] => [height, width].map(|size| pool.around(size)),
            _ => [Padding::both(pool.padding); 2],
        };
        vec![
            Attribute::ints("kernel_shape", [pool.kernel; 2]),
            Attribute::ints("strides", [pool.stride; 2]),
            Attribute::ints("pads", pads(around)),
        ]
    }

    /// How the first input of a node was rounded.
    pub(super) fn input_qparams(&self, id: NodeId) -> Option<QuantizationParameters> {
        self.qparams[self.network.graph()[id].inputs[0].index()]
    }
}

/// Pixels above, to the left, below and to the right.
fn pads([rows, columns]: [Padding; 2]) -> [usize; 4] {
    [rows.before, columns.before, rows.after, columns.after]
}
