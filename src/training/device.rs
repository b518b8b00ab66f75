//! The device that a run computes on.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tch::Device;

use crate::error::{Error, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceChoice {
    /// CUDA or an Apple GPU if available, else the CPU
    Auto,
    Cpu,
    Cuda,
    Mps,
}

/// The device that a choice refers to on this machine.
///
/// # Errors
/// [`Error::Environment`] when this machine or this libtorch lacks it.
pub fn resolve(choice: DeviceChoice) -> Result<Device> {
    let cuda = tch::Cuda::is_available();
    let mps = tch::utils::has_mps();
    match choice {
        DeviceChoice::Auto if cuda => Ok(Device::Cuda(0)),
        DeviceChoice::Auto if mps => Ok(Device::Mps),
        DeviceChoice::Auto | DeviceChoice::Cpu => Ok(Device::Cpu),
        DeviceChoice::Cuda if cuda => Ok(Device::Cuda(0)),
        DeviceChoice::Mps if mps => Ok(Device::Mps),
        DeviceChoice::Cuda => Err(Error::Environment(
            "CUDA is not available: build with LIBTORCH set to a libtorch with CUDA, or use \
             --device cpu"
                .into(),
        )
        .into()),
        DeviceChoice::Mps => {
            Err(Error::Environment("there is no Apple GPU; use --device cpu".into()).into())
        }
    }
}
