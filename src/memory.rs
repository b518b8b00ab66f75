//! Tunes the C allocator for tensors: large buffers are kept instead of given back at every step.

/// Raises glibc's thresholds, above which memory is mapped anew for every allocation and given
/// back at every release: a network's feature maps come and go in the same sizes, and faulting
/// their pages in again costs more than the arithmetic of some layers. Does nothing elsewhere.
///
/// Call it before the first tensor is made.
pub fn keep_large_buffers() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // Some versions of glibc refuse more than half of a heap, 32 MB.
        const THRESHOLDS: [libc::c_int; 2] = [1 << 30, 1 << 25];
        // SAFETY: mallopt only sets parameters of the allocator, and says 0 when it refuses.
        let set = |parameter, value| unsafe { libc::mallopt(parameter, value) != 0 };
        if THRESHOLDS
            .into_iter()
            .any(|size| set(libc::M_MMAP_THRESHOLD, size))
        {
            set(libc::M_TRIM_THRESHOLD, THRESHOLDS[0]);
        }
    }
}
