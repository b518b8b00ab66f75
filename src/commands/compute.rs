//! Sets libtorch up: threads, device, and the compiled model.

use tch::Device;

use super::output::note;
use crate::bundle::Bundle;
use crate::cli::Compute;
use crate::engine::{self, Kernels, Options, Precision, Session};
use crate::error::Result;
use crate::training::{self, DeviceChoice};

/// Applies the arguments and gives the device.
///
/// # Errors
/// When this machine lacks the device.
pub fn set_up(args: &Compute) -> Result<Device> {
    with_threads(args.device, threads(args))
}

/// Threads that the arguments ask for: one a core unless they say.
pub fn threads(args: &Compute) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    args.threads.map_or(cores, usize::from)
}

/// A device as PyTorch names it, e.g. `cuda:0`.
pub fn device_name(device: Device) -> String {
    match device {
        Device::Cuda(place) => format!("cuda:{place}"),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// As [`set_up`], with a number of threads.
pub fn with_threads(device: DeviceChoice, threads: usize) -> Result<Device> {
    engine::use_threads(threads);
    training::resolve_device(device)
}

/// A model compiled for the device of the arguments; says in which precision.
///
/// # Errors
/// Those of [`set_up`] and [`Session::new`].
pub fn session(args: &Compute, bundle: Bundle, precision: Precision) -> Result<Session> {
    let options = Options {
        device: set_up(args)?,
        precision,
        kernels: Kernels::Auto,
    };
    let session = Session::new(bundle, &options)?;
    note(format_args!("precision: {}", session.target()));
    Ok(session)
}
