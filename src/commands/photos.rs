//! Which photos of a data set folder a command works on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::evaluation::Seen;
use super::output::note;
use crate::bundle::Manifest;
use crate::data::content::sha256;
use crate::data::{
    self, Depth, Folder, Loader, Part, Photo, ScanOptions, Source, Split, SplitOptions, Transform,
    Undecodable, Unreadable,
};
use crate::error::{Error, Result, shown};
use crate::image::Preprocessing;
use crate::progress::Progress;

/// Photos that are decoded between two looks at the stop flag.
const AT_ONCE: usize = 64;

/// As [`Folder::scan`], with [`ScanOptions::cached`].
pub fn scan(
    source: &Source,
    max_bad: f64,
    depth: Depth,
    progress: &dyn Progress,
) -> Result<Folder> {
    Folder::scan(source, &ScanOptions::cached(max_bad, depth), progress)
}

/// How closely to look at photos to measure or calibrate a model with: where the split of its
/// training is written down, it need not be made again, for which they would be decoded.
pub fn depth(model: &Path, split_manifest: Option<&Path>, manifest: &Manifest) -> Depth {
    match stored_split(model, split_manifest, manifest) {
        Some(_) => Depth::Headers,
        None => Depth::Pixels,
    }
}

/// Tolerates as many undecodable photos as the scan has left of `max_bad`, and warns of each.
pub fn tolerated(folder: &Folder, max_bad: f64) -> Arc<Undecodable> {
    let warn = |photo: &Unreadable| note(format_args!("warning: {}", skipped(photo)));
    Arc::new(Undecodable::allowing(folder.tolerated(max_bad), warn))
}

/// What there is to say of a photo that is left out.
pub fn skipped(photo: &Unreadable) -> String {
    format!(
        "skipped a photo that can't be decoded, {} ({})",
        shown(&photo.path),
        photo.reason
    )
}

/// The photos of a part, and the split they come from: that of the manifest given, the one that
/// the model was trained with, or the folder's own parts.
///
/// # Errors
/// [`Error::Data`] when the part can't be told, with the command's `remedy`, or when the manifest
/// is not that of the model's training.
pub fn of_part(
    part: Part,
    split_manifest: Option<&Path>,
    (model, manifest): (&Path, &Manifest),
    folder: &Folder,
    remedy: &str,
) -> Result<(Vec<usize>, Option<Split>)> {
    if let Some(path) = split_manifest {
        let split = Split::load(path, folder)?;
        if !is_of_training(&split.manifest, manifest) {
            let message = format!(
                "{} is not the split that the model was trained with: give the split.json of its \
                 run",
                shown(path)
            );
            return Err(Error::Data(message).into());
        }
        return Ok((split.part(part).to_vec(), Some(split)));
    }
    if let Some(split) = split_of_training(model, manifest, folder) {
        return Ok((split.part(part).to_vec(), Some(split)));
    }
    let places = own_part(part, folder);
    let root = &folder.source;
    if !places.is_empty() {
        note(format_args!(
            "warning: the model was not trained with the parts of {root}; measuring on its {part} \
             photos as they are"
        ));
        return Ok((places, None));
    }
    let message = format!(
        "{root} does not split into the parts that the model was trained with, so its {part} \
         photos are not known: {remedy}"
    );
    Err(Error::Data(message).into())
}

/// The photos to calibrate with: what the model was trained on where the folder tells, else the
/// folder's own training part, else all.
pub fn to_calibrate(model: &Path, manifest: &Manifest, folder: &Folder) -> Vec<usize> {
    if let Some(split) = split_of_training(model, manifest, folder) {
        return split.train;
    }
    let own = own_part(Part::Train, folder);
    match own.is_empty() {
        true => (0..folder.photos.len()).collect(),
        false => own,
    }
}

/// How many of the photos the model knows from its training; `None` when nothing tells: neither
/// the split in use, nor the folder when it is split again, nor a split manifest, be it that of
/// `--split-manifest` or the one beside the model.
pub fn seen(
    model: &Path,
    split_manifest: Option<&Path>,
    manifest: &Manifest,
    folder: &Folder,
    places: &[usize],
) -> Option<Seen> {
    let stored = stored_split(model, split_manifest, manifest);
    let split = stored.or_else(|| made_again(manifest, folder).map(|split| split.manifest))?;
    let count = |part| {
        let hashes: BTreeSet<_> = split.part(part).iter().map(|entry| entry.sha256).collect();
        let of_part = |place: &&usize| hashes.contains(&folder.photos[**place].hash);
        places.iter().filter(of_part).count()
    };
    Some(Seen {
        trained: count(Part::Train),
        selected: count(Part::Val),
    })
}

/// The split that the model was trained with: that of the manifest beside the model, else the
/// folder's when it is split again.
fn split_of_training(model: &Path, manifest: &Manifest, folder: &Folder) -> Option<Split> {
    let beside = Split::load(&beside(model), folder).ok();
    let beside = beside.filter(|split| is_of_training(&split.manifest, manifest));
    beside.or_else(|| made_again(manifest, folder))
}

