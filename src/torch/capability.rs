//! What a GPU can do.

use std::ffi::{c_int, c_void};

/// The major version of a CUDA device's compute capability, 8 for Ampere; `None` when libtorch's CUDA
/// runtime does not tell.
pub(crate) fn compute_capability(device: usize) -> Option<i32> {
    type GetAttribute = unsafe extern "C" fn(*mut c_int, c_int, c_int) -> c_int;
    /// `cudaDevAttrComputeCapabilityMajor`.
    const MAJOR: c_int = 75;
    let device = c_int::try_from(device).ok()?;
    let found = symbol()?;
    // SAFETY: a symbol of that name is this function of CUDA's runtime.
    let get = unsafe { std::mem::transmute::<*mut c_void, GetAttribute>(found) };
    let mut major = 0;
    // SAFETY: the pointer is to a live integer, which is all that the function writes to.
    let status = unsafe { get(&mut major, MAJOR, device) };
    (status == 0).then_some(major)
}

#[cfg(unix)]
fn symbol() -> Option<*mut c_void> {
    // SAFETY: the name is a C string, and looking it up runs no code of ours.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"cudaDeviceGetAttribute".as_ptr()) };
    (!found.is_null()).then_some(found)
}

#[cfg(not(unix))]
fn symbol() -> Option<*mut c_void> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_there_has_none() {
        assert_eq!(compute_capability(usize::MAX), None);
        if !tch::Cuda::is_available() {
            assert_eq!(compute_capability(0), None);
        }
    }
}
