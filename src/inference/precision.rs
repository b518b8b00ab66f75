//! In which precision a network computes.

use std::fmt;

use clap::ValueEnum;

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
