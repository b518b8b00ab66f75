//! Memory of the process: an allocator that keeps large buffers, and how much is in use.

/// jemalloc for this program and for libtorch, where it replaces the system's allocator. Sanitizers of
/// a fuzzing build bring an allocator of their own.
#[cfg(all(target_os = "linux", target_env = "gnu", not(fuzzing)))]
mod allocator {
    use std::ffi::{CStr, CString, c_uint, c_void};
    use std::ptr::{from_mut, null_mut};
    use std::sync::OnceLock;

    use tikv_jemalloc_sys::mallctl;
    use tikv_jemallocator::Jemalloc;

    #[global_allocator]
    static ALLOCATOR: Jemalloc = Jemalloc;

    /// Free pages stay with the process: a network's feature maps come and go in the same sizes, and
    /// faulting their pages in again costs more than the arithmetic of some layers. Not in huge
    /// pages: those gain 3%, and what is resident creeps up for minutes while the kernel makes them.
    #[unsafe(export_name = "malloc_conf")]
    pub(super) static OPTIONS: &[u8] = b"dirty_decay_ms:-1,muzzy_decay_ms:-1\0";

    /// The arena of threads that give memory back, once it is made.
    static RETURNING: OnceLock<Option<c_uint>> = OnceLock::new();

    pub(super) fn use_returning() {
        if let Some(arena) = *RETURNING.get_or_init(make_returning) {
            set(c"thread.arena", arena);
        }
    }

    fn make_returning() -> Option<c_uint> {
        let mut arena: c_uint = 0;
        let mut length = size_of_val(&arena);
        let place = from_mut(&mut arena).cast::<c_void>();
        // SAFETY: the command gives a number of this type and length.
        let made = unsafe { mallctl(c"arenas.create".as_ptr(), place, &mut length, null_mut(), 0) };
        let option = CString::new(format!("arena.{arena}.dirty_decay_ms")).ok()?;
        (made == 0 && set::<isize>(&option, 10_000)).then_some(arena)
    }

    /// Sets an option, of the type that jemalloc's manual gives it.
    fn set<T>(option: &CStr, mut value: T) -> bool {
        let place = from_mut(&mut value).cast::<c_void>();
        // SAFETY: the value lives as long as the call, and its length is told.
        let failed = unsafe {
            mallctl(
                option.as_ptr(),
                null_mut(),
                null_mut(),
                place,
                size_of::<T>(),
            )
        };
        failed == 0
    }

    /// What the calling thread has allocated so far, in bytes.
    #[cfg(test)]
    pub(super) fn allocated() -> u64 {
        let mut bytes: u64 = 0;
        let mut length = size_of_val(&bytes);
        let place = from_mut(&mut bytes).cast::<c_void>();
        // SAFETY: the command gives a number of this type and length.
        unsafe {
            mallctl(
                c"thread.allocated".as_ptr(),
                place,
                &mut length,
                null_mut(),
                0,
            )
        };
        bytes
    }

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
    #[cfg(all(target_os = "linux", target_env = "gnu", not(fuzzing)))]
    allocator::purge();
}

/// Bytes that the calling thread has allocated so far, by any library.
#[cfg(all(test, target_os = "linux", target_env = "gnu", not(fuzzing)))]
pub(crate) fn allocated() -> u64 {
    allocator::allocated()
}

/// Lets the calling thread share its free memory with the others that called this, and give it back
/// after ten seconds: for work whose size outsiders choose. Other threads keep what they once had.
pub fn share_and_return() {
    #[cfg(all(target_os = "linux", target_env = "gnu", not(fuzzing)))]
    allocator::use_returning();
}

/// Bytes of this process that are in memory now, where the system tells (Linux).
pub fn resident() -> Option<u64> {
    status("VmRSS:")
}

/// The most bytes of this process that have been in memory at once, where the system tells (Linux).
pub fn peak() -> Option<u64> {
    status("VmHWM:")
}

fn status(key: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(key))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(1024 * kilobytes)
}
