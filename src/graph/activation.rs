//! Functions that are applied to each number.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    Relu,
    Relu6,
    Hardswish,
    Hardsigmoid,
    Silu,
    Sigmoid,
    /// `x * P(X <= x)` of a standard normal `X`, not its approximation by tanh.
    Gelu,
}
