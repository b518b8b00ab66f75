//! libtorch as the rest of the library sees it: tensors from and to host memory, errors, devices.

mod capability;
mod device;
mod normalise;
#[cfg(libtorch_on_demand)]
mod on_demand;
#[cfg(not(libtorch_on_demand))]
mod on_demand {
    //! libtorch is loaded with the program.

    use crate::error::Result;

    pub(crate) fn open() -> Result<()> {
        Ok(())
    }

    pub(super) fn is_open() -> bool {
        true
    }

    pub(super) fn may_have_gpus() -> bool {
        true
    }
}
mod tensors;
mod threads;

pub(crate) use capability::compute_capability;
pub(crate) use device::of_process;
pub use device::{resolve, set_threads};
pub(crate) use normalise::Normalise;
pub(crate) use on_demand::open;
pub(crate) use tensors::{append, of_host, torch};
pub(crate) use threads::tell_libtorch;
