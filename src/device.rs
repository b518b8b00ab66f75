//! Where networks compute.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A processor of this machine, named as in PyTorch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    Cpu,
    /// NVIDIA's GPU of this index.
    Cuda(usize),
    /// Apple's GPU.
    Mps,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::Mps => f.write_str("mps"),
        }
    }
}

/// What `--device` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceChoice {
    /// CUDA or an Apple GPU if available, else the CPU
    Auto,
    Cpu,
    Cuda,
    Mps,
}
