//! The index of a data set folder: classes, photos, and what can't be read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::content::{self, Hash};
use super::layout::{self, Found, by_bytes};
use crate::error::{Error, Result, shown, some};
use crate::image::Limits;
use crate::image::decode::{decode_for, read_bytes};
use crate::labels::Labels;
use crate::progress::Progress;

/// Pixels on the shorter side of what is looked at to tell that a photo can be decoded.
const SMALL: u32 = 64;

/// A photo that can be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Photo {
    /// Where to open it: the folder's root and the path below it.
    pub path: PathBuf,
    /// Id in the data set's [`Labels`].
    pub class: usize,
    /// SHA-256 of the file's bytes: its identity, whatever its name.
    pub hash: Hash,
    /// The part that the folder layout puts it in, if it does.
    pub part: Option<Part>,
    /// Width in pixels, after EXIF orientation.
    pub width: u32,
    /// Height in pixels, after EXIF orientation.
    pub height: u32,
}

/// A part of a split data set.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    Train,
    Val,
    Test,
}

impl Part {
    pub const ALL: [Self; 3] = [Self::Train, Self::Val, Self::Test];

    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// How a data set folder is laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// `DIR/<class>/*`
    Classes,
    /// `DIR/{train,val,test}/<class>/*`, with the names of each part's classes.
    Parts(BTreeMap<Part, BTreeSet<String>>),
}

/// A data set folder, read once.
#[derive(Debug, Clone)]
pub struct Folder {
    pub root: PathBuf,
    pub layout: Layout,
    /// The classes of all parts.
    pub labels: Labels,
    /// Sorted by the bytes of their paths.
    pub photos: Arc<[Photo]>,
    /// Sorted by the bytes of their paths.
    pub unreadable: Vec<Unreadable>,
    /// Photos that are cut short or damaged, but used. Sorted by the bytes of their paths.
    pub damaged: Vec<Unreadable>,
    /// Files outside the class folders, which are passed over.
    pub loose: Vec<PathBuf>,
}

/// A file in a class folder that is no usable photo, or not the whole of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    pub path: PathBuf,
    pub reason: String,
}

/// What a scan puts up with.
#[derive(Debug, Clone, PartialEq)]
pub struct ScanOptions {
    pub limits: Limits,
    /// The largest share of unreadable or damaged files, 0 to 1.
    pub max_bad: f64,
}

impl Default for ScanOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            max_bad: 0.01,
        }
    }
}

impl Folder {
    /// Indexes a data set folder that is going to be used.
    ///
    /// # Errors
    /// Those of [`Folder::index`], and [`Error::Data`] for the first of the [`Folder::faults`].
    pub fn scan(root: &Path, options: &ScanOptions, progress: &dyn Progress) -> Result<Self> {
        let folder = Self::index(root, &options.limits, progress)?;
        match folder.faults(options.max_bad).into_iter().next() {
            Some(fault) => {
                let root = shown(root);
                let message = format!("{fault} (`flowers data check {root}` tells more)");
                Err(Error::Data(message).into())
            }
            None => Ok(folder),
        }
    }

    /// Reads, hashes and fully decodes every file once, in parallel, and keeps none of the
    /// pictures. The result does not depend on the number of threads.
    ///
    /// Hidden files and what file managers leave behind are passed over. Links to files and
    /// folders are followed; one that leads back to its own parent is not.
    ///
    /// # Errors
    /// [`Error::Data`] when there is no such folder, no class in it, a class name that is no
    /// UTF-8, or a mixture of the two layouts.
    pub fn index(root: &Path, limits: &Limits, progress: &dyn Progress) -> Result<Self> {
        let tree = layout::walk(root)?;
        progress.begin("reading photos", tree.files.len() as u64);
        let examined: Vec<Result<(Photo, Option<Unreadable>), Unreadable>> = tree
            .files
            .into_par_iter()
            .map(|found| {
                let examined = examine(found, limits);
                progress.advance(1);
                examined
            })
            .collect();
        progress.finish();
        let mut photos = Vec::with_capacity(examined.len());
        let mut unreadable = tree.unreadable;
        let mut damaged = Vec::new();
        for outcome in examined {
            match outcome {
                Ok((photo, damage)) => {
                    photos.push(photo);
                    damaged.extend(damage);
                }
                Err(file) => unreadable.push(file),
            }
        }
        unreadable.sort_by(|a, b| by_bytes(&a.path, &b.path));
        Ok(Self {
            root: root.to_path_buf(),
            layout: tree.layout,
            labels: tree.labels,
            photos: photos.into(),
            unreadable,
            damaged,
            loose: tree.loose,
        })
    }

