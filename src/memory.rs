//! Memory of the process: keeps large buffers for tensors, and tells how much is in use.

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

/// Gives memory back that is free since a model was loaded: its copies on the way.
pub fn release_unused() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: malloc_trim only gives free pages back to the system.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Bytes of this process that are in memory now, where the system tells (Linux).
pub fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(1024 * kilobytes)
}
