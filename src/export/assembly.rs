//! Puts a network together again from the operators of an exported file. The readers of all formats
//! share it; writers have nothing of it.

mod pieces;

use std::collections::BTreeSet;

use anyhow::bail;

pub(super) use pieces::Piece;

use super::reread::Reread;
use crate::error::Result;
use crate::graph::{
    Activation, BatchNorm2d, Builder, Conv2d, Int8, Linear, NodeId, Op, Padding, Pool2d,
};
use crate::weights::{StateDict, Tensor};

/// A network in the making.
pub(super) struct Assembly {
    builder: Builder,
    parameters: StateDict,
    names: BTreeSet<String>,
}

/// A value of the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value {
    pub node: NodeId,
    /// Pixels that an operator of their own put around it.
    pub around: Option<Around>,
    /// What of an operator that is written in several parts has been read.
    pub piece: Option<Piece>,
}

/// Pixels around a map, and what they are filled with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Around {
    /// Of rows and of columns.
    pub pixels: [Padding; 2],
    pub value: f32,
}

/// What [`Around::value`] at most is where it stands for negative infinity.
const LOWEST: f32 = -1e38;

impl Around {
    /// Pixels above, below, left and right of a map.
    pub(super) fn new([top, bottom, left, right]: [usize; 4], value: f32) -> Self {
        let pixels =
            [[top, bottom], [left, right]].map(|[before, after]| Padding { before, after });
        Self { pixels, value }
    }
}

impl Assembly {
    /// A network of square images.
    pub(super) fn new(image_size: usize) -> (Self, Value) {
        let (builder, node) = Builder::new(image_size);
        let assembly = Self {
            builder,
            parameters: StateDict::new(),
            names: BTreeSet::new(),
        };
        (assembly, Value::of(node))
    }

    /// The network that gives this value.
    ///
    /// # Errors
    /// When its shapes do not fit together.
    pub(super) fn finish(self, output: Value, int8: Option<Int8>) -> Result<Reread> {
        Ok(Reread {
            graph: self.builder.finish(output.node)?,
            parameters: self.parameters,
            int8,
        })
    }

    /// Shape of a value for one image, channels first.
    pub(super) fn shape(&self, value: Value) -> &[usize] {
        self.builder.shape(value.node)
    }

    /// Channels, or features, of a value.
    ///
    /// # Errors
    /// When it has none.
    pub(super) fn channels(&self, value: Value) -> Result<usize> {
        match self.builder.channels(value.node) {
            0 => bail!("{} has no channels", self.builder.name(value.node)),
            channels => Ok(channels),
        }
    }

    /// Channels of the map that a value was flattened from, or its features.
    pub(super) fn flattened_channels(&self, value: Value) -> usize {
        let map = self.builder.flattened(value.node);
        let map = map.unwrap_or(self.shape(value));
        map.first().copied().unwrap_or(1).max(1)
    }

    /// Sets a parameter of the operator that computes a value.
    pub(super) fn parameter(&mut self, of: Value, part: &str, tensor: Tensor) {
        let name = format!("{}.{part}", self.builder.name(of.node));
        self.parameters.insert(name, tensor);
    }

    /// An operator that does not read pixels around its inputs.
    ///
    /// # Errors
    /// When an input has some.
    pub(super) fn operator(&mut self, name: &str, op: Op, inputs: &[Value]) -> Result<Value> {
        if inputs.iter().any(|input| input.around.is_some()) {
            bail!("{name} reads a padded value");
        }
        inputs.iter().try_for_each(|input| input.is_whole())?;
        let inputs: Vec<NodeId> = inputs.iter().map(|input| input.node).collect();
        Ok(self.push(name, op, &inputs))
    }

    pub(super) fn activation(&mut self, name: &str, kind: Activation, x: Value) -> Result<Value> {
        self.operator(name, Op::Activation(kind), &[x])
    }

