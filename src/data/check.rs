//! What is wrong with a data set, and whether it can be trained on.

use std::path::PathBuf;

use serde::Serialize;

use super::cut::SplitOptions;
use super::distinct::{Distinct, LeftOut, Why};
use super::folder::Folder;
use super::layout::Layout;
use super::photo::{Part, Photo, Unreadable};
use super::similar;
use super::split::obstacles;
use crate::error::{shown, some};

/// Shorter sides below this many pixels are reported.
const TINY: u32 = 32;
/// Largest class over smallest class beyond which the set is called imbalanced.
const IMBALANCE: f64 = 10.0;
/// Distinct photos below which a class is called small: of fewer, two or three are tested.
const FEW: usize = 20;

/// A data set folder at a glance.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    pub folder: String,
    pub trainable: bool,
    pub photos: usize,
    pub unreadable: usize,
    /// Photos that are cut short or otherwise damaged.
    pub damaged: usize,
    /// Whether the folder comes with parts.
    pub split: bool,
    /// `None` without photos.
    pub sizes: Option<Sizes>,
    pub classes: Vec<Class>,
    pub findings: Vec<Finding>,
}

impl Report {
    /// How many findings are of this severity.
    pub fn count(&self, severity: Severity) -> usize {
        let findings = self.findings.iter();
        findings.filter(|found| found.severity == severity).count()
    }
}

/// Pixel sizes of the photos.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// Smallest and largest.
    pub width: [u32; 2],
    /// Smallest and largest.
    pub height: [u32; 2],
    pub median_shorter_side: u32,
}

/// Photos of a class, as found and with exact duplicates counted once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Class {
    pub class: String,
    pub photos: usize,
    /// Without duplicates, leaks and conflicts.
    pub distinct: usize,
    /// Distinct photos in the parts that the folder comes with.
    pub train: usize,
    pub val: usize,
    pub test: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub severity: Severity,
    pub kind: &'static str,
    pub message: String,
    /// The files concerned, a line each.
    pub files: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The set can't be trained on.
    Error,
    Warning,
    /// Nothing is wrong.
    Note,
}

/// Looks for whatever spoils a training or an evaluation.
pub fn check(folder: &Folder, max_bad: f64) -> Report {
    let distinct = Distinct::of(&folder.photos);
    let mut findings = Vec::new();
    for message in folder.faults() {
        findings.push(error("unusable", message));
    }
    if !folder.photos.is_empty() {
        for message in obstacles(folder, &distinct, &SplitOptions::default()) {
            findings.push(error("too-few", message));
        }
    }
    let classes = classes(folder, &distinct);
    findings.extend(bad(folder, max_bad));
    findings.extend(copies(folder, &distinct.left_out));
    findings.extend(near_copies(folder, &distinct.kept));
    findings.extend(tiny(folder));
    findings.extend(small(&classes));
    findings.extend(gaps(folder, &classes));
    findings.extend(imbalance(&classes));
    findings.extend(lookalikes(folder));
    findings.extend(not_used(folder));
    Report {
        folder: folder.source.to_string(),
        trainable: findings
            .iter()
            .all(|found| found.severity != Severity::Error),
        photos: folder.photos.len(),
        unreadable: folder.unreadable.len(),
        damaged: folder.damaged.len(),
        split: matches!(folder.layout, Layout::Parts(_)),
        sizes: sizes(&folder.photos),
        classes,
        findings,
    }
}

fn error(kind: &'static str, message: String) -> Finding {
    Finding {
        severity: Severity::Error,
        kind,
        message,
        files: Vec::new(),
    }
}

/// A warning about files; none when there are no files.
fn warning(kind: &'static str, what: &str, files: Vec<String>) -> Option<Finding> {
    (!files.is_empty()).then(|| Finding {
        severity: Severity::Warning,
        kind,
        message: format!("{what}: {}", files.len()),
        files,
    })
}

