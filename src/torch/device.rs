//! Devices and threads of libtorch.

use super::{on_demand, threads};
use crate::device::{Device, DeviceChoice};
use crate::error::{Error, Result};
use crate::machine;

impl From<Device> for tch::Device {
    fn from(device: Device) -> Self {
        match device {
            Device::Cpu => Self::Cpu,
            Device::Cuda(index) => Self::Cuda(index),
            Device::Mps => Self::Mps,
        }
    }
}

/// The device of a choice.
///
/// # Errors
/// [`Error::Environment`] when this machine or this libtorch lacks it.
pub fn resolve(choice: DeviceChoice) -> Result<Device> {
    let asks = choice != DeviceChoice::Cpu && on_demand::may_have_gpus();
    let cuda = asks && tch::Cuda::is_available();
    let mps = asks && tch::utils::has_mps();
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

/// The device of the process with this number on its machine: of several GPUs its own. A launcher may show
/// each process its GPU only.
pub(crate) fn of_process(device: Device, local_rank: usize) -> Device {
    match device {
        Device::Cuda(_) => {
            let count = usize::try_from(tch::Cuda::device_count()).unwrap_or(0);
            Device::Cuda(local_rank % count.max(1))
        }
        device => device,
    }
}

/// Sets how many threads compute each operator that the calling thread runs, of libtorch or of oneDNN.
pub fn set_threads(threads: usize) {
    machine::set_threads(threads);
    if on_demand::is_open() {
        threads::tell_libtorch();
    }
}
