//! The accepted folder layouts: which folder is which part and class, and the files in it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::folder::{Layout, Part, Unreadable};
use crate::error::{Error, Result, shown};
use crate::labels::Labels;

/// What a data set folder holds, before any photo is opened.
pub(super) struct Tree {
    pub labels: Labels,
    pub layout: Layout,
    /// Sorted by the bytes of their paths.
    pub files: Vec<Found>,
    pub unreadable: Vec<Unreadable>,
    pub loose: Vec<PathBuf>,
}

/// A file in a class folder.
pub(super) struct Found {
    pub path: PathBuf,
    pub class: usize,
    pub part: Option<Part>,
}

struct ClassFolder {
    path: PathBuf,
    name: String,
    part: Option<Part>,
}

/// Finds the classes and files of `root`.
///
/// # Errors
/// [`Error::Data`] when there is no such folder, no class in it, a class name that is no UTF-8,
/// or a mixture of the two layouts.
pub(super) fn walk(root: &Path) -> Result<Tree> {
    let top = list(root)?;
    let parts = part_folders(root, &top.folders)?;
    let mut loose = top.files;
    let mut classes = Vec::new();
    let layout = if parts.is_empty() {
        for path in top.folders {
            classes.push(class_folder(path, None)?);
        }
        Layout::Classes
    } else {
        let mut names = BTreeMap::new();
        for (part, folder) in parts {
            let inner = list(&folder)?;
            loose.extend(inner.files);
            let known: &mut BTreeSet<String> = names.entry(part).or_default();
            for path in inner.folders {
                let class = class_folder(path, Some(part))?;
                known.insert(class.name.clone());
                classes.push(class);
            }
        }
        Layout::Parts(names)
    };
    if classes.is_empty() {
        let message = format!(
            "{} holds no class folders: put the photos of each class into {}/<class>/",
            shown(root),
            shown(root)
        );
        return Err(Error::Data(message).into());
    }
    let names: BTreeSet<&String> = classes.iter().map(|class| &class.name).collect();
    let labels = Labels::new(names.into_iter().cloned())?;
    let mut tree = Tree {
        labels,
        layout,
        files: Vec::new(),
        unreadable: Vec::new(),
        loose,
    };
    for class in classes {
        tree.add(class);
    }
    tree.files.sort_by(|a, b| by_bytes(&a.path, &b.path));
    Ok(tree)
}

/// Orders paths by their bytes, whatever the platform's idea of components.
pub(super) fn by_bytes(a: &Path, b: &Path) -> std::cmp::Ordering {
    let (a, b) = (a.as_os_str(), b.as_os_str());
    a.as_encoded_bytes().cmp(b.as_encoded_bytes())
}

impl Tree {
    fn add(&mut self, folder: ClassFolder) {
        let Some(class) = self.labels.id(&folder.name) else {
            return;
        };
        let entries = WalkDir::new(&folder.path)
            .follow_links(true)
            .into_iter()
            .filter_entry(|entry| entry.depth() == 0 || !is_hidden(entry.file_name()));
        for entry in entries {
            match entry {
                Ok(entry) if entry.file_type().is_dir() => {}
                Ok(entry) => self.files.push(Found {
                    path: entry.into_path(),
                    class,
                    part: folder.part,
                }),
                // A link back to one of its own parents: its photos are found there.
                Err(error) if error.loop_ancestor().is_some() => {}
                Err(error) => self.unreadable.push(Unreadable {
                    path: error.path().unwrap_or(&folder.path).to_path_buf(),
                    reason: match error.io_error() {
                        Some(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
                            "a link that leads nowhere".into()
                        }
                        Some(cause) => cause.to_string(),
                        None => error.to_string(),
                    },
                }),
            }
        }
    }
}

/// What file managers, version control and archivers leave in folders.
pub fn is_hidden(name: &OsStr) -> bool {
    const LEFTOVERS: [&str; 4] = ["thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx"];
    let name = name.to_string_lossy();
    name.starts_with('.')
        || LEFTOVERS
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
}

struct Listing {
    folders: Vec<PathBuf>,
    files: Vec<PathBuf>,
}

fn list(folder: &Path) -> Result<Listing> {
    let refuse = |cause: std::io::Error| {
        let message = match cause.kind() {
            std::io::ErrorKind::NotFound => format!("there is no folder {}", shown(folder)),
            std::io::ErrorKind::NotADirectory => format!(
                "{} is no folder: give the folder that holds the class folders",
                shown(folder)
            ),
            _ => format!("can't read the folder {}: {cause}", shown(folder)),
        };
        anyhow::Error::from(Error::Data(message))
    };
    let mut listing = Listing {
        folders: Vec::new(),
        files: Vec::new(),
    };
    for entry in std::fs::read_dir(folder).map_err(refuse)? {
        let entry = entry.map_err(refuse)?;
        if is_hidden(&entry.file_name()) {
            continue;
        }
        let path = entry.path();
        if path.is_dir() {
            listing.folders.push(path);
        } else {
            listing.files.push(path);
        }
    }
    listing.folders.sort_by(|a, b| by_bytes(a, b));
    listing.files.sort_by(|a, b| by_bytes(a, b));
    Ok(listing)
}

fn part_named(folder: &Path) -> Option<Part> {
    let name = folder.file_name()?.to_str()?.to_ascii_lowercase();
    match name.as_str() {
        "train" => Some(Part::Train),
        "val" | "valid" | "validation" => Some(Part::Val),
        "test" => Some(Part::Test),
        _ => None,
    }
}

/// The folders that are parts of a split set; none when the folders are classes.
///
/// A class may well be called `train`, beside `car` and `plane`: only a folder with folders in
/// it makes the mixture doubtful, and a doubtful one is refused.
fn part_folders(root: &Path, folders: &[PathBuf]) -> Result<Vec<(Part, PathBuf)>> {
    let mut parts: Vec<(Part, PathBuf)> = Vec::new();
    for folder in folders {
        if let Some(part) = part_named(folder) {
            parts.push((part, folder.clone()));
        }
    }
    if parts.len() < folders.len() {
        for (_, folder) in &parts {
            if !list(folder)?.folders.is_empty() {
                let other = folders.iter().find(|folder| part_named(folder).is_none());
                let message = format!(
                    "{} mixes two layouts: {} looks like a part of a split set and {} like a \
                     class; move one of them out or rename it",
                    shown(root),
                    name(folder),
                    name(other.unwrap_or(folder)),
                );
                return Err(Error::Data(message).into());
            }
        }
        return Ok(Vec::new());
    }
    parts.sort();
    for pair in parts.windows(2) {
        if pair[0].0 == pair[1].0 {
            let message = format!(
                "{} has two folders for the same part, {} and {}: keep one of them",
                shown(root),
                name(&pair[0].1),
                name(&pair[1].1)
            );
            return Err(Error::Data(message).into());
        }
    }
    Ok(parts)
}

fn name(folder: &Path) -> String {
    shown(folder.file_name().unwrap_or(folder.as_os_str()))
}

fn class_folder(path: PathBuf, part: Option<Part>) -> Result<ClassFolder> {
    match path.file_name().and_then(OsStr::to_str) {
        Some(name) => Ok(ClassFolder {
            name: name.to_owned(),
            path,
            part,
        }),
        None => {
            let message =
                format!("the name of the class folder {path:?} is no UTF-8: rename the folder");
            Err(Error::Data(message).into())
        }
    }
}
