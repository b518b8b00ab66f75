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
    while let Some(batch) = loader.next() {
        let batch = batch?;
        if batch.labels.is_empty() {
            continue;
        }
        let rows = backend.logits(Images::Rgb8(&batch.pixels))?;
        for (&label, row) in batch.labels.iter().zip(rows.chunks(labels.len().max(1))) {
            predictions.push(label as usize, row)?;
        }
        each(batch.labels.len())?;
        loader.recycle(batch);
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted("stopped".into()).into());
        }
    }
    Ok(predictions)
}
