//! The operators a graph is made of, with the parameters and the cost of each.

use super::activation::Activation;
use super::window::{Conv2d, Pool2d};

/// One operator. Shapes are those of a single image, without the batch dimension:
/// `[channels, height, width]` for feature maps, `[features]` for vectors, `[tokens, features]` for
/// sequences.
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
    /// Normalisation of each pixel or token over its features (Ba et al., 2016).
    LayerNorm(LayerNorm),
    /// A learned factor for each feature of a pixel or token (Touvron et al., 2021).
    LayerScale {
        features: usize,
        /// Whether of the pixels of a map, so that its shape is `[features, 1, 1]`.
        of_map: bool,
    },
    /// Of each pixel or token, or of a vector.
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
    /// The channels from `start` to `end`, which is left out.
    Slice {
        start: usize,
        end: usize,
    },
    /// Channel `g * n + i` of `groups` times `n` becomes channel `i * groups + g` (Zhang et al., 2018).
    ChannelShuffle {
        groups: usize,
    },
    Flatten,
    Dropout {
        probability: f64,
    },
    /// Drops the whole value of an image in training (Huang et al., 2016).
    StochasticDepth {
        probability: f64,
    },
    /// Over the features of a vector.
    Softmax,
    /// A map's pixels row by row: `[c, h, w]` to `[h * w, c]`.
    Tokens,
    /// Puts a learned token before the others.
    ClassToken {
        features: usize,
    },
    /// Adds a learned vector to each token.
    PositionEmbedding {
        tokens: usize,
        features: usize,
    },
    /// Scaled dot-product attention of each of the `heads` (Vaswani et al., 2017):
    /// `[tokens, 3 * features]`, queries, keys and values, to `[tokens, features]`.
    Attention {
        heads: usize,
    },
    /// The first token of a sequence, as a vector.
    FirstToken,
}

/// Normalisation over the batch in training, by running statistics in evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchNorm2d {
    pub channels: usize,
    pub eps: f64,
    /// Weight of the newest batch in the running statistics.
    pub momentum: f64,
}

/// With `mean` and `variance` over the features, `(x - mean) / sqrt(variance + eps) * weight + bias`.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerNorm {
    pub features: usize,
    pub eps: f64,
}

/// `x W^T + b`; weight `[out, in]`, bias `[out]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    pub in_features: usize,
    pub out_features: usize,
    /// Stands between the node's name and those of its parameters: `.`, or the `_` of
    /// `torch.nn.MultiheadAttention`'s `in_proj_weight`.
    pub separator: char,
}

/// What a stored tensor is to its operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Learned, and subject to weight decay.
    Weight,
    /// Learned offset.
    Bias,
    /// Learned scale of a normalisation or a branch.
    Scale,
    /// Learned token, or vectors that are added to tokens.
    Embedding,
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
        matches!(
            self,
            Self::Weight | Self::Bias | Self::Scale | Self::Embedding
        )
    }
}

/// A tensor that an operator keeps.
#[derive(Debug, Clone, PartialEq)]
pub struct Slot {
    /// Of its name, see [`super::Node::parameter`].
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
            Self::LayerNorm(_) => "LayerNorm",
            Self::LayerScale { .. } => "LayerScale",
            Self::Linear(_) => "Linear",
            Self::Activation(Activation::Relu) => "ReLU",
            Self::Activation(Activation::Relu6) => "ReLU6",
            Self::Activation(Activation::Hardswish) => "Hardswish",
            Self::Activation(Activation::Hardsigmoid) => "Hardsigmoid",
            Self::Activation(Activation::Silu) => "SiLU",
            Self::Activation(Activation::Sigmoid) => "Sigmoid",
            Self::Activation(Activation::Gelu) => "GELU",
            Self::MaxPool2d(_) => "MaxPool2d",
            Self::AvgPool2d(_) => "AvgPool2d",
            Self::GlobalAvgPool => "GlobalAvgPool",
            Self::Add => "Add",
            Self::Mul => "Mul",
            Self::Concat => "Concat",
            Self::Slice { .. } => "Slice",
            Self::ChannelShuffle { .. } => "ChannelShuffle",
            Self::Flatten => "Flatten",
            Self::Dropout { .. } => "Dropout",
            Self::StochasticDepth { .. } => "StochasticDepth",
            Self::Softmax => "Softmax",
            Self::Tokens => "Tokens",
            Self::ClassToken { .. } => "ClassToken",
            Self::PositionEmbedding { .. } => "PositionEmbedding",
            Self::Attention { .. } => "Attention",
            Self::FirstToken => "FirstToken",
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
                let [height, width] = conv.kernel;
                let inputs = conv.in_channels / conv.groups;
                let shape = [conv.out_channels, inputs, height, width];
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
            Self::LayerNorm(norm) => vec![
                slot("weight", Role::Scale, &[norm.features]),
                slot("bias", Role::Bias, &[norm.features]),
            ],
            &Self::LayerScale { features, of_map } => {
                let shape: &[usize] = if of_map {
                    &[features, 1, 1]
                } else {
                    &[features]
                };
                vec![slot("", Role::Scale, shape)]
            }
            Self::ClassToken { features } => vec![slot("", Role::Embedding, &[1, 1, *features])],
            Self::PositionEmbedding { tokens, features } => {
                vec![slot("", Role::Embedding, &[1, *tokens, *features])]
            }
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
            | Self::Slice { .. }
            | Self::ChannelShuffle { .. }
            | Self::Flatten
            | Self::Dropout { .. }
            | Self::StochasticDepth { .. }
            | Self::Softmax
            | Self::Tokens
            | Self::Attention { .. }
            | Self::FirstToken => Vec::new(),
        }
    }

    /// Multiply-accumulate operations for one image, counted for convolutions and linear
    /// layers as torchvision's model tables do; `shape` is the output's.
    pub fn macs(&self, shape: &[usize]) -> u64 {
        let outputs = shape.iter().product::<usize>() as u64;
        match self {
            Self::Conv2d(conv) => {
                let taps = conv.in_channels / conv.groups * conv.taps();
                outputs * taps as u64
            }
            Self::Linear(linear) => outputs * linear.in_features as u64,
            // Each token with each, once for the scores and once for the values.
            Self::Attention { .. } => 2 * outputs * shape.first().map_or(0, |&n| n as u64),
            Self::Input
            | Self::PixelsToFloat
            | Self::Normalize { .. }
            | Self::BatchNorm2d(_)
            | Self::LayerNorm(_)
            | Self::LayerScale { .. }
            | Self::Activation(_)
            | Self::MaxPool2d(_)
            | Self::AvgPool2d(_)
            | Self::GlobalAvgPool
            | Self::Add
            | Self::Mul
            | Self::Concat
            | Self::Slice { .. }
            | Self::ChannelShuffle { .. }
            | Self::Flatten
            | Self::Dropout { .. }
            | Self::StochasticDepth { .. }
            | Self::Softmax
            | Self::Tokens
            | Self::ClassToken { .. }
            | Self::PositionEmbedding { .. }
            | Self::FirstToken => 0,
        }
    }
}

impl Linear {
    /// A linear layer, with `in_features` for the builder to fill in.
    pub fn new(out_features: usize) -> Self {
        Self {
            in_features: 0,
            out_features,
            separator: '.',
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
