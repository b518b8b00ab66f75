//! Memory of the process: an allocator that keeps large buffers, and how much is in use.

/// jemalloc for this program and for libtorch, where it replaces the system's allocator.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod allocator {
    use std::ptr::null_mut;

    use tikv_jemalloc_sys::mallctl;
    use tikv_jemallocator::Jemalloc;

    #[global_allocator]
    static ALLOCATOR: Jemalloc = Jemalloc;

    /// Free pages stay with the process: a network's feature maps come and go in the same sizes, and
    /// faulting their pages in again costs more than the arithmetic of some layers. Not in huge
    /// pages: those gain 3%, and what is resident creeps up for minutes while the kernel makes them.
    #[unsafe(export_name = "malloc_conf")]
    pub static OPTIONS: &[u8] = b"dirty_decay_ms:-1,muzzy_decay_ms:-1\0";

    pub(super) fn purge() {
        // 4096 stands for all arenas.
        let command = c"arena.4096.purge";
        let (no_value, no_length) = (null_mut(), null_mut());
        // SAFETY: the command takes no value and gives none.
        unsafe { mallctl(command.as_ptr(), no_value, no_length, null_mut(), 0) };
    }
}

/// Gives memory back that is free since a model was loaded: its copies on the way.
pub fn release_unused() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    allocator::purge();
}

/// Bytes of this process that are in memory now, where the system tells (Linux).
pub fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(1024 * kilobytes)
}