fn classes(folder: &Folder, distinct: &Distinct) -> Vec<Class> {
    let mut photos = vec![0; folder.labels.len()];
    for photo in folder.photos.iter() {
        photos[photo.class] += 1;
    }
    let counts = distinct.counts(&folder.photos, folder.labels.len());
    let rows = folder.labels.names().iter().zip(photos).zip(counts);
    rows.map(|((name, photos), [train, val, test, open])| Class {
        class: name.clone(),
        photos,
        distinct: train + val + test + open,
        train,
        val,
        test,
    })
    .collect()
}

fn sizes(photos: &[Photo]) -> Option<Sizes> {
    let range = |side: fn(&Photo) -> u32| {
        let sides = || photos.iter().map(side);
        Some([sides().min()?, sides().max()?])
    };
    let mut shorter: Vec<u32> = photos.iter().map(shorter_side).collect();
    shorter.sort_unstable();
    Some(Sizes {
        width: range(|photo| photo.width)?,
        height: range(|photo| photo.height)?,
        median_shorter_side: *shorter.get(shorter.len() / 2)?,
    })
}

fn shorter_side(photo: &Photo) -> u32 {
    photo.width.min(photo.height)
}

/// Photos that can't be read or are damaged: an error when there are too many of them.
fn bad(folder: &Folder, max_bad: f64) -> Vec<Finding> {
    let listed = |files: &[Unreadable]| -> Vec<String> {
        let line = |file: &Unreadable| format!("{}: {}", folder.shown(&file.path), file.reason);
        files.iter().map(line).collect()
    };
    let (unreadable, damaged) = (listed(&folder.unreadable), listed(&folder.damaged));
    if let Some(message) = folder.too_many_bad(max_bad) {
        return vec![Finding {
            files: [unreadable, damaged].concat(),
            ..error("unreadable", message)
        }];
    }
    let findings = [
        warning(
            "unreadable",
            "unreadable photos, which are skipped",
            unreadable,
        ),
        warning(
            "damaged",
            "damaged photos, used as far as they can be decoded",
            damaged,
        ),
    ];
    findings.into_iter().flatten().collect()
}