    /// A convolution with a bias, padded as TensorFlow's "SAME", or else by what is around its input.
    /// Its weight `[out, in, kernel, kernel]` and its bias are to be set.
    ///
    /// # Errors
    /// When other pixels than zeros are around its input.
    pub(super) fn convolution(
        &mut self,
        name: &str,
        x: Value,
        mut conv: Conv2d,
        is_same: bool,
    ) -> Result<Value> {
        x.is_whole()?;
        let [rows, columns] = conv.reach();
        let same = |axis: usize, reach| {
            let side = self.shape(x).get(axis).copied().unwrap_or(0);
            Padding::same(side, reach, conv.stride.max(1))
        };
        conv.padding = match (x.around, is_same) {
            (None, true) => [same(1, rows), same(2, columns)],
            (None, false) => [Padding::both(0); 2],
            (Some(around), false) if around.value == 0.0 => around.pixels,
            _ => bail!(
                "the convolution {name} has its input padded by {:?}",
                x.around
            ),
        };
        conv.in_channels = self.builder.channels(x.node);
        conv.bias = true;
        Ok(self.push(name, Op::Conv2d(conv), &[x.node]))
    }

    /// A linear layer, whose weight `[out, in]` and bias are to be set.
    ///
    /// # Errors
    /// When its input is padded.
    pub(super) fn linear(&mut self, name: &str, x: Value, outputs: usize) -> Result<Value> {
        let linear = Linear {
            in_features: self.builder.channels(x.node),
            ..Linear::new(outputs)
        };
        self.operator(name, Op::Linear(linear), &[x])
    }

    /// `x * scale + shift` for each channel; one number is that of every channel.
    ///
    /// # Errors
    /// When there are neither as many numbers as channels nor one.
    pub(super) fn per_channel(
        &mut self,
        name: &str,
        x: Value,
        scale: &[f32],
        shift: &[f32],
    ) -> Result<Value> {
        let channels = self.builder.channels(x.node);
        let each = |values: &[f32]| match *values {
            [one] => Ok(vec![one; channels]),
            _ if values.len() == channels => Ok(values.to_vec()),
            _ => bail!(
                "{name} has {} numbers for {channels} channels",
                values.len()
            ),
        };
        let (weight, bias) = (each(scale)?, each(shift)?);
        let [mean, variance] = [0.0, 1.0].map(|value| vec![value; channels]);
        self.batch_norm(name, x, [0.0, 0.1], [weight, bias, mean, variance])
    }

    /// A normalisation by weight, bias, mean and variance.
    ///
    /// # Errors
    /// When its input is padded.
    pub(super) fn batch_norm(
        &mut self,
        name: &str,
        x: Value,
        [eps, momentum]: [f64; 2],
        parameters: [Vec<f32>; 4],
    ) -> Result<Value> {
        let norm = BatchNorm2d {
            channels: self.builder.channels(x.node),
            eps,
            momentum,
        };
        let value = self.operator(name, Op::BatchNorm2d(norm), &[x])?;
        let parts = ["weight", "bias", "running_mean", "running_var"];
        for (part, values) in parts.into_iter().zip(parameters) {
            self.parameter(value, part, Tensor::f32([values.len()], values));
        }
        Ok(value)
    }

    /// The largest value in each window. What is around the input must not be larger than any.
    ///
    /// # Errors
    /// When it may be, or lies on one side only.
    pub(super) fn max_pool(
        &mut self,
        name: &str,
        x: Value,
        [kernel, stride]: [usize; 2],
    ) -> Result<Value> {
        let is_lower = |value: f32| match value {
            0.0 => self.is_never_negative(x.node),
            value => value < LOWEST,
        };
        if x.around.is_some_and(|around| !is_lower(around.value)) {
            bail!("the pool {name} has its input padded by {:?}", x.around);
        }
        let window = self.window(x, kernel, stride)?;
        Ok(self.push(name, Op::MaxPool2d(window), &[x.node]))
    }

    /// The mean of each window; of the whole map where the window is as large.
    ///
    /// # Errors
    /// When other pixels than zeros are around its input, or on one side only.
    pub(super) fn avg_pool(
        &mut self,
        name: &str,
        x: Value,
        [kernel, stride]: [usize; 2],
    ) -> Result<Value> {
        if x.around.is_some_and(|around| around.value != 0.0) {
            bail!("the pool {name} has its input padded by {:?}", x.around);
        }
        if x.around.is_none() && self.shape(x).get(1..) == Some(&[kernel; 2]) {
            return self.operator(name, Op::GlobalAvgPool, &[x]);
        }
        let window = self.window(x, kernel, stride)?;
        Ok(self.push(name, Op::AvgPool2d(window), &[x.node]))
    }

