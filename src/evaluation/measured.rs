//! A model measured on photos.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::parts::Seen;
use super::predictions::predictions;
use crate::bundle::Manifest;
use crate::data::loader::Transform;
use crate::data::{Loader, Photo, Undecodable};
use crate::error::{Error, Result};
use crate::inference::{Backend, Images};
use crate::metrics::{Evaluation, Predictions};
use crate::progress::Progress;

const BATCH: usize = 32;

/// A model measured on photos.
pub(crate) struct Measured {
    pub evaluation: Evaluation,
    pub(super) predictions: Predictions,
    pub(super) photos: Arc<[Photo]>,
    /// Indices of the photos, in the order of the predictions.
    pub(super) indices: Vec<usize>,
    pub(super) undecodable: Arc<Undecodable>,
    seen: Option<Seen>,
}

/// Photos to measure a model on; their classes are ids of the model's labels.
pub(crate) struct Photos {
    pub all: Arc<[Photo]>,
    pub indices: Vec<usize>,
    /// Threads that decode them.
    pub workers: usize,
    /// `None` when the photos of the training can't be told.
    pub seen: Option<Seen>,
    /// Counts the photos that are left out because they can't be decoded.
    pub undecodable: Arc<Undecodable>,
}

/// Runs a model over photos.
///
/// # Errors
/// [`crate::error::Error::Data`] when there is no photo, one has become unreadable, or more are
/// undecodable than tolerated; [`crate::error::Error::Interrupted`] when `stop` is set.
pub(crate) fn measure(
    backend: &dyn Backend,
    manifest: &Manifest,
    photos: Photos,
    stop: &AtomicBool,
    progress: &dyn Progress,
) -> Result<Measured> {
    progress.begin("evaluating", photos.indices.len() as u64);
    let predictions = predicted(backend, manifest, &photos, stop, progress)?;
    progress.finish();
    let trained_on = photos.seen.map(|seen| seen.trained as u64);
    Ok(Measured {
        evaluation: Evaluation {
            trained_on,
            ..Evaluation::of(&predictions)?
        },
        seen: photos.seen,
        predictions,
        indices: photos
            .indices
            .into_iter()
            .filter(|&index| !photos.undecodable.contains(&photos.all[index].path))
            .collect(),
        photos: photos.all,
        undecodable: photos.undecodable,
    })
}

/// Predictions for the photos, in their order; `progress` has begun.
///
/// # Errors
/// As [`measure`].
pub(crate) fn predicted(
    backend: &dyn Backend,
    manifest: &Manifest,
    photos: &Photos,
    stop: &AtomicBool,
    progress: &dyn Progress,
) -> Result<Predictions> {
    let transform = Transform::plain(&manifest.preprocessing);
    let (all, order) = (Arc::clone(&photos.all), photos.indices.clone());
    let loader = Loader::new(all, order, BATCH, transform, photos.workers)?;
    let mut loader = loader.tolerating(&photos.undecodable);
    let mut each = |images| {
        progress.advance(images as u64);
        Ok(())
    };
    predictions(backend, &mut loader, &manifest.labels, stop, &mut each)
}

/// Predictions of each of several backends for the photos, which are decoded once; `progress` has
/// begun.
///
/// # Errors
/// As [`measure`].
pub(crate) fn predicted_by(
    backends: &[&dyn Backend],
    manifest: &Manifest,
    photos: &Photos,
    stop: &AtomicBool,
    progress: &dyn Progress,
) -> Result<Vec<Predictions>> {
    let transform = Transform::plain(&manifest.preprocessing);
    let (all, order) = (Arc::clone(&photos.all), photos.indices.clone());
    let loader = Loader::new(all, order, BATCH, transform, photos.workers)?;
    let mut loader = loader.tolerating(&photos.undecodable);
    let classes = manifest.labels.len().max(1);
    let mut predictions = vec![Predictions::new(manifest.labels.clone()); backends.len()];
    while let Some(batch) = loader.next() {
        let batch = batch?;
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted("stopped".into()).into());
        }
        if batch.labels.is_empty() {
            continue;
        }
        for (backend, predictions) in backends.iter().zip(&mut predictions) {
            let logits = backend.logits(Images::Rgb8(&batch.pixels))?;
            for (&label, row) in batch.labels.iter().zip(logits.chunks(classes)) {
                predictions.push(label as usize, row)?;
            }
        }
        progress.advance(batch.labels.len() as u64);
        loader.recycle(batch);
    }
    Ok(predictions)
}

impl Measured {
    /// Why the figures are better than those of new photos will be.
    pub(crate) fn caveat(&self) -> Option<String> {
        let (seen, n) = (self.seen?, self.evaluation.n);
        let all = |count: usize| match count as u64 == n {
            true => format!("all {n} of these photos"),
            false => format!("{count} of these {n} photos"),
        };
        match seen {
            Seen {
                trained: 0,
                selected: 0,
            } => None,
            Seen {
                trained: 0,
                selected,
            } => Some(format!(
                "the best epoch was chosen on {}: accuracy on new photos may be a little lower",
                all(selected)
            )),
            Seen { trained, selected } => {
                let others = match selected {
                    0 => String::new(),
                    _ => format!(", and its best epoch was chosen on {selected} more"),
                };
                Some(format!(
                    "the model was trained on {}{others}, so accuracy on new photos will be lower; \
                     measure with --split test",
                    all(trained)
                ))
            }
        }
    }
}
