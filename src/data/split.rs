//! Train, validation and test parts: stratified, seeded, and decided by content.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::cut::{Cuts, SplitOptions, parts};
use super::distinct::{Distinct, LeftOut, Why};
use super::folder::Folder;
use super::manifest::{Entry, Fractions, SCHEMA, SplitManifest};
use super::photo::{Part, Photo};
use super::similar;
use crate::error::{Error, Result, shown, some};
use crate::labels::normalized;

/// The parts of a data set, as indices into [`Folder::photos`], sorted by class and content.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    pub train: Vec<usize>,
    pub val: Vec<usize>,
    pub test: Vec<usize>,
    /// Photos in no part, and why; ascending.
    pub left_out: Vec<LeftOut>,
    pub manifest: SplitManifest,
}

impl Split {
    /// Splits a folder. Parts that it comes with are kept; those it lacks are cut from the rest
    /// (from `train`, or from everything), class by class.
    ///
    /// The photos of a class are put in the order of SHA-256(seed, content hash); the first
    /// `test` share of them is tested on, the next `val` share validated on. So names, order and
    /// machine don't matter, and a new photo moves at most one other over each border. Each part
    /// that is cut gets at least one photo of every class.
    ///
    /// Identical files are used once. Copies in several parts stay in `test`, else in `val`;
    /// copies with differing classes are not used at all. Of the photos that are assigned, those
    /// of a class that look the same go to the same part, unless nearly all of them do. See
    /// [`Split::warnings`].
    ///
    /// # Errors
    /// [`Error::Usage`] for shares that leave nothing to train on; [`Error::Data`] for fewer than
    /// two classes, no photos to train on, or classes with too few distinct photos.
    pub fn make(folder: &Folder, options: &SplitOptions) -> Result<Self> {
        options.validate()?;
        let distinct = Distinct::of(&folder.photos);
        let obstacles = obstacles(folder, &distinct, options);
        if !obstacles.is_empty() {
            return Err(Error::Data(obstacles.join("; ")).into());
        }
        let [train, val, test] = parts(folder, &distinct, options);
        let entries =
            |indices: &[usize]| indices.iter().map(|&index| entry(folder, index)).collect();
        let manifest = SplitManifest {
            schema: SCHEMA,
            seed: options.seed,
            fractions: Fractions {
                val: options.val,
                test: options.test,
            },
            labels: folder.labels.clone(),
            train: entries(&train),
            val: entries(&val),
            test: entries(&test),
        };
        Ok(Self {
            train,
            val,
            test,
            left_out: distinct.left_out,
            manifest,
        })
    }

    /// Follows a manifest: photos are found by content and class, whatever their names, and are
    /// put in the manifest's order. Photos that it doesn't list are left out.
    ///
    /// # Errors
    /// Those of [`SplitManifest::read`], and [`Error::Data`] for differing classes or missing photos.
    pub fn load(path: &Path, folder: &Folder) -> Result<Self> {
        Self::follow(SplitManifest::read(path)?, folder).map_err(|what| {
            let message = format!("{} does not match the folder: {what}", shown(path));
            Error::Data(message).into()
        })
    }

    /// As [`Split::load`], a manifest that has been read.
    ///
    /// # Errors
    /// Why it can't be followed.
    pub(crate) fn follow(manifest: SplitManifest, folder: &Folder) -> Result<Self, String> {
        manifest
            .same_classes(&folder.labels)
            .map_err(|difference| {
                format!(
                    "{} {difference}; make a new split with `flowers data split`",
                    folder.source
                )
            })?;
        let mut found: BTreeMap<(&[u8; 32], usize), usize> = BTreeMap::new();
        for (index, photo) in folder.photos.iter().enumerate() {
            found.entry((&photo.hash, photo.class)).or_insert(index);
        }
        let mut missing = Vec::new();
        let mut listed: BTreeMap<&[u8; 32], usize> = BTreeMap::new();
        let mut find = |part| -> Vec<usize> {
            let mut indices = Vec::new();
            for entry in manifest.part(part) {
                let class = folder.labels.id(&entry.class);
                match class.and_then(|class| found.get(&(&entry.sha256, class))) {
                    Some(&index) => {
                        listed.insert(&folder.photos[index].hash, index);
                        indices.push(index);
                    }
                    None => missing.push(unfound(folder, &entry.file)),
                }
            }
            indices
        };
        let (train, val, test) = (find(Part::Train), find(Part::Val), find(Part::Test));
        if !missing.is_empty() {
            return Err(format!(
                "{} of its photos are missing in {}: {}; restore them or make a new split with \
                 `flowers data split`",
                missing.len(),
                folder.source,
                some(missing)
            ));
        }
        let mut left_out = Vec::new();
        for (photo, Photo { hash, class, .. }) in folder.photos.iter().enumerate() {
            let why = match listed.get(hash) {
                Some(&index) if index == photo => continue,
                Some(&of) if folder.photos[of].class == *class => Why::Duplicate { of },
                Some(_) | None => Why::Unlisted,
            };
            left_out.push(LeftOut { photo, why });
        }
        Ok(Self {
            train,
            val,
            test,
            left_out,
            manifest,
        })
    }

