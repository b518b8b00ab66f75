//! How many threads compute for the calling thread.

use std::cell::Cell;
use std::thread::LocalKey;

use super::waiting;

thread_local! {
    /// What libtorch is still to be told.
    static LIBTORCH: Cell<Option<usize>> = const { Cell::new(None) };
    /// What oneDNN is.
    static ONEDNN: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Keeps the number of threads for the libraries that compute, which may not be loaded yet.
/// While others compute on this machine, these threads wait for each other asleep, unless
/// `OMP_WAIT_POLICY` or `GOMP_SPINCOUNT` says how.
pub(crate) fn set_threads(threads: usize) {
    LIBTORCH.set(Some(threads));
    ONEDNN.set(Some(threads));
}

/// Tells libtorch, which is loaded, if the number was set since the last time.
pub(crate) fn tell_libtorch(tell: impl FnOnce(usize)) {
    hand_over(&LIBTORCH, tell);
}

/// Tells oneDNN likewise.
pub(crate) fn tell_onednn(tell: impl FnOnce(usize)) {
    hand_over(&ONEDNN, tell);
}

fn hand_over(kept: &'static LocalKey<Cell<Option<usize>>>, tell: impl FnOnce(usize)) {
    if let Some(threads) = kept.take() {
        tell(threads);
        waiting::follow_load(threads);
    }
}
