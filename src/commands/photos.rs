//! What commands say of the photos that they scan and load.

use std::sync::Arc;

use super::output::note;
use crate::data::{Depth, Folder, ScanOptions, Source, Undecodable, Unreadable};
use crate::error::{Result, shown};
use crate::evaluation::parts::PartPhotos;
use crate::progress::Progress;

/// As [`Folder::scan`], with [`ScanOptions::cached`].
pub(super) fn scan(
    source: &Source,
    max_bad: f64,
    depth: Depth,
    progress: &dyn Progress,
) -> Result<Folder> {
    Folder::scan(source, &ScanOptions::cached(max_bad, depth), progress)
}

/// Prints what there is to know of the photos of a part.
pub(super) fn warn(photos: &PartPhotos) {
    if let Some(warning) = &photos.warning {
        note(format_args!("warning: {warning}"));
    }
}

/// Tolerates as many undecodable photos as the scan has left of `max_bad`, and warns of each.
pub(super) fn tolerated(folder: &Folder, max_bad: f64) -> Arc<Undecodable> {
    let warn = |photo: &Unreadable| note(format_args!("warning: {}", skipped(photo)));
    Arc::new(Undecodable::allowing(folder.tolerated(max_bad), warn))
}

/// What there is to say of a photo that is left out.
pub(super) fn skipped(photo: &Unreadable) -> String {
    format!(
        "skipped a photo that can't be decoded, {} ({})",
        shown(&photo.path),
        photo.reason
    )
}