    /// The photos of a part, as indices into [`Folder::photos`].
    pub fn part(&self, part: Part) -> &[usize] {
        match part {
            Part::Train => &self.train,
            Part::Val => &self.val,
            Part::Test => &self.test,
        }
    }

    /// How many photos of a class each part holds, in the order of [`Part::ALL`].
    pub fn counts(&self, folder: &Folder, class: usize) -> [usize; 3] {
        Part::ALL.map(|part| {
            let indices = self.part(part).iter();
            indices
                .filter(|&&index| folder.photos[index].class == class)
                .count()
        })
    }

    /// What was left out and why, a line for each reason.
    pub fn warnings(&self, folder: &Folder) -> Vec<String> {
        let mut lines = Vec::new();
        let mut report = |what: &str, wanted: fn(Why) -> bool| {
            let files: Vec<String> = self
                .left_out
                .iter()
                .filter(|out| wanted(out.why))
                .map(|out| folder.shown(&folder.photos[out.photo].path))
                .collect();
            if !files.is_empty() {
                let count = files.len();
                lines.push(format!("{count} {what}: {}", some(files)));
            }
        };
        report("left out as exact duplicates", |why| {
            matches!(why, Why::Duplicate { .. })
        });
        report("left out because val or test has the same file", |why| {
            matches!(why, Why::Leak { .. })
        });
        report("left out because the same file is in two classes", |why| {
            matches!(why, Why::Conflict { .. })
        });
        report("left out because the manifest does not list them", |why| {
            why == Why::Unlisted
        });
        let leaks = self.near_leaks(folder);
        if !leaks.is_empty() {
            let subject = match leaks.len() {
                1 => "1 training photo looks".to_owned(),
                count => format!("{count} training photos look"),
            };
            let pairs = leaks.iter().map(|&pair| similar::pair(folder, pair));
            lines.push(format!(
                "{subject} the same as one in val or test, so the measured accuracy will be too \
                 high: {}",
                some(pairs)
            ));
        }
        lines
    }

    /// Photos that are trained on, each with one of val or test that looks the same.
    fn near_leaks(&self, folder: &Folder) -> Vec<(usize, usize)> {
        let learned: BTreeSet<usize> = self.train.iter().copied().collect();
        let all: Vec<usize> = Part::ALL.map(|part| self.part(part)).concat();
        let mut leaks = Vec::new();
        for group in similar::groups(&folder.photos, &all) {
            let (own, others): (Vec<usize>, Vec<usize>) =
                group.iter().partition(|index| learned.contains(index));
            leaks.extend(
                others
                    .first()
                    .into_iter()
                    .flat_map(|&other| own.iter().map(move |&own| (own, other))),
            );
        }
        leaks
    }
}

/// Why a folder can't be split for training, a line each: fewer than two classes, no photos to
/// train on, or classes with too few distinct photos for the parts to be cut.
pub(super) fn obstacles(
    folder: &Folder,
    distinct: &Distinct,
    options: &SplitOptions,
) -> Vec<String> {
    let root = &folder.source;
    let advice = folder.advice.as_ref();
    let advice = advice.map_or_else(String::new, |advice| format!("; {advice}"));
    let mut obstacles = Vec::new();
    if folder.labels.len() < 2 {
        obstacles.push(format!(
            "{root} has only one class, {}: training needs at least two{advice}",
            folder.labels.names().iter().map(shown).collect::<String>()
        ));
    }
    let counts = distinct.counts(&folder.photos, folder.labels.len());
    let own = |count: &[usize; 4]| count[Part::Train as usize] + count[3];
    if counts.iter().map(own).sum::<usize>() == 0 {
        obstacles.push(format!("no photos to train on in {root}"));
        return obstacles;
    }
    let needed = Cuts::of(folder, distinct, options).needed();
    let advice = match counts.iter().any(|count| own(count) == 0) {
        true => &*advice,
        false => "",
    };
    let short: Vec<String> = counts
        .iter()
        .zip(folder.labels.names())
        .filter(|(count, _)| own(count) < needed)
        .map(|(count, name)| format!("{} ({})", shown(name), own(count)))
        .collect();
    if !short.is_empty() {
        obstacles.push(format!(
            "too few distinct photos to train on (each class needs {needed}): {}; add photos, or \
             remove the class{advice}",
            some(short)
        ));
    }
    obstacles
}

/// A file of a manifest that no photo was found for, and why if it is there.
fn unfound(folder: &Folder, file: &str) -> String {
    let mut unreadable = folder.unreadable.iter();
    match unreadable.find(|found| normalized(&folder.shown(&found.path)) == file) {
        Some(found) => format!("{} ({})", shown(file), found.reason),
        None => shown(file),
    }
}

fn entry(folder: &Folder, index: usize) -> Entry {
    let photo = &folder.photos[index];
    Entry {
        sha256: photo.hash,
        class: folder.labels.name(photo.class).unwrap_or_default().into(),
        file: normalized(&folder.shown(&photo.path)).into_owned(),
    }
}
