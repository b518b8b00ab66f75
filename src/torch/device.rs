//! Devices and threads of libtorch.

use super::waiting;
use crate::device::{Device, DeviceChoice};
use crate::error::{Error, Result};

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

/// Sets how many threads compute each operator that the calling thread runs.
/// While others compute on this machine, these threads wait for each other asleep, unless
/// `OMP_WAIT_POLICY` or `GOMP_SPINCOUNT` says how.
pub fn set_threads(threads: usize) {
    waiting::follow_load(threads);
    // A thread's first call takes over what any thread set last.
    tch::get_num_threads();
    tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
}
