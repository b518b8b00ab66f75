//! Photos without labels, which join the training photos in the classes that the teachers see in them
//! (Lee, 2013, "Pseudo-Label").

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::config::Config;
use super::teacher::Teacher;
use crate::data::content::{Hash, hex, sha256};
use crate::data::loader::{Loader, Transform};
use crate::data::{self, Depth, Folder, Photo, ScanOptions, Split, Undecodable};
use crate::error::{Error, Result, shown};
use crate::progress::Progress;

/// Photos that the teachers look at together.
const BATCH: usize = 32;

/// Adds the unlabelled photos of a configuration to the training photos of a split, and records their hash.
/// Those that the data set has too, in whatever part, are left out. Gives what is to be said of it, if there
/// are any.
///
/// # Errors
/// [`Error::Data`] when there are none, or others than the configuration was written for; those of reading
/// them and of the teachers.
pub(super) fn join(
    config: &mut Config,
    teacher: Option<&Teacher>,
    folder: &mut Folder,
    split: &mut Split,
    progress: &dyn Progress,
) -> Result<Option<String>> {
    let (Some(from), Some(teacher)) = (config.unlabelled.clone(), teacher) else {
        return Ok(None);
    };
    let options = ScanOptions::cached(config.max_bad, Depth::Headers);
    let all = data::unlabelled(&from, &options, progress)?;
    let of = all.len();
    let mut known: BTreeSet<Hash> = folder.photos.iter().map(|photo| photo.hash).collect();
    let photos: Vec<Photo> = all.into_iter().filter(|p| known.insert(p.hash)).collect();
    if photos.is_empty() {
        let message = format!(
            "all photos in {} are in {} too",
            shown(&from),
            folder.source
        );
        return Err(Error::Data(message).into());
    }
    let hashes: Vec<&[u8]> = photos.iter().map(|photo| &photo.hash[..]).collect();
    record(config, hex(&sha256(&hashes)), &from)?;
    let photos = labelled(photos, config, teacher, folder, progress)?;
    let first = folder.photos.len();
    let added = photos.len();
    folder.photos = folder.photos.iter().cloned().chain(photos).collect();
    split.train.extend(first..first + added);
    Ok(Some(format!(
        "{added} of {of} unlabelled photos in {} join the training photos, as the teachers label them",
        shown(&from)
    )))
}

fn record(config: &mut Config, sha256: String, from: &Path) -> Result<()> {
    if let Some(expected) = &config.unlabelled_sha256
        && *expected != sha256
    {
        return Err(Error::Data(format!(
            "the photos in {} are not those that the run began with: restore them, or start a new run \
             with --unlabelled",
            shown(from)
        ))
        .into());
    }
    config.unlabelled_sha256 = Some(sha256);
    Ok(())
}

/// The photos that can be decoded, in the classes that the teachers hold most probable.
fn labelled(
    photos: Vec<Photo>,
    config: &Config,
    teacher: &Teacher,
    folder: &Folder,
    progress: &dyn Progress,
) -> Result<Vec<Photo>> {
    let photos: Arc<[Photo]> = photos.into();
    let preprocessing = (config.arch.preprocessing)(config.image_size as u32);
    let transform = Transform::plain(&preprocessing);
    let order = (0..photos.len()).collect();
    let loader = Loader::new(Arc::clone(&photos), order, BATCH, transform, config.workers)?;
    let allowed = folder.tolerated(config.max_bad);
    let mut loader = loader.tolerating(&Arc::new(Undecodable::allowing(allowed, |_| ())));
    progress.begin("labelling photos", photos.len() as u64);
    let mut labelled = Vec::with_capacity(photos.len());
    while let Some(batch) = loader.next() {
        let batch = batch?;
        if !batch.indices.is_empty() {
            let probabilities = teacher.probabilities(&batch.pixels, batch.size)?;
            let rows = probabilities.chunks(teacher.classes());
            for (&index, row) in batch.indices.iter().zip(rows) {
                let best = (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b]));
                labelled.push(Photo {
                    class: best.unwrap_or_default(),
                    ..photos[index].clone()
                });
            }
        }
        progress.advance(batch.labels.len() as u64);
        loader.recycle(batch);
    }
    progress.finish();
    Ok(labelled)
}
