//! Networks as TorchScript, whose code may name operators that libtorch's own interface lacks:
//! oneDNN's fused convolutions and integer kernels.
//!
//! A [`Session`] writes an archive of a network in memory ([`compile()`]) and lets libtorch load it.

pub mod archive;
mod batches;
mod compile;
mod input;
mod loaded;
mod operators;
mod session;
mod target;

pub use batches::Batches;
pub use compile::{Compiled, compile};
pub use loaded::Loaded;
pub(crate) use operators::has_bfloat16;
pub use session::{Extractor, Session};
pub use target::Target;

pub use crate::torch::{resolve as resolve_device, set_threads};

use crate::device::{Device, DeviceChoice};
use crate::error::Result;
use crate::torch::open;

/// What libtorch has here: its kernels for the CPU, and its devices.
pub(super) fn status() -> Result<String> {
    open()?;
    let kernels = match (operators::has_fused(), operators::has_bfloat16()) {
        (true, true) => "fused kernels in float32, bfloat16 and int8",
        (true, false) => "fused kernels in float32 and int8, no bfloat16",
        (false, _) => "plain kernels",
    };
    let devices = match resolve_device(DeviceChoice::Auto)? {
        Device::Cpu => "cpu".into(),
        device => format!("cpu, {device}"),
    };
    Ok(format!("{kernels}; devices: {devices}"))
}