fn copies(folder: &Folder, left_out: &[LeftOut]) -> Vec<Finding> {
    let name = |index: usize| folder.shown(&folder.photos[index].path);
    let pairs = |twin: fn(Why) -> Option<usize>| {
        let pair = |out: &LeftOut| {
            let twin = twin(out.why)?;
            Some(format!("{} = {}", name(out.photo), name(twin)))
        };
        left_out.iter().filter_map(pair).collect::<Vec<_>>()
    };
    let duplicates = pairs(|why| match why {
        Why::Duplicate { of } => Some(of),
        _ => None,
    });
    let leaks = pairs(|why| match why {
        Why::Leak { into } => Some(into),
        _ => None,
    });
    let conflicts = pairs(|why| match why {
        Why::Conflict { with } => Some(with),
        _ => None,
    });
    [
        warning(
            "duplicate",
            "exact copies within a class; only one of each is used",
            duplicates,
        ),
        warning(
            "leak",
            "photos that are also in val or test; the other copy is left out",
            leaks,
        ),
        warning(
            "conflict",
            "photos that are also in another class; no copy is used",
            conflicts,
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Photos that look the same, each beside the one of its group that is most surely kept away from
/// training.
fn near_copies(folder: &Folder, kept: &[usize]) -> impl Iterator<Item = Finding> {
    let [mut copies, mut leaks, mut conflicts] = [const { Vec::new() }; 3];
    for group in similar::groups(&folder.photos, kept) {
        let photo = |index: usize| &folder.photos[index];
        let rank = |index: &&usize| (photo(**index).part, std::cmp::Reverse(**index));
        let Some(&model) = group.iter().max_by_key(rank) else {
            continue;
        };
        for &index in group.iter().filter(|&&index| index != model) {
            let kind = if photo(index).class != photo(model).class {
                &mut conflicts
            } else if photo(index).part != photo(model).part {
                &mut leaks
            } else {
                &mut copies
            };
            kind.push(similar::pair(folder, (index, model)));
        }
    }
    let findings = [
        warning(
            "near-duplicate",
            "photos that look the same as another in their class; splitting keeps them together",
            copies,
        ),
        warning(
            "near-leak",
            "photos that look the same as one in another part; the measured accuracy will be \
             too high",
            leaks,
        ),
        warning(
            "near-conflict",
            "photos that look the same as one of another class; is the label right?",
            conflicts,
        ),
    ];
    findings.into_iter().flatten()
}

fn tiny(folder: &Folder) -> Option<Finding> {
    let files = folder.photos.iter();
    let files = files.filter(|photo| shorter_side(photo) < TINY);
    let files = files.map(|photo| {
        let name = folder.shown(&photo.path);
        format!("{name}: {} x {}", photo.width, photo.height)
    });
    let what = format!("tiny photos, shorter side below {TINY} pixels");
    warning("tiny", &what, files.collect())
}

/// Classes of which there is something, but little.
fn small(classes: &[Class]) -> Option<Finding> {
    let few = classes
        .iter()
        .filter(|class| (1..FEW).contains(&class.distinct));
    let few: Vec<String> = few
        .map(|class| format!("{} ({})", shown(&class.class), class.distinct))
        .collect();
    (!few.is_empty()).then(|| Finding {
        severity: Severity::Warning,
        kind: "small",
        message: format!(
            "classes with fewer than {FEW} distinct photos, too few to train and test reliably: {}",
            some(few)
        ),
        files: Vec::new(),
    })
}

/// Classes that a given part has photos of, except for some.
fn gaps(folder: &Folder, classes: &[Class]) -> Vec<Finding> {
    let Layout::Parts(parts) = &folder.layout else {
        return Vec::new();
    };
    let lacking = |part: Part| {
        let count = |class: &Class| match part {
            Part::Train => class.train,
            Part::Val => class.val,
            Part::Test => class.test,
        };
        let (empty, full): (Vec<&Class>, Vec<_>) =
            classes.iter().partition(|class| count(class) == 0);
        let names = empty.iter().map(|class| shown(&class.class));
        (!empty.is_empty() && !full.is_empty() && part != Part::Train).then(|| Finding {
            severity: Severity::Warning,
            kind: "gap",
            message: format!("{part} has no photos of {}", some(names)),
            files: Vec::new(),
        })
    };
    parts.keys().copied().filter_map(lacking).collect()
}

fn imbalance(classes: &[Class]) -> Option<Finding> {
    let largest = classes.iter().max_by_key(|class| class.distinct)?;
    let smallest = classes.iter().min_by_key(|class| class.distinct)?;
    let ratio = largest.distinct as f64 / smallest.distinct as f64;
    (smallest.distinct > 0 && ratio > IMBALANCE).then(|| Finding {
        severity: Severity::Warning,
        kind: "imbalance",
        message: format!(
            "{} has {ratio:.0} times as many photos as {} ({} and {}); consider --class-weights",
            shown(&largest.class),
            shown(&smallest.class),
            largest.distinct,
            smallest.distinct
        ),
        files: Vec::new(),
    })
}

/// Classes that may be the same one.
fn lookalikes(folder: &Folder) -> Option<Finding> {
    Some(Finding {
        severity: Severity::Warning,
        kind: "lookalike",
        message: folder.lookalikes()?,
        files: Vec::new(),
    })
}

/// Files that are not part of the data set.
fn not_used(folder: &Folder) -> impl Iterator<Item = Finding> {
    let files = |paths: &[PathBuf]| paths.iter().map(|path| folder.shown(path)).collect();
    let note = |found: Finding| Finding {
        severity: Severity::Note,
        ..found
    };
    let loose = warning(
        "loose",
        "photos outside the class folders, not used",
        files(&folder.loose),
    );
    let others = warning(
        "not-an-image",
        "files that are not images, skipped",
        files(&folder.skipped.others),
    );
    let hidden = warning(
        "hidden",
        "hidden and system files and folders, skipped",
        files(&folder.skipped.hidden),
    );
    [loose, others.map(note), hidden.map(note)]
        .into_iter()
        .flatten()
}
