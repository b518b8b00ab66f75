//! The inference graph as other formats see it: a sequence of plain operators, without what only this
//! program's kernels fuse.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::graph::{
    Activation, BatchNorm2d, Conv2d, Epilogue, InferenceGraph, LayerNorm, NodeId, Op, Padding,
    Pool2d, QuantizationParameters, Weight,
};
use crate::weights::Tensor;

/// A network of plain operators.
pub(super) struct Lowered<'a> {
    /// In an order in which every input comes before its use; the last one computes the output.
    pub steps: Vec<Step<'a>>,
}

/// An operator, and the value that it computes.
pub(super) struct Step<'a> {
    /// Of the graph's node, or derived from it. No two steps have the same.
    pub name: String,
    pub operator: Operator<'a>,
    /// Positions of earlier steps.
    pub inputs: Vec<usize>,
    /// Of the value for one image: `[channels, height, width]` or `[features]`.
    pub shape: Vec<usize>,
    /// How the value is rounded to uint8 in an int8 network.
    pub qparams: Option<QuantizationParameters>,
}

/// What a step computes. Weights are in PyTorch's layouts.
pub(super) enum Operator<'a> {
    /// The images, whatever their layout.
    Input,
    /// From 8-bit pixels to floats from 0 to 255.
    PixelsToFloat,
    /// `x * scale + shift` for each channel.
    Affine {
        scale: Vec<f32>,
        shift: Vec<f32>,
    },
    /// By running statistics; one that no convolution could take in, or that was to be kept.
    BatchNorm2d(Running<'a>),
    /// Over the channels of each pixel.
    LayerNorm {
        norm: &'a LayerNorm,
        weight: &'a [f32],
        bias: &'a [f32],
    },
    /// Only in networks that are to be trained further.
    Dropout(f64),
    Conv2d {
        conv: &'a Conv2d,
        weight: Weight<'a>,
        bias: Vec<f32>,
        clamp: Option<Clamp>,
    },
    Linear {
        weight: Weight<'a>,
        bias: Vec<f32>,
        clamp: Option<Clamp>,
        /// Shape of the map that the features were flattened from, channels first.
        features: Vec<usize>,
    },
    Activation(Activation),
    MaxPool2d(&'a Pool2d),
    /// Counts padding.
    AvgPool2d(&'a Pool2d),
    GlobalAvgPool,
    Add {
        clamp: Option<Clamp>,
    },
    Mul,
    Concat,
    /// These channels.
    Slice(Range<usize>),
    /// Channel `g * n + i` of `groups` times `n` becomes channel `i * groups + g`.
    ChannelShuffle {
        groups: usize,
    },
    Flatten,
    Softmax,
}

/// A normalisation by running statistics. Each vector has a value for each channel.
pub(super) struct Running<'a> {
    pub norm: &'a BatchNorm2d,
    pub weight: &'a [f32],
    pub bias: &'a [f32],
    pub mean: &'a [f32],
    pub variance: &'a [f32],
}

impl Running<'_> {
    /// Scale and shift of `x * scale + shift`.
    pub(super) fn affine(&self) -> (Vec<f32>, Vec<f32>) {
        let scale = self.weight.iter().zip(self.variance);
        let scale = scale.map(|(&w, &v)| f64::from(w) / (f64::from(v) + self.norm.eps).sqrt());
        let scale: Vec<f64> = scale.collect();
        let shift = self.bias.iter().zip(self.mean).zip(&scale);
        let shift =
            shift.map(|((&b, &mean), scale)| (f64::from(b) - f64::from(mean) * scale) as f32);
        let shift = shift.collect();
        (scale.iter().map(|&scale| scale as f32).collect(), shift)
    }
}

/// An activation that many formats apply within another operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clamp {
    Relu,
    Relu6,
}

/// Zeros around a feature map, as TensorFlow and its relatives say it: rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Padded {
    /// None.
    Valid,
    /// As many as make the output `ceil(size / stride)`, an odd one after.
    Same,
    Explicit([Padding; 2]),
}

impl<'a> Lowered<'a> {
    /// Lowers a network.
    ///
    /// # Errors
    /// [`Error::Data`] for a parameter that is missing or not float32.
    pub(super) fn new(network: &'a InferenceGraph) -> Result<Self> {
        let mut lowering = Lowering {
            network,
            steps: Vec::new(),
            values: Vec::new(),
        };
        for id in network.graph().ids() {
            let value = lowering.node(id)?;
            lowering.values.push(value);
        }
        lowering.share_ranges();
        Ok(Self {
            steps: lowering.steps,
        })
    }

    /// The shape of a step's first input.
    pub(super) fn input_shape(&self, step: &Step<'_>) -> &[usize] {
        &self.steps[step.inputs[0]].shape
    }
}

