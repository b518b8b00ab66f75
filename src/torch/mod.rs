//! libtorch as the rest of the library sees it: tensors from and to host memory, errors, devices.

mod capability;
mod device;
mod normalise;
mod tensors;
mod waiting;

pub(crate) use capability::compute_capability;
pub(crate) use device::of_process;
pub use device::{resolve, set_threads};
pub(crate) use normalise::Normalise;
pub(crate) use tensors::{append, of_host, torch};
