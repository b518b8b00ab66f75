//! Tunes the C allocator for tensors: large buffers are kept instead of given back at every step.

/// Raises glibc's thresholds, above which memory is mapped anew for every allocation and given
/// back at every release: a network's feature maps come and go in the same sizes, and faulting
/// their pages in again costs more than the arithmetic of some layers. Does nothing elsewhere.
///
/// Call it before the first tensor is made.
pub fn keep_large_buffers() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const GIGABYTE: libc::c_int = 1 << 30;
        // SAFETY: mallopt only sets parameters of the allocator; an unknown one is ignored.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, GIGABYTE);
            libc::mallopt(libc::M_TRIM_THRESHOLD, GIGABYTE);
        }
    }
}
