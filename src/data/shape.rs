//! Whether the folders of a data set are its classes or its parts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::folder::Part;
use super::listing::{Listing, name};
use super::parts;
use crate::error::{Error, Result, shown, some};
use crate::labels::normalized;

/// What the folders at the top of a data set are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Classes,
    /// `<part>/<class>/*`
    Parts(Vec<(Part, PathBuf)>),
    /// `<class>/<part>/*`
    PartsOfClasses,
}

/// Tells what `folders`, those at the top of `root`, are.
///
/// A class may well be called `train`, beside `car` and `plane`. Folders are parts when all of
/// their names say so, or when they hold nothing but folders of the same names.
///
/// # Errors
/// [`Error::Data`] for what looks like parts of which nobody knows which is which, for two folders
/// of the same part, and for parts beside classes.
pub(super) fn of(root: &Path, folders: &[PathBuf]) -> Result<Shape> {
    if folders.is_empty() {
        return Ok(Shape::Classes);
    }
    if let Some(parts) = all(folders, parts::named) {
        return distinct(root, parts);
    }
    match all(folders, parts::meant) {
        Some(parts) if trains(&parts) && parts.len() > 1 => return distinct(root, parts),
        _ => refuse_mixture(root, folders)?,
    }
    let mut listings = Vec::new();
    for folder in folders {
        let listing = Listing::of(folder)?;
        if listing.holds_pictures() || listing.folders.is_empty() {
            return Ok(Shape::Classes);
        }
        listings.push(listing);
    }
    if listings.len() > 1 && are_parts_of_classes(&listings) {
        return Ok(Shape::PartsOfClasses);
    }
    let Some(names) = same_folders(folders)? else {
        return Ok(Shape::Classes);
    };
    match all(folders, parts::hinted) {
        Some(parts) if trains(&parts) && twice(&parts).is_none() => Ok(Shape::Parts(parts)),
        _ => Err(unclear(root, folders, names)),
    }
}

/// The folder that holds a part's classes: an archive often wraps it in another of its kind.
pub(super) fn unwrapped(folder: &Path) -> Result<PathBuf> {
    if let Some(only) = Listing::of(folder)?.only_folder() {
        let inner = Listing::of(only)?;
        let holds_classes = inner.folders.len() > 1 && !inner.holds_pictures();
        if holds_classes || part_of(only, parts::meant).is_some() {
            return Ok(only.to_path_buf());
        }
    }
    Ok(folder.to_path_buf())
}

/// Where the class folders seem to be when `folder` holds folders instead of photos.
pub(super) fn meant(folder: &Path) -> Option<String> {
    let mut place = folder.to_path_buf();
    // A link may lead back.
    for _ in 0..8 {
        let listing = Listing::of(&place).ok()?;
        if let Some(only) = listing.only_folder() {
            place = only.to_path_buf();
        } else if listing.holds_pictures() || listing.folders.is_empty() {
            return None;
        } else {
            let inside = some(listing.folders.iter().map(|folder| name(folder)));
            return Some(format!(
                "did you mean {}, which holds {inside}?",
                shown(place)
            ));
        }
    }
    None
}

/// The parts that the names of all the folders stand for; none when a name stands for none.
fn all(folders: &[PathBuf], part: fn(&str) -> Option<Part>) -> Option<Vec<(Part, PathBuf)>> {
    let folders = folders.iter();
    let parts = folders.map(|folder| Some((part_of(folder, part)?, folder.clone())));
    let mut parts: Vec<_> = parts.collect::<Option<_>>()?;
    parts.sort();
    Some(parts)
}

fn part_of(folder: &Path, part: fn(&str) -> Option<Part>) -> Option<Part> {
    part(folder.file_name()?.to_str()?)
}

fn trains(parts: &[(Part, PathBuf)]) -> bool {
    parts.iter().any(|&(part, _)| part == Part::Train)
}

fn twice(parts: &[(Part, PathBuf)]) -> Option<&[(Part, PathBuf)]> {
    parts.windows(2).find(|pair| pair[0].0 == pair[1].0)
}

fn distinct(root: &Path, parts: Vec<(Part, PathBuf)>) -> Result<Shape> {
    if let Some([(_, a), (_, b)]) = twice(&parts) {
        let message = format!(
            "{} has two folders for the same part, {} and {}: keep one of them",
            shown(root),
            name(a),
            name(b)
        );
        return Err(Error::Data(message).into());
    }
    Ok(Shape::Parts(parts))
}

/// Refuses folders of which some are parts by their names, hold folders as parts do, and stand
/// beside others.
fn refuse_mixture(root: &Path, folders: &[PathBuf]) -> Result<()> {
    let mut parts = Vec::new();
    for folder in folders {
        if let Some(part) = part_of(folder, parts::meant)
            && !Listing::of(folder)?.folders.is_empty()
        {
            parts.push((part, folder.clone()));
        }
    }
    parts.sort();
    let sure = |(_, folder): &(Part, PathBuf)| part_of(folder, parts::named).is_some();
    let several = trains(&parts) && parts.iter().any(|(part, _)| *part != Part::Train);
    if !several && !parts.iter().any(sure) {
        return Ok(());
    }
    let is_part = |folder: &&PathBuf| parts.iter().any(|(_, part)| part == *folder);
    let other = folders.iter().find(|folder| !is_part(folder));
    let (Some((_, part)), Some(other)) = (parts.first(), other) else {
        return Ok(());
    };
    let options = parts
        .iter()
        .map(|(part, folder)| format!("--{part}-dir {}", shown(folder)));
    let message = format!(
        "{} mixes two layouts: {} looks like a part of a split data set and {} like a class; move \
         one of them out or rename it, or name the parts: {}",
        shown(root),
        name(part),
        name(other),
        options.collect::<Vec<_>>().join(" ")
    );
    Err(Error::Data(message).into())
}

/// Whether every class comes with parts of its own.
fn are_parts_of_classes(classes: &[Listing]) -> bool {
    let mut parts = BTreeSet::new();
    for folder in classes.iter().flat_map(|class| &class.folders) {
        match part_of(folder, parts::named) {
            Some(part) => parts.insert(part),
            None => return false,
        };
    }
    parts.contains(&Part::Train) && parts.len() > 1
}

/// The names of the folders in each of the folders, when there are several and they are the same.
fn same_folders(folders: &[PathBuf]) -> Result<Option<BTreeSet<String>>> {
    let mut names: Option<BTreeSet<String>> = None;
    for folder in folders {
        let inner = Listing::of(&unwrapped(folder)?)?.folders;
        let inner = inner
            .iter()
            .map(|path| normalized(&name(path)).into_owned())
            .collect();
        if names.get_or_insert_with(|| BTreeSet::clone(&inner)) != &inner {
            return Ok(None);
        }
    }
    Ok(names.filter(|names| names.len() > 1 && folders.len() > 1))
}

fn unclear(root: &Path, folders: &[PathBuf], names: BTreeSet<String>) -> anyhow::Error {
    let path = |at: usize| folders.get(at).map(shown).unwrap_or_default();
    let message = format!(
        "{}: the folders {} have the same subfolders ({}), like the parts of a split data set, but \
         their names don't say which is which. Name the parts, e.g. --train-dir {} --test-dir {}; \
         if they are classes, move their photos directly into them; if each is a data set of its \
         own, give one of them",
        shown(root),
        some(folders.iter().map(|folder| name(folder))),
        some(names),
        path(0),
        path(1)
    );
    Error::Data(message).into()
}
