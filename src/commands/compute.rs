//! Threads, device, and the loaded model of a command.

use super::output::note;
use crate::bundle::Bundle;
use crate::cli::Compute;
use crate::device::{Device, DeviceChoice};
use crate::error::Result;
use crate::inference::{self, Backend, Execution, Options, Precision};
use crate::machine;

/// Applies the arguments and gives the device.
///
/// # Errors
/// When this machine lacks the device.
pub(super) fn set_up(args: &Compute) -> Result<Device> {
    with_threads(args.device, threads(args))
}

/// Threads that the arguments ask for: one a core unless they say.
pub(super) fn threads(args: &Compute) -> usize {
    args.threads
        .map_or_else(machine::compute_threads, usize::from)
}

/// As [`set_up`], with a number of threads.
pub(super) fn with_threads(device: DeviceChoice, threads: usize) -> Result<Device> {
    inference::set_threads(threads);
    inference::resolve_device(device)
}

/// A model loaded on the device of the arguments; says in which precision.
///
/// # Errors
/// Those of [`set_up`] and [`inference::load_bundle`].
pub(super) fn load(
    args: &Compute,
    bundle: Bundle,
    precision: Precision,
) -> Result<Box<dyn Backend>> {
    let options = Options {
        precision,
        backend: args.backend,
        ..Options::auto(set_up(args)?)
    };
    let backend = inference::load_bundle(bundle, &options)?;
    note_execution(&backend.execution());
    Ok(backend)
}

/// Says in which precision a network computes, and why not by a faster backend.
pub(super) fn note_execution(execution: &Execution) {
    note(format_args!("precision: {execution}"));
    if let Some(why) = &execution.passed_over {
        note(format_args!("oneDNN is not used, so it is slower: {why}"));
    }
}
