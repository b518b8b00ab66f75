//! Predictions for metrics, of the photos that a loader gives.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::data::loader::Loader;
use crate::error::{Error, Result};
use crate::inference::{Backend, Images};
use crate::labels::Labels;
use crate::metrics::Predictions;

/// Predictions for every photo that a loader gives, in its order. `each` is called with the number of
/// photos of every batch.
///
/// # Errors
/// [`Error::Interrupted`] when `stop` is set; [`Error::Data`] for a photo that can't be read any
/// more, more undecodable ones than the loader tolerates, or scores that are not finite.
pub(crate) fn predictions(
    backend: &dyn Backend,
    loader: &mut Loader,
    labels: &Labels,
    stop: &AtomicBool,
    each: &mut dyn FnMut(usize) -> Result<()>,
) -> Result<Predictions> {
    let mut predictions = Predictions::new(labels.clone());
    let classes = labels.len().max(1);
    each_logits(backend, loader, stop, |truth, logits| {
        for (&label, row) in truth.iter().zip(logits.chunks(classes)) {
            predictions.push(label as usize, row)?;
        }
        each(truth.len())
    })?;
    Ok(predictions)
}

/// Calls `each` with the class ids (n) of every batch that a loader gives, and with its logits,
/// row-major (n, classes).
///
/// # Errors
/// [`Error::Interrupted`] when `stop` is set; those of the loader and of `each`.
pub(crate) fn each_logits(
    backend: &dyn Backend,
    loader: &mut Loader,
    stop: &AtomicBool,
    mut each: impl FnMut(&[i64], &[f32]) -> Result<()>,
) -> Result<()> {
    while let Some(batch) = loader.next() {
        let batch = batch?;
        if batch.labels.is_empty() {
            continue;
        }
        let logits = backend.logits(Images::Rgb8(&batch.pixels))?;
        each(&batch.labels, &logits)?;
        loader.recycle(batch);
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted("stopped".into()).into());
        }
    }
    Ok(())
}
