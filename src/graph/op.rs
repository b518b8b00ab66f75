//! The operators a graph is made of, with the parameters and the cost of each.

/// One operator. Shapes are those of a single image, without the batch dimension:
/// `[channels, height, width]` for feature maps, `[features]` for vectors.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// A normalised image, `[3, size, size]`; or the pixels that [`Op::PixelsToFloat`] takes.
    Input,
    /// From 8-bit RGB pixels `[height, width, 3]` to floats from 0 to 255, `[3, height, width]`.
    PixelsToFloat,
    /// `x * scale + shift` for each channel: normalises pixels.
    Normalize {
        scale: [f32; 3],
        shift: [f32; 3],
    },
    Conv2d(Conv2d),
    BatchNorm2d(BatchNorm2d),
    Linear(Linear),
    Activation(Activation),
    MaxPool2d(Pool2d),
    /// Counts padding as zeros, as PyTorch does by default.
    AvgPool2d(Pool2d),
    /// Mean over height and width: `[c, h, w]` to `[c, 1, 1]`.
    GlobalAvgPool,
    /// Elementwise sum of two values of one shape.
    Add,
    /// Elementwise product; a `[c, 1, 1]` factor is broadcast.
    Mul,
    /// Joins feature maps along the channels.
    Concat,
    Flatten,
    Dropout {
        probability: f64,
    },
    /// Over the features of a vector.
    Softmax,
}

/// Cross-correlation with zero padding; weight `[out, in / groups, kernel, kernel]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Conv2d {
    pub in_channels: usize,
    pub out_channels: usize,
    pub kernel: usize,
    pub stride: usize,
    pub padding: Padding,
    pub dilation: usize,
    pub groups: usize,
    pub bias: bool,
    pub epilogue: Epilogue,
}

/// What a fused convolution does to its sums before it stores them, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Epilogue {
    /// Adds the second input, which has the shape of the output.
    pub add: bool,
    pub activation: Option<Activation>,
}

/// Zeros around a feature map, in pixels. TensorFlow's "SAME" makes the two sides differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Padding {
    /// Above and to the left.
    pub before: usize,
    /// Below and to the right.
    pub after: usize,
}

/// Normalisation over the batch in training, by running statistics in evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchNorm2d {
    pub channels: usize,
    pub eps: f64,
    /// Weight of the newest batch in the running statistics.
    pub momentum: f64,
}

/// `x W^T + b`; weight `[out, in]`, bias `[out]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    pub in_features: usize,
    pub out_features: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    Relu,
    Relu6,
    Hardswish,
    Hardsigmoid,
    Silu,
    Sigmoid,
}

/// Square window; output size rounded down.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool2d {
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
}

/// What a stored tensor is to its operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Learned, and subject to weight decay.
    Weight,
    /// Learned offset.
    Bias,
    /// Learned scale of a normalisation.
    Scale,
    /// Running mean of a normalisation: updated, not learned.
    RunningMean,
    /// Running variance of a normalisation: updated, not learned.
    RunningVariance,
    /// int64 count of the batches seen, for compatibility with PyTorch.
    BatchesTracked,
}

impl Role {
    /// Whether an optimizer moves the tensor.
    pub fn is_learned(self) -> bool {
        matches!(self, Self::Weight | Self::Bias | Self::Scale)
    }
}

/// A tensor that an operator keeps, named `<node>.<suffix>` as in PyTorch's `state_dict`.
#[derive(Debug, Clone, PartialEq)]
pub struct Slot {
    pub suffix: &'static str,
    pub role: Role,
    pub shape: Vec<usize>,
}

