//! libtorch as the rest of the library sees it: tensors from and to host memory, errors, devices.

mod device;
mod normalise;
mod tensors;

pub use device::{resolve, set_threads};
pub use normalise::Normalise;
pub use tensors::{append, of_host, torch};
