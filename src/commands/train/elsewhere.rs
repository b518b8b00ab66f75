//! `flowers train --nproc` on systems whose libtorch has no collectives.

use crate::distributed::Hub;
use crate::error::Result;

/// # Errors
/// Always [`Error::Environment`](crate::error::Error::Environment).
pub(super) fn run(_count: usize) -> Result<()> {
    Hub::open().map(drop)
}

/// Nothing: no `flowers` starts others here.
pub(super) fn end_with_launcher() {}
