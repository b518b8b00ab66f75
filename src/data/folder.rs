//! The index of a data set folder: classes, photos, and what can't be read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::content::{self, Hash};
use super::distinct::Distinct;
use super::layout::{self, Found};
use super::listing::by_bytes;
use super::source::Source;
use crate::error::{Error, Result, shown, some};
use crate::image::Limits;
use crate::image::decode::{decode_for, read_bytes};
use crate::image::fingerprint::Fingerprint;
use crate::image::kind::is_picture;
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
    /// What it looks like.
    pub look: Fingerprint,
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
    /// `DIR/{train,val,test}/<class>/*` and the like, with the names of each part's classes.
    Parts(BTreeMap<Part, BTreeSet<String>>),
}

/// A data set, read once.
#[derive(Debug, Clone)]
pub struct Folder {
    pub source: Source,
    /// What paths are shown below of.
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
    /// Pictures outside the class folders, which are not used.
    pub loose: Vec<PathBuf>,
    pub passed_over: PassedOver,
    /// What may be meant when the classes are not those expected.
    pub advice: Option<String>,
}

/// What is no part of a data set and no fault of it either.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PassedOver {
    /// Hidden files and folders, and those that systems leave behind.
    pub hidden: Vec<PathBuf>,
    /// Files that are no pictures by their names and contents.
    pub others: Vec<PathBuf>,
}

/// A file of a class that calls itself a picture but is no usable photo, or not the whole of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    pub path: PathBuf,
    pub reason: String,
}

/// What a scan puts up with.
#[derive(Debug, Clone, PartialEq)]
pub struct ScanOptions {
    pub limits: Limits,
    /// The largest fraction of unreadable or damaged photos, 0 to 1; see [`allowed`].
    pub max_bad: f64,
}

/// Unreadable photos that are put up with whatever their share, unless none is.
pub const HANDFUL: usize = 5;

/// How many of `total` photos may be unreadable: a share of them, but at least [`HANDFUL`], and
/// none when the share is 0.
pub fn allowed(max_bad: f64, total: usize) -> usize {
    match (total as f64 * max_bad) as usize {
        _ if max_bad == 0.0 => 0,
        share => share.max(HANDFUL),
    }
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
    /// Indexes a data set that is going to be used.
    ///
    /// # Errors
    /// Those of [`Folder::index`], and [`Error::Data`] for the first of the [`Folder::faults`] or
    /// too many unreadable photos.
    pub fn scan(source: &Source, options: &ScanOptions, progress: &dyn Progress) -> Result<Self> {
        let folder = Self::index(source, &options.limits, progress)?;
        let too_many = folder.too_many_bad(options.max_bad).map(|what| {
            let files = folder.unreadable.iter().chain(&folder.damaged);
            let files = files.map(|file| format!("{} ({})", folder.shown(&file.path), file.reason));
            format!("{what}: {}", some(files))
        });
        match folder.faults().into_iter().chain(too_many).next() {
            Some(fault) => {
                let message = format!("{fault} (`{}` tells more)", source.check());
                Err(Error::Data(message).into())
            }
            None => Ok(folder),
        }
    }

    /// Reads, hashes and fully decodes every photo once, in parallel, and keeps none of the
    /// pictures. The result does not depend on the number of threads.
    ///
    /// Hidden files, what systems leave behind, and files that don't call themselves pictures are
    /// passed over. Links to files and folders are followed; one that leads back to its own parent
    /// is not.
    ///
    /// # Errors
    /// [`Error::Data`] when there is no such folder, no class in it, a class name that is not
    /// UTF-8, folders that may be parts or classes, or a file of labels that can't be used.
    pub fn index(source: &Source, limits: &Limits, progress: &dyn Progress) -> Result<Self> {
        let tree = layout::walk(source)?;
        let listed = matches!(source, Source::Listed { .. });
        progress.begin("reading photos", tree.files.len() as u64);
        let examined: Vec<Examined> = tree
            .files
            .into_par_iter()
            .map(|found| {
                let examined = examine(found, listed, limits);
                progress.advance(1);
                examined
            })
            .collect();
        progress.finish();
        let mut photos = Vec::with_capacity(examined.len());
        let mut unreadable = tree.unreadable;
        let mut damaged = Vec::new();
        let mut passed_over = tree.passed_over;
        for outcome in examined {
            match outcome {
                Examined::Photo(photo, damage) => {
                    photos.push(*photo);
                    damaged.extend(damage);
                }
                Examined::Unreadable(file) => unreadable.push(file),
                Examined::NoPicture(path) => passed_over.others.push(path),
            }
        }
        unreadable.sort_by(|a, b| by_bytes(&a.path, &b.path));
        for paths in [&mut passed_over.hidden, &mut passed_over.others] {
            paths.sort_by(|a, b| by_bytes(a, b));
        }
        Ok(Self {
            source: source.clone(),
            root: source.root(),
            layout: tree.layout,
            labels: tree.labels,
            photos: photos.into(),
            unreadable,
            damaged,
            loose: tree.loose,
            passed_over,
            advice: tree.advice,
        })
    }

    /// A path below the root as one printable line.
    pub fn shown(&self, path: &Path) -> String {
        shown(path.strip_prefix(&self.root).unwrap_or(path))
    }

    /// Why the data set is of no use at all, a line each: no photo, parts with differing classes,
    /// or a part to evaluate on without photos.
    pub fn faults(&self) -> Vec<String> {
        if self.photos.is_empty() && self.unreadable.is_empty() {
            let why = match self.passed_over.others.len() {
                0 => "its class folders are empty".to_owned(),
                1 => "its only file is not an image".to_owned(),
                n => format!("none of its {n} files is an image"),
            };
            return vec![format!("no photos in {}: {why}", self.source)];
        }
        let mut faults: Vec<String> = self.differing_classes().into_iter().collect();
        if let Layout::Parts(parts) = &self.layout {
            let distinct = Distinct::of(&self.photos);
            let is_empty = |part: &&Part| !distinct.has(&self.photos, **part);
            // Without photos to train on, a data set may still be evaluated on.
            let evaluated = parts.keys().filter(|part| **part != Part::Train);
            faults.extend(evaluated.filter(is_empty).map(|part| {
                format!(
                    "the {part} part of {} has no usable photos of its own: add some, or leave \
                     the part out",
                    self.source
                )
            }));
        }
        faults
    }

    /// Says so when more photos are unreadable or damaged than are [`allowed`], or none is whole.
    pub fn too_many_bad(&self, max_bad: f64) -> Option<String> {
        let total = self.unreadable.len() + self.photos.len();
        let bad = self.unreadable.len() + self.damaged.len();
        let allowed = allowed(max_bad, total);
        if bad == 0 || (bad <= allowed && bad < total) {
            return None;
        }
        let what = match self.damaged.len() {
            0 => "can't be read",
            damaged if damaged == bad => "are damaged",
            _ => "can't be read or are damaged",
        };
        Some(format!(
            "{bad} of {total} photos in {} {what}, and at most {} are tolerated: convert or remove \
             them{}",
            self.source,
            allowed.min(total.saturating_sub(1)),
            if bad < total {
                ", or raise --max-bad"
            } else {
                ""
            }
        ))
    }

    /// Says which classes may be the same one by their names.
    pub fn lookalikes(&self) -> Option<String> {
        let alike = self.labels.lookalikes();
        let names = alike.iter().map(|names| {
            let names: Vec<String> = names.iter().map(shown).collect();
            names.join(" and ")
        });
        (!alike.is_empty()).then(|| {
            format!(
                "class names that differ only in case, spaces or punctuation: {}; if they are the \
                 same class, give them one name",
                some(names)
            )
        })
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
                self.source,
                differences.join(", ")
            )
        })
    }
}

