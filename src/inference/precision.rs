//! In which precision a network computes.

use std::fmt;

use clap::ValueEnum;

use super::Options;
use crate::error::{Error, Result};
use crate::graph::{Graph, InferenceGraph, Node, Op};

/// The precision that the user asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Precision {
    /// The fastest without a visible loss of accuracy: int8 for an int8 model, else bfloat16 if the
    /// processor has it, else float32
    #[default]
    Auto,
    Float32,
    /// Weights and activations of the convolutions in bfloat16, sums and the rest in float32
    Bfloat16,
    /// Only for models written by `flowers quantize`
    Int8,
}

/// The backend that the user asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Choice {
    /// The fastest that this machine has
    #[default]
    Auto,
    /// oneDNN by plans, on x86-64 CPUs
    Onednn,
    /// libtorch, on every device
    Torchscript,
}

/// The kernels that the user asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Kernels {
    /// Fused if libtorch has them for this device, else plain
    #[default]
    Auto,
    /// oneDNN's fused convolutions, for x86 CPUs
    Fused,
    /// ATen's, for every device
    Plain,
}

/// The type of the values between operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    Float32,
    Bfloat16,
    /// float32 that is rounded to bfloat16 after every operator: the results of bfloat16 where the
    /// processor has no such arithmetic.
    EmulatedBfloat16,
    /// uint8 where the network is quantized, float32 elsewhere.
    Int8,
}

/// The precision as `--precision` takes it.
impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Float32 => "float32",
            Self::Bfloat16 => "bfloat16",
            Self::Int8 => "int8",
        })
    }
}

/// The precision's name, as options and JSON have it.
impl fmt::Display for Arithmetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Float32 => "float32",
            Self::Bfloat16 | Self::EmulatedBfloat16 => "bfloat16",
            Self::Int8 => "int8",
        })
    }
}

/// The arithmetic that the options ask for, where bfloat16 is fast and where the backend has it at all.
///
/// # Errors
/// [`Error::Usage`] for a precision that the network can't have.
pub(super) fn arithmetic(
    network: &InferenceGraph,
    options: &Options,
    is_fast: impl FnOnce() -> bool,
    is_native: impl FnOnce() -> bool,
) -> Result<Arithmetic> {
    let usage = |message: &str| Err(Error::Usage(message.into()).into());
    match options.precision {
        Precision::Auto | Precision::Int8 if network.quantized().is_some() => Ok(Arithmetic::Int8),
        _ if network.quantized().is_some() => {
            usage("an int8 model runs in int8 only; give the float model that it was made from")
        }
        Precision::Int8 => usage("this model is not int8: make one with `flowers quantize`"),
        Precision::Auto if is_fast() => Ok(Arithmetic::Bfloat16),
        Precision::Auto | Precision::Float32 => Ok(Arithmetic::Float32),
        Precision::Bfloat16 if is_native() => Ok(Arithmetic::Bfloat16),
        Precision::Bfloat16 => Ok(Arithmetic::EmulatedBfloat16),
    }
}

/// The first node of the head: that after the last layer of maps or tokens. The head costs little, and its
/// sums decide, so it is never rounded to bfloat16.
pub(super) fn head(graph: &Graph) -> usize {
    let in_body = |node: &Node| match node.op {
        Op::Linear(_) => node.shape.len() > 1,
        ref op => matches!(op, Op::Conv2d(_) | Op::BatchNorm2d(_)),
    };
    let last = graph.nodes().iter().rposition(in_body);
    last.map_or(0, |last| last + 1)
}
