//! Chooses where to compute.

use tch::Device;

use super::settings::DeviceChoice;
use crate::error::{Error, Result};

/// The device a choice stands for.
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