/// What a file of a class turns out to be.
enum Examined {
    /// A photo, and what is amiss with it.
    Photo(Box<Photo>, Option<Unreadable>),
    Unreadable(Unreadable),
    NoPicture(PathBuf),
}

/// Looks at a file; a small picture is enough for that. A `listed` one is a picture whatever it is
/// called.
fn examine(found: Found, listed: bool, limits: &Limits) -> Examined {
    let amiss = |reason: String| Unreadable {
        path: found.path.clone(),
        reason,
    };
    match is_picture(&found.path) {
        Ok(false) | Err(_) if !listed => return Examined::NoPicture(found.path),
        _ => {}
    }
    let bytes = match read_bytes(&found.path, limits) {
        Ok(bytes) => bytes,
        Err(cause) => return Examined::Unreadable(amiss(cause.to_string())),
    };
    match decode_for(&bytes, limits, &|_, _| Some(SMALL)) {
        Ok(decoded) => {
            let warnings: Vec<String> = decoded.warnings.iter().map(ToString::to_string).collect();
            let damage = (!warnings.is_empty()).then(|| amiss(warnings.join("; ")));
            let photo = Photo {
                class: found.class,
                hash: content::sha256(&[&bytes]),
                part: found.part,
                width: decoded.width,
                height: decoded.height,
                look: Fingerprint::of(&decoded.picture),
                path: found.path,
            };
            Examined::Photo(Box::new(photo), damage)
        }
        Err(cause) => Examined::Unreadable(amiss(cause.to_string())),
    }
}

#[cfg(test)]
impl Photo {
    /// A photo that there is no file of.
    pub(crate) fn imagined(content: u8, class: usize, part: Option<Part>) -> Self {
        Self {
            path: "x.jpg".into(),
            class,
            hash: [content; 32],
            part,
            width: 64,
            height: 64,
            look: Fingerprint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handful_of_unreadable_photos_is_allowed_unless_none_is() {
        assert_eq!(allowed(0.01, 9), 5);
        assert_eq!(allowed(0.01, 1000), 10);
        assert_eq!(allowed(0.2, 20), 5);
        assert_eq!(allowed(0.0, 1000), 0);
        assert_eq!(allowed(1.0, 30), 30);
    }
}