impl Conv2d {
    /// Padding around an input of `height` x `width` pixels.
    pub(super) fn padded(&self, height: usize, width: usize) -> Padded {
        let [rows, columns] = self.reach();
        let same = |size, reach| Padding::same(size, reach, self.stride);
        match self.padding {
            padding if padding == [Padding::both(0); 2] => Padded::Valid,
            padding if padding == [same(height, rows), same(width, columns)] => Padded::Same,
            padding => Padded::Explicit(padding),
        }
    }

    /// Whether each channel is convolved by itself.
    pub(super) fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.groups == self.in_channels && self.groups == self.out_channels
    }
}

impl Clamp {
    fn of(kind: Activation) -> Option<Self> {
        match kind {
            Activation::Relu => Some(Self::Relu),
            Activation::Relu6 => Some(Self::Relu6),
            Activation::Hardswish
            | Activation::Hardsigmoid
            | Activation::Silu
            | Activation::Sigmoid
            | Activation::Gelu => None,
        }
    }
}

/// A sequence in the making.
struct Lowering<'a> {
    network: &'a InferenceGraph,
    steps: Vec<Step<'a>>,
    /// The step that computes the value of each node.
    values: Vec<usize>,
}

impl<'a> Lowering<'a> {
    /// Adds the steps of a node; gives the one that computes its value.
    fn node(&mut self, id: NodeId) -> Result<usize> {
        let network = self.network;
        let node = &network.graph()[id];
        let operator = match &node.op {
            Op::Conv2d(conv) => return self.convolution(id, conv),
            Op::Dropout { probability } => Operator::Dropout(*probability),
            Op::StochasticDepth { .. } => return Ok(self.values[node.inputs[0].index()]),
            Op::Tokens
            | Op::ClassToken { .. }
            | Op::PositionEmbedding { .. }
            | Op::Attention { .. }
            | Op::FirstToken => {
                let message = format!(
                    "{} {} has no counterpart in this format: choose --format onnx or torchscript",
                    node.op.name(),
                    node.name
                );
                return Err(Error::Usage(message).into());
            }
            Op::Input => Operator::Input,
            Op::PixelsToFloat => Operator::PixelsToFloat,
            Op::Normalize { scale, shift } => Operator::Affine {
                scale: scale.to_vec(),
                shift: shift.to_vec(),
            },
            Op::BatchNorm2d(norm) => self.running(id, norm)?,
            Op::LayerNorm(norm) => Operator::LayerNorm {
                norm,
                weight: floats(network.parameter(id, "weight")?)?,
                bias: floats(network.parameter(id, "bias")?)?,
            },
            Op::LayerScale { features, .. } => Operator::Affine {
                scale: floats(network.parameter(id, "")?)?.to_vec(),
                shift: vec![0.0; *features],
            },
            Op::Linear(_) => self.linear(id)?,
            Op::Activation(kind) => match self.clamped_linear(id, *kind) {
                Some(linear) => return Ok(linear),
                None => Operator::Activation(*kind),
            },
            Op::MaxPool2d(pool) => Operator::MaxPool2d(pool),
            Op::AvgPool2d(pool) => Operator::AvgPool2d(pool),
            Op::GlobalAvgPool => Operator::GlobalAvgPool,
            Op::Add => Operator::Add { clamp: None },
            Op::Mul => Operator::Mul,
            Op::Concat => Operator::Concat,
            Op::Slice { start, end } => Operator::Slice(*start..*end),
            Op::ChannelShuffle { groups } => Operator::ChannelShuffle { groups: *groups },
            Op::Flatten => Operator::Flatten,
            Op::Softmax => Operator::Softmax,
        };
        let inputs = node.inputs.iter().map(|input| self.values[input.index()]);
        let inputs = inputs.collect();
        let qparams = match node.op {
            // The largest integer is that of the largest number.
            Op::MaxPool2d(_) | Op::Slice { .. } | Op::ChannelShuffle { .. } => {
                self.qparams(node.inputs[0]).or(network.integer_qparams(id))
            }
            _ => network.integer_qparams(id),
        };
        Ok(self.push(node.name.clone(), operator, inputs, qparams, id))
    }