    /// A path below the root as one printable line.
    pub fn shown(&self, path: &Path) -> String {
        shown(path.strip_prefix(&self.root).unwrap_or(path))
    }

    /// Why the folder is of no use at all, a line each: no photo, parts with differing classes,
    /// or a larger share of unreadable and damaged files than `max_bad`.
    pub fn faults(&self, max_bad: f64) -> Vec<String> {
        let mut faults = Vec::new();
        let total = self.photos.len() + self.unreadable.len();
        if total == 0 {
            faults.push(format!(
                "{} holds no photos: its class folders are empty",
                shown(&self.root)
            ));
        }
        faults.extend(self.differing_classes());
        let bad = self.unreadable.len() + self.damaged.len();
        let share = bad as f64 / total.max(1) as f64;
        if share > max_bad || (bad > 0 && self.photos.is_empty()) {
            faults.push(format!(
                "{bad} of {total} files in {} can't be read or are damaged ({:.1}%, at most {}% allowed): {}; remove \
                 them or raise --max-bad",
                shown(&self.root),
                share * 100.0,
                max_bad * 100.0,
                some(self.unreadable.iter().chain(&self.damaged).map(|file| format!(
                    "{} ({})",
                    self.shown(&file.path),
                    file.reason
                ))),
            ));
        }
        faults
    }

    fn differing_classes(&self) -> Option<String> {
        let Layout::Parts(parts) = &self.layout else {
            return None;
        };
        let mut parts = parts.iter();
        let (model, expected) = parts.next()?;
        let mut differences = Vec::new();
        for (part, classes) in parts {
            let missing: Vec<_> = expected.difference(classes).collect();
            let extra: Vec<_> = classes.difference(expected).collect();
            if !missing.is_empty() {
                differences.push(format!(
                    "{part} lacks {}",
                    some(missing.into_iter().map(shown))
                ));
            }
            if !extra.is_empty() {
                differences.push(format!(
                    "{part} has {} besides",
                    some(extra.into_iter().map(shown))
                ));
            }
        }
        (!differences.is_empty()).then(|| {
            format!(
                "the parts of {} differ in their classes: compared with {model}, {}; give every \
                 part the same class folders",
                shown(&self.root),
                differences.join(", ")
            )
        })
    }
}

/// The photo, and what is amiss with it. A small picture is enough to see that.
fn examine(found: Found, limits: &Limits) -> Result<(Photo, Option<Unreadable>), Unreadable> {
    let unreadable = |reason: String| Unreadable {
        path: found.path.clone(),
        reason,
    };
    let bytes = read_bytes(&found.path, limits).map_err(|cause| unreadable(cause.to_string()))?;
    let decoded = decode_for(&bytes, limits, &|_, _| Some(SMALL))
        .map_err(|cause| unreadable(cause.to_string()))?;
    let warnings: Vec<String> = decoded.warnings.iter().map(ToString::to_string).collect();
    let damage = (!warnings.is_empty()).then(|| unreadable(warnings.join("; ")));
    let photo = Photo {
        class: found.class,
        hash: content::sha256(&[&bytes]),
        part: found.part,
        width: decoded.width,
        height: decoded.height,
        path: found.path,
    };
    Ok((photo, damage))
}
