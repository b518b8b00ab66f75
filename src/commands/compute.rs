//! Sets libtorch up: threads and device.

use tch::Device;

use crate::cli::Compute;
use crate::error::Result;
use crate::training::{self, DeviceChoice};

/// Applies the arguments and gives the device.
///
/// # Errors
/// When this machine lacks the device.
pub fn set_up(args: &Compute) -> Result<Device> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    with_threads(args.device, args.threads.map_or(cores, usize::from))
}

/// As [`set_up`], with a number of threads.
pub fn with_threads(device: DeviceChoice, threads: usize) -> Result<Device> {
    tch::set_num_threads(threads as i32);
    training::resolve_device(device)
}
