//! How each operator takes part in quantization.

use crate::graph::Op;

/// What becomes of an operator in an int8 network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Its weights become int8.
    Layer,
    /// Each of its integers is one of its input's in the same channel.
    Selection,
    /// Its integers are its input's in other places.
    Rearrangement,
    /// It computes in float32.
    Float,
}

impl Part {
    /// Whether a value has its input's quantization parameters.
    pub(super) fn keeps_integers(self) -> bool {
        matches!(self, Self::Selection | Self::Rearrangement)
    }

    pub(super) fn of(op: &Op) -> Self {
        match op {
            Op::Conv2d(_) | Op::Linear(_) => Self::Layer,
            Op::MaxPool2d(_) => Self::Selection,
            Op::Slice { .. } | Op::ChannelShuffle { .. } => Self::Rearrangement,
            Op::Input
            | Op::PixelsToFloat
            | Op::Normalize { .. }
            | Op::BatchNorm2d(_)
            | Op::LayerNorm(_)
            | Op::LayerScale { .. }
            | Op::Activation(_)
            | Op::AvgPool2d(_)
            | Op::GlobalAvgPool
            | Op::Add
            | Op::Mul
            | Op::Concat
            | Op::Flatten
            | Op::Dropout { .. }
            | Op::StochasticDepth { .. }
            | Op::Softmax
            | Op::Tokens
            | Op::ClassToken { .. }
            | Op::PositionEmbedding { .. }
            | Op::Attention { .. }
            | Op::FirstToken => Self::Float,
        }
    }
}
