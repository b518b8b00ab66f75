//! Which photos of a data set a model is measured or calibrated on, by how it was trained.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::bundle::Manifest;
use crate::data::{self, Depth, Folder, Part, Photo, Split, SplitOptions};
use crate::error::{Error, Result, shown};

/// How many of the photos a model knows from its training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Trained on.
    pub trained: usize,
    /// Validated on, to choose the best epoch.
    pub selected: usize,
}

/// The photos of a part.
pub(crate) struct PartPhotos {
    pub indices: Vec<usize>,
    /// The split that they are of; `None` for parts that the model was not trained with.
    pub split: Option<Split>,
    /// What the user should know of them.
    pub warning: Option<String>,
}

impl PartPhotos {
    fn of(split: Split, part: Part) -> Self {
        Self {
            indices: split.part(part).to_vec(),
            split: Some(split),
            warning: None,
        }
    }
}

/// How closely to look at photos to measure or calibrate a model with: where the split of its
/// training is written down, it need not be made again, for which they would be decoded.
pub(crate) fn depth(model: &Path, split_manifest: Option<&Path>, manifest: &Manifest) -> Depth {
    match stored_split(model, split_manifest, manifest) {
        Some(_) => Depth::Headers,
        None => Depth::Pixels,
    }
}

/// The photos of a part, and the split they come from: that of the manifest given, the one that
/// the model was trained with, or the folder's own parts.
///
/// # Errors
/// [`Error::Data`] when the part can't be told, with the command's `remedy`, or when the manifest
/// is not that of the model's training.
pub(crate) fn of_part(
    part: Part,
    split_manifest: Option<&Path>,
    (model, manifest): (&Path, &Manifest),
    folder: &Folder,
    remedy: &str,
) -> Result<PartPhotos> {
    if let Some(path) = split_manifest {
        let split = Split::load(path, folder)?;
        return match is_of_training(&split.manifest, manifest) {
            true => Ok(PartPhotos::of(split, part)),
            false => Err(not_of_training(path)),
        };
    }
    if let Some(split) = split_of_training(model, manifest, folder) {
        return Ok(PartPhotos::of(split, part));
    }
    let indices = own_part(part, folder);
    let root = &folder.source;
    if !indices.is_empty() {
        let warning = format!(
            "the model was not trained on this split of {root}; measuring on its {part} photos as \
             they are"
        );
        return Ok(PartPhotos {
            indices,
            split: None,
            warning: Some(warning),
        });
    }
    let message = format!(
        "{root} does not split as it did when the model was trained, so its {part} \
         photos can't be identified: {remedy}"
    );
    Err(Error::Data(message).into())
}

/// The split that a model was trained with, to train on from the model; that of the folder where the model
/// says nothing of its training.
///
/// # Errors
/// [`Error::Data`] when it can't be told.
pub(crate) fn of_training(
    split_manifest: Option<&Path>,
    (model, manifest): (&Path, &Manifest),
    folder: &Folder,
) -> Result<Split> {
    if let Some(path) = split_manifest {
        let split = Split::load(path, folder)?;
        return match is_of_training(&split.manifest, manifest) {
            true => Ok(split),
            false => Err(not_of_training(path)),
        };
    }
    if let Some(split) = split_of_training(model, manifest, folder) {
        return Ok(split);
    }
    if manifest.split_sha256.is_none() {
        return Split::make(folder, &split_options(manifest));
    }
    let message = format!(
        "{} does not split as it did when the model was trained, so its test photos can't be \
         identified: give the split.json of its run by --split",
        folder.source
    );
    Err(Error::Data(message).into())
}

fn not_of_training(path: &Path) -> anyhow::Error {
    let message = format!(
        "{} is not the split that the model was trained with: give the split.json of its run",
        shown(path)
    );
    Error::Data(message).into()
}

/// The photos to calibrate with: what the model was trained on where the folder tells, else the
/// folder's own training part, else all.
pub(crate) fn to_calibrate(model: &Path, manifest: &Manifest, folder: &Folder) -> Vec<usize> {
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
pub(crate) fn seen(
    model: &Path,
    split_manifest: Option<&Path>,
    manifest: &Manifest,
    folder: &Folder,
    indices: &[usize],
) -> Option<Seen> {
    let stored = stored_split(model, split_manifest, manifest);
    let split = stored.or_else(|| made_again(manifest, folder).map(|split| split.manifest))?;
    let count = |part| {
        let hashes: BTreeSet<_> = split.part(part).iter().map(|entry| entry.sha256).collect();
        let of_part = |index: &&usize| hashes.contains(&folder.photos[**index].hash);
        indices.iter().filter(of_part).count()
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
) -> Option<data::SplitManifest> {
    let given = split_manifest.map(Path::to_path_buf);
    given.into_iter().chain([beside(model)]).find_map(|path| {
        let split = data::SplitManifest::read(&path).ok()?;
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

fn is_of_training(split: &data::SplitManifest, manifest: &Manifest) -> bool {
    let sha256 = split.sha256().ok();
    sha256.is_some() && sha256 == manifest.split_sha256
}

fn own_part(part: Part, folder: &Folder) -> Vec<usize> {
    let own = |index: &usize| folder.photos[*index].part == Some(part);
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
pub(crate) fn relabelled(folder: &Folder, manifest: &Manifest) -> Result<Arc<[Photo]>> {
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
