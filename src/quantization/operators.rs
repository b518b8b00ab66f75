//! How each operator takes part in quantization.

use crate::graph::Op;

/// What becomes of an operator in an int8 network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Its weights become int8.
    Layer,
    /// Its value is one of its input's integers.
    Selection,
    /// It computes in float32.
    Float,
}

impl Part {
    pub(super) fn of(op: &Op) -> Self {
        match op {
            Op::Conv2d(_) | Op::Linear(_) => Self::Layer,
            Op::MaxPool2d(_) => Self::Selection,
            Op::Input
            | Op::PixelsToFloat
            | Op::Normalize { .. }
            | Op::BatchNorm2d(_)
            | Op::Activation(_)
            | Op::AvgPool2d(_)
            | Op::GlobalAvgPool
            | Op::Add
            | Op::Mul
            | Op::Concat
            | Op::Flatten
            | Op::Dropout { .. }
            | Op::Softmax => Self::Float,
        }
    }
}
