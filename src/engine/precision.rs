//! In which numbers a network computes, and with which of libtorch's operators.

use std::fmt;

use clap::ValueEnum;

/// What the user asks for.
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

/// The operators of a compiled network.
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

/// What a network is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    pub arithmetic: Arithmetic,
    /// Fused oneDNN operators instead of ATen's.
    pub fused: bool,
}

/// How real numbers are held between the operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    Float32,
    Bfloat16,
    /// Rounded to bfloat16 after every operator, which computes in float32: the answers of
    /// bfloat16 where the processor has no such arithmetic.
    RoundedToBfloat16,
    /// Integers where the model's quantization says so, float32 elsewhere.
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

impl Target {
    /// Plain float32: what exports to PyTorch hold.
    pub const PORTABLE: Self = Self {
        arithmetic: Arithmetic::Float32,
        fused: false,
    };

    /// As [`Target::PORTABLE`], for an int8 model.
    pub const PORTABLE_INT8: Self = Self {
        arithmetic: Arithmetic::Int8,
        fused: false,
    };

    /// Whether the arithmetic is that of the precision, or float32 that imitates it.
    pub fn is_native(self) -> bool {
        match self.arithmetic {
            Arithmetic::Float32 | Arithmetic::Bfloat16 => true,
            Arithmetic::RoundedToBfloat16 => false,
            Arithmetic::Int8 => self.fused,
        }
    }
}

/// For a person: the precision, what is unusual about it, and the operators.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operators = if self.fused { "fused" } else { "plain" };
        write!(f, "{} with {operators} kernels", self.arithmetic)?;
        if self.arithmetic == Arithmetic::RoundedToBfloat16 {
            f.write_str(
                " (emulated: this processor has no bfloat16, so it is no faster than float32)",
            )?;
        }
        Ok(())
    }
}

/// The precision's name, as options and JSON have it.
impl fmt::Display for Arithmetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Float32 => "float32",
            Self::Bfloat16 | Self::RoundedToBfloat16 => "bfloat16",
            Self::Int8 => "int8",
        })
    }
}
