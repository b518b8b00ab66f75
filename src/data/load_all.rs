//! A few photos in memory, as a network takes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::loader::{Loader, Transform};
use super::photo::Photo;
use super::undecodable::Undecodable;
use crate::error::{Error, Result};
use crate::image::Preprocessing;
use crate::machine;
use crate::progress::Progress;

/// Photos that are decoded between two looks at the stop flag.
const AT_ONCE: usize = 64;

/// Preprocessed photos in memory, 8-bit RGB `(n, crop, crop, 3)`, without the undecodable ones.
///
/// # Errors
/// [`Error::Data`] for a photo that can't be read any more and for undecodable ones beyond those
/// that are tolerated, [`Error::Interrupted`].
pub fn load_all(
    photos: &Arc<[Photo]>,
    indices: &[usize],
    preprocessing: &Preprocessing,
    undecodable: &Arc<Undecodable>,
    stop: &AtomicBool,
    progress: &dyn Progress,
) -> Result<Vec<u8>> {
    let transform = Transform::plain(preprocessing);
    let workers = machine::cores();
    let (photos, order) = (Arc::clone(photos), indices.to_vec());
    let loader = Loader::new(photos, order, AT_ONCE, transform, workers)?;
    let mut loader = loader.tolerating(undecodable);
    progress.begin("loading photos", indices.len() as u64);
    let mut pixels = Vec::new();
    while let Some(batch) = loader.next() {
        let batch = batch?;
        pixels.extend_from_slice(&batch.pixels);
        progress.advance(batch.labels.len() as u64);
        loader.recycle(batch);
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted("stopped".into()).into());
        }
    }
    progress.finish();
    Ok(pixels)
}