    /// A convolution, the residual that it adds, and its activation.
    fn convolution(&mut self, id: NodeId, conv: &'a Conv2d) -> Result<usize> {
        let network = self.network;
        let node = &network.graph()[id];
        let Epilogue { add, activation } = conv.epilogue;
        let clamp = activation.and_then(Clamp::of);
        let apart = activation.filter(|_| clamp.is_none());
        let own = network.integer_qparams(id);
        let before = own.filter(|_| apart.is_none());
        let qparams = match node.inputs.get(1) {
            Some(&addend) if add => before
                .zip(self.qparams(addend))
                .map(|(sum, addend)| self.before_add(id, sum, addend)),
            _ => before,
        };
        let operator = Operator::Conv2d {
            conv,
            weight: network.weight(id)?,
            bias: match conv.bias {
                true => floats(network.parameter(id, "bias")?)?.to_vec(),
                false => vec![0.0; conv.out_channels],
            },
            clamp: clamp.filter(|_| !add),
        };
        let inputs = vec![self.values[node.inputs[0].index()]];
        let mut value = self.push(node.name.clone(), operator, inputs, qparams, id);
        if add {
            let inputs = vec![value, self.values[node.inputs[1].index()]];
            let name = format!("{}.add", node.name);
            value = self.push(name, Operator::Add { clamp }, inputs, before, id);
        }
        if let Some(kind) = apart {
            let name = format!("{}.activation", node.name);
            value = self.push(name, Operator::Activation(kind), vec![value], own, id);
        }
        Ok(value)
    }

    fn linear(&self, id: NodeId) -> Result<Operator<'a>> {
        let graph = self.network.graph();
        let input = graph[id].inputs[0];
        let features = match graph[input].op {
            Op::Flatten => graph[graph[input].inputs[0]].shape.clone(),
            _ => graph[input].shape.clone(),
        };
        Ok(Operator::Linear {
            weight: self.network.weight(id)?,
            bias: floats(self.network.parameter(id, "bias")?)?.to_vec(),
            clamp: None,
            features,
        })
    }

    /// Clamps a linear layer that nothing else reads.
    fn clamped_linear(&mut self, id: NodeId, kind: Activation) -> Option<usize> {
        let graph = self.network.graph();
        let input = graph[id].inputs[0];
        let value = self.values[input.index()];
        let reads_alone = graph.only_reader(input) == Some(id);
        let kind = Clamp::of(kind).filter(|_| reads_alone)?;
        let Step {
            operator: Operator::Linear { clamp, .. },
            qparams,
            ..
        } = &mut self.steps[value]
        else {
            return None;
        };
        *clamp = Some(kind);
        *qparams = self.network.integer_qparams(id);
        Some(value)
    }

    fn running(&self, id: NodeId, norm: &'a BatchNorm2d) -> Result<Operator<'a>> {
        let network = self.network;
        let parameter = |suffix| floats(network.parameter(id, suffix)?);
        Ok(Operator::BatchNorm2d(Running {
            norm,
            weight: parameter("weight")?,
            bias: parameter("bias")?,
            mean: parameter("running_mean")?,
            variance: parameter("running_var")?,
        }))
    }

    fn push(
        &mut self,
        name: String,
        operator: Operator<'a>,
        inputs: Vec<usize>,
        qparams: Option<QuantizationParameters>,
        id: NodeId,
    ) -> usize {
        let mut shape = self.network.graph()[id].shape.clone();
        if matches!(operator, Operator::Input) && shape[0] != 3 {
            // Channels first, as all others.
            shape.rotate_right(1);
        }
        self.steps.push(Step {
            name,
            operator,
            inputs,
            shape,
            qparams,
        });
        self.steps.len() - 1
    }

    fn qparams(&self, value: NodeId) -> Option<QuantizationParameters> {
        self.steps[self.values[value.index()]].qparams
    }

    /// The quantization parameters of what a convolution adds a residual to, given those of the sum and
    /// of the residual. Where the sum is clamped from below, what lies lower is clamped anyway.
    fn before_add(
        &self,
        id: NodeId,
        sum: QuantizationParameters,
        addend: QuantizationParameters,
    ) -> QuantizationParameters {
        let int8 = self.network.quantized();
        let measured = int8.and_then(|int8| int8.before_add.get(&id));
        let ends = |of: QuantizationParameters| (of.dequantize(0), of.dequantize(255));
        let ((low, high), (lowest, highest)) = (ends(sum), ends(addend));
        let [low, high] = measured.copied().unwrap_or([low - highest, high - lowest]);
        QuantizationParameters::covering(low, high)
    }

    /// A flattened map has the same numbers as the map, and so its range.
    fn share_ranges(&mut self) {
        for at in 0..self.steps.len() {
            if let Operator::Flatten = self.steps[at].operator {
                let (map, qparams) = (self.steps[at].inputs[0], self.steps[at].qparams);
                let map = &mut self.steps[map];
                map.qparams = map.qparams.or(qparams);
            }
        }
    }
}

fn floats(tensor: &Tensor) -> Result<&[f32]> {
    let integers = || Error::Data("a parameter holds integers where float32 is needed".into());
    tensor.as_f32().ok_or_else(|| integers().into())
}
