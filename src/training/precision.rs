//! The precision that a network is trained in.

use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use super::tensors::{channels_last, torch};
use crate::device::Device;
use crate::error::Result;
use crate::graph::{Graph, Op};
use crate::inference::{Cpu, torchscript};
use crate::torch::compute_capability;

/// What `--precision` takes. A run that has started is never `auto`: it stores what that meant on the
/// machine where it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum PrecisionChoice {
    /// bfloat16 where that is faster: on NVIDIA GPUs since Ampere, on CPUs with AMX, and on CPUs with
    /// AVX512-BF16 for networks without depthwise convolutions; else float32
    Auto,
    #[default]
    Float32,
    /// Mixed precision: convolutions and activations in bfloat16; weights, normalisation
    /// statistics, the classifier and the loss in float32
    Bfloat16,
}

/// The precision of convolutions and activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    #[default]
    Float32,
    Bfloat16,
}

impl Precision {
    /// The type that feature maps are stored in.
    pub fn kind(self) -> Kind {
        match self {
            Self::Float32 => Kind::Float,
            Self::Bfloat16 => Kind::BFloat16,
        }
    }
}

impl From<Precision> for PrecisionChoice {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::Float32 => Self::Float32,
            Precision::Bfloat16 => Self::Bfloat16,
        }
    }
}

impl PrecisionChoice {
    /// The precision to train a network in on a device.
    pub(super) fn resolve(self, device: Device, graph: &Graph) -> Precision {
        let is_faster = || match device {
            Device::Cpu => {
                let cpu = Cpu::detect();
                let fast = cpu.amx || !has_depthwise(graph);
                cpu.bfloat16 && fast && torchscript::has_bfloat16()
            }
            Device::Cuda(index) => compute_capability(index).is_some_and(|major| major >= 8),
            Device::Mps => false,
        };
        match self {
            Self::Auto if is_faster() => Precision::Bfloat16,
            Self::Auto | Self::Float32 => Precision::Float32,
            Self::Bfloat16 => Precision::Bfloat16,
        }
    }
}

/// oneDNN's depthwise convolutions gain little from bfloat16 products, and other layers lose more.
fn has_depthwise(graph: &Graph) -> bool {
    let mut nodes = graph.nodes().iter();
    nodes.any(|node| matches!(&node.op, Op::Conv2d(conv) if conv.groups > 1))
}

/// What the user should know of training in a precision on a device, with its measured cost.
///
/// # Errors
/// When memory runs out.
pub(super) fn warning(precision: Precision, device: Device) -> Result<Option<String>> {
    if precision == Precision::Float32 || device != Device::Cpu || Cpu::detect().bfloat16 {
        return Ok(None);
    }
    let times = seconds(Kind::BFloat16)? / seconds(Kind::Float)?;
    Ok(Some(format!(
        "this processor has no bfloat16 arithmetic: a convolution takes {times:.1} times as long as \
         with --precision float32"
    )))
}

/// What a convolution as in a ResNet's first stage takes, at its fastest within some time.
fn seconds(kind: Kind) -> Result<f64> {
    const ENOUGH: Duration = Duration::from_millis(50);
    let ones = |size: [i64; 4]| {
        let ones = torch(Tensor::f_ones(size, (kind, tch::Device::Cpu)))?;
        channels_last(&ones)
    };
    let (x, weight) = (ones([4, 64, 56, 56])?, ones([64, 64, 3, 3])?);
    let begun = Instant::now();
    let mut fastest = f64::INFINITY;
    // The first one chooses the kernel.
    for round in 0.. {
        let started = Instant::now();
        let convolved = tch::no_grad(|| x.f_conv2d(&weight, None::<&Tensor>, 1, 1, 1, 1));
        drop(torch(convolved)?);
        if round > 0 {
            fastest = fastest.min(started.elapsed().as_secs_f64());
            if begun.elapsed() > ENOUGH {
                break;
            }
        }
    }
    Ok(fastest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models;

    fn graph(name: &str) -> Graph {
        let architecture = models::find(name).unwrap();
        let options = models::Options {
            classes: 2,
            image_size: 64,
            ..architecture.imagenet()
        };
        architecture.graph(&options).unwrap()
    }

    #[test]
    fn auto_is_float32_for_depthwise_convolutions_without_amx() {
        let resolved = |name| PrecisionChoice::Auto.resolve(Device::Cpu, &graph(name));
        let cpu = Cpu::detect();
        if !cpu.bfloat16 {
            assert_eq!(resolved("resnet18"), Precision::Float32);
        }
        if !cpu.amx {
            assert_eq!(resolved("mobilenet_v2"), Precision::Float32);
        }
        let asked = PrecisionChoice::Bfloat16.resolve(Device::Cpu, &graph("mobilenet_v2"));
        assert_eq!(asked, Precision::Bfloat16);
    }

    #[test]
    fn costs_are_measured() {
        for kind in [Kind::Float, Kind::BFloat16] {
            let seconds = seconds(kind).unwrap();
            assert!(seconds > 0.0 && seconds.is_finite());
        }
        assert_eq!(warning(Precision::Float32, Device::Cpu).unwrap(), None);
    }
}