impl Op {
    /// The operator's name in PyTorch and in tables.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Input => "Input",
            Self::PixelsToFloat => "PixelsToFloat",
            Self::Normalize { .. } => "Normalize",
            Self::Conv2d(_) => "Conv2d",
            Self::BatchNorm2d(_) => "BatchNorm2d",
            Self::Linear(_) => "Linear",
            Self::Activation(Activation::Relu) => "ReLU",
            Self::Activation(Activation::Relu6) => "ReLU6",
            Self::Activation(Activation::Hardswish) => "Hardswish",
            Self::Activation(Activation::Hardsigmoid) => "Hardsigmoid",
            Self::Activation(Activation::Silu) => "SiLU",
            Self::Activation(Activation::Sigmoid) => "Sigmoid",
            Self::MaxPool2d(_) => "MaxPool2d",
            Self::AvgPool2d(_) => "AvgPool2d",
            Self::GlobalAvgPool => "GlobalAvgPool",
            Self::Add => "Add",
            Self::Mul => "Mul",
            Self::Concat => "Concat",
            Self::Flatten => "Flatten",
            Self::Dropout { .. } => "Dropout",
            Self::Softmax => "Softmax",
        }
    }

    /// The tensors the operator keeps, in PyTorch's order.
    pub fn slots(&self) -> Vec<Slot> {
        let slot = |suffix, role, shape: &[usize]| Slot {
            suffix,
            role,
            shape: shape.to_vec(),
        };
        match self {
            Self::Conv2d(conv) => {
                let shape = [
                    conv.out_channels,
                    conv.in_channels / conv.groups,
                    conv.kernel,
                    conv.kernel,
                ];
                let mut slots = vec![slot("weight", Role::Weight, &shape)];
                if conv.bias {
                    slots.push(slot("bias", Role::Bias, &[conv.out_channels]));
                }
                slots
            }
            Self::BatchNorm2d(norm) => vec![
                slot("weight", Role::Scale, &[norm.channels]),
                slot("bias", Role::Bias, &[norm.channels]),
                slot("running_mean", Role::RunningMean, &[norm.channels]),
                slot("running_var", Role::RunningVariance, &[norm.channels]),
                slot("num_batches_tracked", Role::BatchesTracked, &[]),
            ],
            Self::Linear(linear) => vec![
                slot(
                    "weight",
                    Role::Weight,
                    &[linear.out_features, linear.in_features],
                ),
                slot("bias", Role::Bias, &[linear.out_features]),
            ],
            Self::Input
            | Self::PixelsToFloat
            | Self::Normalize { .. }
            | Self::Activation(_)
            | Self::MaxPool2d(_)
            | Self::AvgPool2d(_)
            | Self::GlobalAvgPool
            | Self::Add
            | Self::Mul
            | Self::Concat
            | Self::Flatten
            | Self::Dropout { .. }
            | Self::Softmax => Vec::new(),
        }
    }

    /// Multiply-accumulate operations for one image, counted for convolutions and linear
    /// layers as torchvision's model tables do; `shape` is the output's.
    pub fn macs(&self, shape: &[usize]) -> u64 {
        let outputs = shape.iter().product::<usize>() as u64;
        match self {
            Self::Conv2d(conv) => {
                let taps = conv.in_channels / conv.groups * conv.kernel * conv.kernel;
                outputs * taps as u64
            }
            Self::Linear(linear) => outputs * linear.in_features as u64,
            Self::Input
            | Self::PixelsToFloat
            | Self::Normalize { .. }
            | Self::BatchNorm2d(_)
            | Self::Activation(_)
            | Self::MaxPool2d(_)
            | Self::AvgPool2d(_)
            | Self::GlobalAvgPool
            | Self::Add
            | Self::Mul
            | Self::Concat
            | Self::Flatten
            | Self::Dropout { .. }
            | Self::Softmax => 0,
        }
    }
}

impl Conv2d {
    /// A convolution without bias whose padding keeps the size at stride 1, with `in_channels`
    /// for the builder to fill in.
    pub fn new(out_channels: usize, kernel: usize) -> Self {
        Self {
            in_channels: 0,
            out_channels,
            kernel,
            stride: 1,
            padding: Padding::both(kernel / 2),
            dilation: 1,
            groups: 1,
            bias: false,
            epilogue: Epilogue::default(),
        }
    }

    pub fn stride(mut self, stride: usize) -> Self {
        self.stride = stride;
        self
    }

    pub fn padding(mut self, padding: Padding) -> Self {
        self.padding = padding;
        self
    }

    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    pub fn dilation(mut self, dilation: usize) -> Self {
        self.dilation = dilation;
        self
    }

    pub fn bias(mut self) -> Self {
        self.bias = true;
        self
    }
}

impl Padding {
    pub fn both(pixels: usize) -> Self {
        Self {
            before: pixels,
            after: pixels,
        }
    }

    /// TensorFlow's "SAME": the output is `ceil(size / stride)`, an odd pixel goes after.
    pub fn same(size: usize, kernel: usize, stride: usize) -> Self {
        let needed = (size.div_ceil(stride).max(1) - 1) * stride + kernel;
        let total = needed.saturating_sub(size);
        Self {
            before: total / 2,
            after: total - total / 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_padding_puts_the_odd_pixel_after() {
        let padding = Padding::same(224, 3, 2);
        assert_eq!((padding.before, padding.after), (0, 1));
        assert_eq!(Padding::same(14, 5, 1), Padding::both(2));
        assert_eq!(Padding::same(14, 1, 2), Padding::both(0));
    }

    #[test]
    fn macs_of_a_convolution() {
        let mut conv = Conv2d::new(64, 7).stride(2);
        conv.in_channels = 3;
        assert_eq!(
            Op::Conv2d(conv).macs(&[64, 112, 112]),
            64 * 112 * 112 * 3 * 49
        );
    }
}
