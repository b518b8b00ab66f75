//! What a network is compiled for: the arithmetic and the operators that this machine has for it.

use super::operators;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::graph::InferenceGraph;
use crate::inference::precision::arithmetic;
use crate::inference::{Arithmetic, Cpu, Kernels, Options};

/// What a network is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    pub arithmetic: Arithmetic,
    /// oneDNN's fused operators instead of ATen's.
    pub fused: bool,
}

impl Target {
    /// Plain float32: what exports to PyTorch hold.
    pub const PORTABLE: Self = Self {
        arithmetic: Arithmetic::Float32,
        fused: false,
    };

    /// As [`Target::PORTABLE`], for an int8 network.
    pub const PORTABLE_INT8: Self = Self {
        arithmetic: Arithmetic::Int8,
        fused: false,
    };

    /// What the user asked for, as far as this machine and this network have it.
    ///
    /// # Errors
    /// [`Error::Usage`] for a precision that the network can't have; [`Error::Environment`] for
    /// kernels that the device lacks.
    pub fn new(network: &InferenceGraph, options: &Options) -> Result<Self> {
        let on_cpu = options.device == Device::Cpu;
        let has_fused = on_cpu && operators::has_fused();
        let fused = match options.kernels {
            Kernels::Auto => has_fused,
            Kernels::Plain => false,
            Kernels::Fused if has_fused => true,
            Kernels::Fused => {
                let message = "this device has no fused kernels; use --kernels plain";
                return Err(Error::Environment(message.into()).into());
            }
        };
        let has_bfloat16 = || fused && operators::has_bfloat16();
        let arithmetic = arithmetic(
            network,
            options,
            || Cpu::detect().bfloat16 && has_bfloat16(),
            || !on_cpu || has_bfloat16(),
        )?;
        Ok(Self { arithmetic, fused })
    }

    /// Whether the processor computes in that arithmetic, rather than in float32 that is rounded.
    pub fn is_native(self) -> bool {
        match self.arithmetic {
            Arithmetic::Float32 | Arithmetic::Bfloat16 => true,
            Arithmetic::EmulatedBfloat16 => false,
            Arithmetic::Int8 => self.fused,
        }
    }
}
