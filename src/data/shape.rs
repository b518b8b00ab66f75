//! Whether the folders of a data set are its classes or its parts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::listing::{Listing, name};
use super::parts;
use super::photo::Part;
use crate::error::{Error, Result, quoted, shown, some};
use crate::image::kind::named_as_picture;
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
/// their names say so, or when their names hint at it and they hold folders of the same names.
///
/// # Errors
/// [`Error::Data`] for what looks like parts of which nobody knows which is which, for two folders
/// of the same part, and for parts beside classes or beside photos of no part.
pub(super) fn of(root: &Path, folders: &[PathBuf]) -> Result<Shape> {
    let top = Top::of(root, folders)?;
    let shape = top.shape()?;
    if shape == Shape::Classes {
        top.refuse_unclear()?;
    }
    Ok(shape)
}

/// Refuses a folder that is given as a part and has parts of its own.
///
/// # Errors
/// [`Error::Data`], also for what is refused as a data set.
pub(super) fn refuse_split(part: Part, folder: &Path) -> Result<()> {
    let inner = unwrapped(folder)?;
    let folders = Listing::of(&inner)?.folders;
    let place = shown(&inner);
    let message = match Top::of(&inner, &folders)?.shape()? {
        Shape::Classes => return Ok(()),
        Shape::Parts(parts) => format!(
            "{place} is itself split into parts ({}): give it as DATA, or one of them as --{part}-dir",
            some(parts.iter().map(|(_, folder)| name(folder)))
        ),
        Shape::PartsOfClasses => {
            format!("the classes in {place} are themselves split into parts: give it as DATA")
        }
    };
    Err(Error::Data(message).into())
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

/// The folders at the top of a data set, and what they hold.
struct Top<'a> {
    root: &'a Path,
    folders: &'a [PathBuf],
    listings: Vec<Listing>,
}

impl<'a> Top<'a> {
    fn of(root: &'a Path, folders: &'a [PathBuf]) -> Result<Self> {
        let listings = folders.iter().map(|folder| Listing::of(folder));
        Ok(Self {
            root,
            folders,
            listings: listings.collect::<Result<_>>()?,
        })
    }

    fn shape(&self) -> Result<Shape> {
        if self.folders.is_empty() {
            return Ok(Shape::Classes);
        }
        if let Some(parts) = all(self.folders, parts::named) {
            return distinct(self.root, parts);
        }
        if let Some(parts) = all(self.folders, parts::meant)
            && trains(&parts)
            && parts.len() > 1
            && !self.are_things()
        {
            return distinct(self.root, parts);
        }
        self.refuse_mixture()?;
        if self.are_parts_of_classes() {
            self.refuse_strays()?;
            return Ok(Shape::PartsOfClasses);
        }
        Ok(match self.hinted()? {
            Some(parts) => Shape::Parts(parts),
            None => Shape::Classes,
        })
    }

    /// Whether the folders hold photos and are named after things, as `freight_train` is.
    fn are_things(&self) -> bool {
        let names = self.folders.iter().map(|folder| name(folder));
        self.listings.iter().all(Listing::holds_pictures) && parts::are_of_things(names)
    }

    /// The parts that the names hint at, when the folders share some of their subfolders.
    fn hinted(&self) -> Result<Option<Vec<(Part, PathBuf)>>> {
        let hold_folders = self
            .listings
            .iter()
            .all(|folder| !folder.folders.is_empty());
        let Some(parts) = all(self.folders, parts::hinted) else {
            return Ok(None);
        };
        let told_apart = trains(&parts) && parts.len() > 1 && twice(&parts).is_none();
        if !hold_folders || !told_apart || shared(&self.subfolders()?).is_empty() {
            return Ok(None);
        }
        Ok(Some(parts))
    }

    /// Refuses folders of which some are parts by their names, hold folders as parts do, and stand
    /// beside others.
    fn refuse_mixture(&self) -> Result<()> {
        let mut parts = Vec::new();
        let mut others = Vec::new();
        for (folder, listing) in self.folders.iter().zip(&self.listings) {
            match part_of(folder, parts::meant) {
                Some(part) if !listing.folders.is_empty() => parts.push((part, folder, listing)),
                _ => others.push((folder, listing)),
            }
        }
        parts.sort_by_key(|&(part, folder, _)| (part, folder));
        let (Some((_, part, _)), Some((other, _))) = (parts.first(), others.first()) else {
            return Ok(());
        };
        let training = parts.iter().find(|(part, ..)| *part == Part::Train);
        let sure =
            |(_, folder, _): &(Part, &PathBuf, &Listing)| part_of(folder, parts::named).is_some();
        let looks_split = training.is_some_and(|(_, _, listing)| {
            parts.iter().any(|(part, ..)| *part != Part::Train)
                || !listing.holds_pictures()
                    && others.iter().all(|(_, other)| other.folders.is_empty())
        });
        if !looks_split && !parts.iter().any(sure) {
            return Ok(());
        }
        let options = parts
            .iter()
            .map(|(part, folder, _)| format!("--{part}-dir {}", quoted(folder)));
        let message = format!(
            "{} mixes two layouts: {} looks like a part of a split data set and {} like a class; \
             move one of them out or rename it, or name the parts: {}",
            shown(self.root),
            name(part),
            name(other),
            options.collect::<Vec<_>>().join(" ")
        );
        Err(Error::Data(message).into())
    }

