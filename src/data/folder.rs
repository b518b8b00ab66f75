//! The index of a data set folder: classes, photos, and what can't be read.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::distinct::Distinct;
use super::layout::{self, Layout, Skipped};
use super::listing::by_bytes;
use super::photo::{Part, Photo, Unreadable};
use super::scan::{Scan, ScanOptions, Scanned};
use super::source::Source;
use crate::error::{Error, Result, shown, some};
use crate::labels::Labels;
use crate::progress::Progress;

/// A data set as a scan found it.
#[derive(Debug, Clone)]
pub struct Folder {
    pub source: Source,
    /// What shown paths start from.
    pub root: PathBuf,
    pub layout: Layout,
    /// The classes of all parts.
    pub labels: Labels,
    /// Sorted by the bytes of their paths.
    pub photos: Arc<[Photo]>,
    /// Sorted by the bytes of their paths.
    pub unreadable: Vec<Unreadable>,
    /// Photos that are cut short or damaged, but used, as far as the scan's depth tells. Sorted by
    /// the bytes of their paths.
    pub damaged: Vec<Unreadable>,
    /// Pictures outside the class folders, which are not used.
    pub loose: Vec<PathBuf>,
    pub skipped: Skipped,
    /// What may be meant when the classes are not those expected.
    pub advice: Option<String>,
}

/// Unreadable photos that are tolerated whatever their fraction, unless that is 0.
const ALWAYS_ALLOWED: usize = 5;

/// How many of `total` photos may be unreadable: the fraction `max_bad` of them, but at least 5, and
/// none when the fraction is 0.
pub fn allowed(max_bad: f64, total: usize) -> usize {
    match (total as f64 * max_bad) as usize {
        _ if max_bad == 0.0 => 0,
        count => count.max(ALWAYS_ALLOWED),
    }
}

impl Folder {
    /// Indexes a data set that is going to be used.
    ///
    /// # Errors
    /// Those of [`Folder::index`], and [`Error::Data`] for the first of the [`Folder::faults`] or
    /// too many unreadable photos.
    pub fn scan(source: &Source, options: &ScanOptions, progress: &dyn Progress) -> Result<Self> {
        let folder = Self::index(source, options, progress)?;
        let too_many = folder.too_many_bad(options.max_bad).map(|what| {
            let files = folder.unreadable.iter().chain(&folder.damaged);
            let files = files.map(|file| format!("{} ({})", folder.shown(&file.path), file.reason));
            format!("{what}: {}", some(files))
        });
        match folder.faults().into_iter().chain(too_many).next() {
            Some(fault) => {
                let message = format!("{fault} (run `{}` for details)", source.check());
                Err(Error::Data(message).into())
            }
            None => Ok(folder),
        }
    }

    /// Reads every file once, in parallel, except those that the cache knows, and looks at it as
    /// closely as the options say. The result depends neither on the number of threads nor on what
    /// the cache knows.
    ///
    /// Hidden files, what systems leave behind, and files that are not named like images and don't
    /// begin like one are skipped. Links to files and folders are followed; one that leads back to
    /// its own parent is not.
    ///
    /// # Errors
    /// [`Error::Data`] when there is no such folder, no class in it, a class name that is not
    /// UTF-8, folders that may be parts or classes, or a file of labels that can't be used.
    pub fn index(source: &Source, options: &ScanOptions, progress: &dyn Progress) -> Result<Self> {
        let tree = layout::walk(source)?;
        let scan = Scan::new(source, options);
        progress.begin("reading photos", tree.files.len() as u64);
        let scanned: Vec<Scanned> = tree
            .files
            .into_par_iter()
            .map(|file| {
                let scanned = scan.file(file);
                progress.advance(1);
                scanned
            })
            .collect();
        progress.finish();
        scan.finish();
        let mut photos = Vec::with_capacity(scanned.len());
        let mut unreadable = tree.unreadable;
        let mut damaged = Vec::new();
        let mut skipped = tree.skipped;
        for file in scanned {
            match file {
                Scanned::Photo(photo, damage) => {
                    photos.push(*photo);
                    damaged.extend(damage);
                }
                Scanned::Unreadable(file) => unreadable.push(file),
                Scanned::NotAnImage(path) => skipped.others.push(path),
            }
        }
        unreadable.sort_by(|a, b| by_bytes(&a.path, &b.path));
        for paths in [&mut skipped.hidden, &mut skipped.others] {
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
            skipped,
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
            let why = match self.skipped.others.len() {
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

    /// How many photos may still turn out to be unreadable.
    pub fn tolerated(&self, max_bad: f64) -> usize {
        allowed(max_bad, self.total()).saturating_sub(self.bad())
    }

    fn total(&self) -> usize {
        self.unreadable.len() + self.photos.len()
    }

    fn bad(&self) -> usize {
        self.unreadable.len() + self.damaged.len()
    }

    /// Says so when more photos are unreadable or damaged than are [`allowed`], or none is intact.
    pub fn too_many_bad(&self, max_bad: f64) -> Option<String> {
        let (total, bad) = (self.total(), self.bad());
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
                    "{part} also has {}",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_unreadable_photos_are_allowed_unless_none_is() {
        assert_eq!(allowed(0.01, 9), 5);
        assert_eq!(allowed(0.01, 1000), 10);
        assert_eq!(allowed(0.2, 20), 5);
        assert_eq!(allowed(0.0, 1000), 0);
        assert_eq!(allowed(1.0, 30), 30);
    }
}
