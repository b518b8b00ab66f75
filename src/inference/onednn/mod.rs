//! Networks as plans of oneDNN's primitives, by its public C API.

mod attributes;
mod constants;
mod ffi;
mod found;
mod library;
mod memory;
mod plan;
mod primitives;
mod session;
mod slices;
#[cfg(test)]
mod tests;

pub(super) use library::{status, version};
pub use session::{Extractor, Session};

use crate::device::Device;
use crate::inference::{Kernels, Options};

/// Whether plans are for such options, on such a machine.
pub(super) fn suits(options: &Options) -> bool {
    cfg!(all(target_arch = "x86_64", target_os = "linux"))
        && options.device == Device::Cpu
        && options.kernels != Kernels::Plain
}