    /// Whether a class among others has parts of its own.
    fn are_parts_of_classes(&self) -> bool {
        let filled = |listing: &&Listing| listing.holds_pictures() || !listing.folders.is_empty();
        let is_split = |listing: &Listing| {
            let folders = listing.folders.iter();
            let parts = folders.filter_map(|folder| part_of(folder, parts::meant));
            let parts: BTreeSet<Part> = parts.collect();
            parts.contains(&Part::Train) && parts.len() > 1
        };
        self.listings.iter().filter(filled).count() > 1 && self.listings.iter().any(is_split)
    }

    /// Refuses what is in no part where classes have parts of their own.
    fn refuse_strays(&self) -> Result<()> {
        let is_part = |folder: &&PathBuf| part_of(folder, parts::meant).is_some();
        let (mut parts, mut strays) = (Vec::new(), Vec::new());
        for (class, listing) in self.folders.iter().zip(&self.listings) {
            let (known, unknown): (Vec<_>, Vec<_>) = listing.folders.iter().partition(is_part);
            let pictures = listing.files.iter().filter(|file| named_as_picture(file));
            match known.is_empty() {
                true => strays.push(class),
                false => strays.extend(unknown.into_iter().chain(pictures)),
            }
            parts.extend(known);
        }
        if strays.is_empty() {
            return Ok(());
        }
        let below = |path: &PathBuf| shown(path.strip_prefix(self.root).unwrap_or(path));
        let message = format!(
            "{}: its classes are split into parts ({}), but these are outside of them: {}; move \
             them into a part or out of the data set",
            shown(self.root),
            some(parts.into_iter().map(below)),
            some(strays.into_iter().map(below))
        );
        Err(Error::Data(message).into())
    }

    /// Refuses folders that hold nothing but folders, which are the same in all or in most.
    fn refuse_unclear(&self) -> Result<()> {
        let is_class = |folder: &Listing| folder.holds_pictures() || folder.folders.is_empty();
        if self.folders.len() < 2 || self.listings.iter().any(is_class) {
            return Ok(());
        }
        let subfolders = self.subfolders()?;
        let shared = shared(&subfolders);
        let fewest = subfolders.iter().map(BTreeSet::len).min().unwrap_or(0);
        // Classes are often more than parts, and may well have some subfolders in common.
        let mostly = self.folders.len() <= Part::ALL.len() && 2 * shared.len() > fewest;
        if shared.len() < 2 || !(mostly || subfolders.iter().all(|names| *names == shared)) {
            return Ok(());
        }
        let path = |at: usize| self.folders.get(at).map(quoted).unwrap_or_default();
        let message = format!(
            "{}: the folders {} share subfolders ({}), as the parts of a split data set do, but \
             their names don't say which is which. Name the parts, e.g. --train-dir {} --test-dir \
             {}; if they are classes, move their photos directly into them; if each is a data set \
             of its own, give one of them",
            shown(self.root),
            some(self.folders.iter().map(|folder| name(folder))),
            some(shared),
            path(0),
            path(1)
        );
        Err(Error::Data(message).into())
    }

    /// The names of the folders in each of the folders.
    fn subfolders(&self) -> Result<Vec<BTreeSet<String>>> {
        let names = |folder: &PathBuf| {
            let inner = Listing::of(&unwrapped(folder)?)?.folders;
            let names = inner
                .iter()
                .map(|path| normalized(&name(path)).into_owned());
            Ok(names.collect())
        };
        self.folders.iter().map(names).collect()
    }
}

/// The names that are in all of the sets.
fn shared(sets: &[BTreeSet<String>]) -> BTreeSet<String> {
    let all = |a: BTreeSet<String>, b: &BTreeSet<String>| &a & b;
    let mut sets = sets.iter();
    let first = sets.next().cloned().unwrap_or_default();
    sets.fold(first, all)
}
