//! The precision that a network is trained in.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    #[default]
    Float32,
    /// Mixed precision: convolutions and activations in bfloat16; weights, normalisation
    /// statistics, the classifier and the loss in float32. Faster on NVIDIA GPUs since Ampere and on
    /// CPUs with AMX or AVX512-BF16
    Bfloat16,
}

impl Precision {
    /// The type that feature maps are stored in.
    pub fn kind(self) -> tch::Kind {
        match self {
            Self::Float32 => tch::Kind::Float,
            Self::Bfloat16 => tch::Kind::BFloat16,
        }
    }
}