    /// A window on what is padded on both sides alike, and perhaps further after, for a last window that
    /// begins on the map.
    fn window(&self, x: Value, kernel: usize, stride: usize) -> Result<Pool2d> {
        x.is_whole()?;
        let pixels = x
            .around
            .map_or([Padding::both(0); 2], |around| around.pixels);
        let mut window = Pool2d::new(kernel, stride).padding(pixels[0].before);
        window.ceil_mode = pixels.iter().any(|sides| sides.before != sides.after);
        let sizes = self.shape(x).iter().skip(1);
        match sizes.map(|&size| window.around(size)).eq(pixels) {
            true => Ok(window),
            false => bail!("a pool whose input is padded by {pixels:?}"),
        }
    }

    /// Whether an operator gives no number below 0.
    fn is_never_negative(&self, node: NodeId) -> bool {
        let is = |kind| {
            matches!(
                kind,
                Activation::Relu
                    | Activation::Relu6
                    | Activation::Sigmoid
                    | Activation::Hardsigmoid
            )
        };
        match self.builder.op(node) {
            Op::Activation(kind) => is(*kind),
            Op::Conv2d(conv) => conv.epilogue.activation.is_some_and(is),
            Op::MaxPool2d(_) | Op::Concat => {
                let inputs = self.builder.inputs(node).iter();
                inputs.copied().all(|input| self.is_never_negative(input))
            }
            _ => false,
        }
    }

    /// Adds a node under a name that no other has.
    fn push(&mut self, name: &str, op: Op, inputs: &[NodeId]) -> Value {
        let mut own = name.to_owned();
        while !self.names.insert(own.clone()) {
            own.push('_');
        }
        Value::of(self.builder.push(own, op, inputs))
    }
}

impl Value {
    fn of(node: NodeId) -> Self {
        Self {
            node,
            around: None,
            piece: None,
        }
    }
}

/// A convolution's weight `[kernel, kernel, in, out]`, of a depthwise one `[kernel, kernel, out, 1]`, as PyTorch has it.
///
/// # Errors
/// When the shape is none of a kernel, or the numbers are not as many.
pub(super) fn kernel_from_first(
    values: &[f32],
    shape: &[usize],
    is_depthwise: bool,
) -> Result<Tensor> {
    let &[height, width, inputs, outputs] = shape else {
        bail!("a kernel of shape {shape:?}");
    };
    let (inputs, outputs) = match is_depthwise {
        true => (outputs, inputs),
        false => (inputs, outputs),
    };
    if values.len() != shape.iter().product::<usize>() {
        bail!("a kernel of shape {shape:?} with {} numbers", values.len());
    }
    let taps = height * width;
    let order = (0..values.len()).map(|at| {
        let (output, input, tap) = (at / (inputs * taps), at / taps % inputs, at % taps);
        (tap * inputs + input) * outputs + output
    });
    let values = order.map(|at| values[at]).collect();
    Ok(Tensor::f32([outputs, inputs, height, width], values))
}

/// A linear layer's weight `[in, out]` as PyTorch has it, whose features are flattened from `channels` first
/// instead of last.
///
/// # Errors
/// When the numbers are not as many.
pub(super) fn linear_from_last(values: &[f32], shape: &[usize], channels: usize) -> Result<Tensor> {
    let &[inputs, outputs] = shape else {
        bail!("a weight of shape {shape:?}");
    };
    if values.len() != inputs * outputs || !inputs.is_multiple_of(channels) {
        bail!("a weight of shape {shape:?} with {} numbers", values.len());
    }
    let pixels = inputs / channels;
    let order = (0..values.len()).map(|at| {
        let (output, input) = (at / inputs, at % inputs);
        (input % pixels * channels + input / pixels) * outputs + output
    });
    let values = order.map(|at| values[at]).collect();
    Ok(Tensor::f32([outputs, inputs], values))
}
