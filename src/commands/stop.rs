//! Ctrl-C as a flag that long work looks at.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::error::{Error, Result, quoted};

/// A flag that Ctrl-C and SIGTERM set; the second one ends the program at once.
///
/// # Errors
/// [`Error::Environment`] when the system refuses.
pub(super) fn stop_flag() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&flag))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&flag)))
            .map_err(|cause| Error::Environment(format!("can't catch Ctrl-C: {cause}")))?;
    }
    Ok(flag)
}

/// Says that interrupted work is continued by the same command; other errors stay as they are.
pub(super) fn explain_interruption(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref() {
        Some(Error::Interrupted(_)) => {
            let command: Vec<String> = std::env::args_os().map(quoted).collect();
            Error::Interrupted(format!(
                "interrupted, progress saved; continue with the same command: {}",
                command.join(" ")
            ))
            .into()
        }
        _ => error,
    }
}