/// The split manifest of the model's training: the one that is given, or the one beside the model.
fn stored_split(
    model: &Path,
    split_manifest: Option<&Path>,
    manifest: &Manifest,
) -> Option<data::Manifest> {
    let given = split_manifest.map(Path::to_path_buf);
    given.into_iter().chain([beside(model)]).find_map(|path| {
        let split = data::Manifest::read(&path).ok()?;
        is_of_training(&split, manifest).then_some(split)
    })
}

fn made_again(manifest: &Manifest, folder: &Folder) -> Option<Split> {
    let split = Split::make(folder, &split_options(manifest)).ok()?;
    is_of_training(&split.manifest, manifest).then_some(split)
}

/// Where a run keeps the split of its model.
fn beside(model: &Path) -> PathBuf {
    model.with_file_name("split.json")
}

fn is_of_training(split: &data::Manifest, manifest: &Manifest) -> bool {
    let sha256 = split.sha256().ok();
    sha256.is_some() && sha256 == manifest.split_sha256
}

fn own_part(part: Part, folder: &Folder) -> Vec<usize> {
    let own = |place: &usize| folder.photos[*place].part == Some(part);
    (0..folder.photos.len()).filter(own).collect()
}

/// How the model's photos were split, as far as it is recorded.
fn split_options(manifest: &Manifest) -> SplitOptions {
    let defaults = SplitOptions::default();
    let Some(record) = &manifest.recipe else {
        return defaults;
    };
    SplitOptions {
        val: record.val().unwrap_or(defaults.val),
        test: record.test().unwrap_or(defaults.test),
        seed: record.seed().unwrap_or(defaults.seed),
    }
}

/// The folder's photos with the model's class ids, matched by name.
///
/// # Errors
/// [`Error::Data`] that lists the classes which the model does not know.
pub fn relabelled(folder: &Folder, manifest: &Manifest) -> Result<Arc<[Photo]>> {
    let ids: BTreeMap<usize, usize> = folder
        .labels
        .names()
        .iter()
        .enumerate()
        .filter_map(|(id, name)| Some((id, manifest.labels.id(name)?)))
        .collect();
    let unknown: Vec<String> = folder
        .labels
        .names()
        .iter()
        .filter(|name| manifest.labels.id(name).is_none())
        .map(shown)
        .collect();
    if !unknown.is_empty() {
        let mut message = format!(
            "{} has classes that the model does not know: {}; it knows {}",
            folder.source,
            unknown.join(", "),
            manifest
                .labels
                .names()
                .iter()
                .map(shown)
                .collect::<Vec<_>>()
                .join(", ")
        );
        if let Some(advice) = &folder.advice {
            message.push_str(&format!("; {advice}"));
        }
        return Err(Error::Data(message).into());
    }
    let photos = folder.photos.iter().map(|photo| Photo {
        class: ids[&photo.class],
        ..photo.clone()
    });
    Ok(photos.collect())
}

/// At most `count` of the places, of each class the same share, chosen by content: the same ones
/// on every machine.
pub fn stratified(photos: &[Photo], places: &[usize], count: usize) -> Vec<usize> {
    let mut classes: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for &place in places {
        classes.entry(photos[place].class).or_default().push(place);
    }
    let mut ranked: Vec<(f64, usize)> = Vec::with_capacity(places.len());
    for mut class in classes.into_values() {
        class.sort_by_cached_key(|&place| sha256(&[b"sample", &photos[place].hash]));
        let size = class.len() as f64;
        let ranks = class.into_iter().enumerate();
        ranked.extend(ranks.map(|(rank, place)| ((rank as f64 + 0.5) / size, place)));
    }
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    ranked
        .into_iter()
        .take(count)
        .map(|(_, place)| place)
        .collect()
}

/// Photos as the model sees them, 8-bit RGB (n, crop, crop, 3), without the undecodable ones.
///
/// # Errors
/// [`Error::Data`] for a photo that can't be read any more and for undecodable ones beyond those
/// that are tolerated, [`Error::Interrupted`].
pub fn pictures(
    photos: &Arc<[Photo]>,
    places: &[usize],
    preprocessing: &Preprocessing,
    undecodable: &Arc<Undecodable>,
    stop: &AtomicBool,
    progress: &dyn Progress,
) -> Result<Vec<u8>> {
    let transform = Transform::plain(preprocessing);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let (photos, order) = (Arc::clone(photos), places.to_vec());
    let loader = Loader::new(photos, order, AT_ONCE, transform, workers)?;
    let mut loader = loader.tolerating(undecodable);
    progress.begin("loading photos", places.len() as u64);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_its_share_of_every_class() {
        let photo =
            |content: u8| Photo::fake(content, usize::from(content.is_multiple_of(4)), None);
        let photos: Vec<Photo> = (0..40).map(photo).collect();
        let all: Vec<usize> = (0..40).collect();
        let sample = stratified(&photos, &all, 20);
        let rare = sample.iter().filter(|&&place| photos[place].class == 1);
        assert_eq!((sample.len(), rare.count()), (20, 5));
        assert_eq!(sample[..8], stratified(&photos, &all, 8));
        let mut backwards = all.clone();
        backwards.reverse();
        assert_eq!(sample, stratified(&photos, &backwards, 20));
        let mut whole = stratified(&photos, &all, 99);
        whole.sort_unstable();
        assert_eq!(whole, all);
    }
}
