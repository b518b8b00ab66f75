//! Threads of libtorch.

use crate::machine;

/// Tells libtorch of the calling thread's number of threads, if it was set since the last time.
pub(crate) fn tell_libtorch() {
    machine::tell_libtorch(|threads| {
        // A thread's first call takes over what any thread set last.
        tch::get_num_threads();
        tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
    });
}
