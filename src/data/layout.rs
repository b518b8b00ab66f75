//! The accepted layouts of a data set: which part and class its folders are, and their files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::hidden::is_hidden;
use super::listing::{Listing, by_bytes};
use super::photo::{Part, Unreadable};
use super::shape::{self, Shape};
use super::source::{PartFolder, Source};
use super::{listed, parts};
use crate::error::{Error, Result, shown};
use crate::image::kind::{is_picture, named_as_picture};
use crate::labels::{Labels, normalized};

/// How a data set folder is laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// `DIR/<class>/*`
    Classes,
    /// `DIR/{train,val,test}/<class>/*` and the like, with the names of each part's classes.
    Parts(BTreeMap<Part, BTreeSet<String>>),
}

/// Files and folders that are not part of the data set, and no fault of it either.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Hidden files and folders, and those that systems leave behind.
    pub hidden: Vec<PathBuf>,
    /// Files that are not images by name or content.
    pub others: Vec<PathBuf>,
}

/// The files of a data set, before any of them is read.
pub(super) struct Tree {
    pub labels: Labels,
    pub layout: Layout,
    /// Sorted by the bytes of their paths.
    pub files: Vec<ClassFile>,
    pub unreadable: Vec<Unreadable>,
    /// Pictures outside the class folders.
    pub loose: Vec<PathBuf>,
    pub skipped: Skipped,
    /// What may be meant when the classes are not those expected.
    pub advice: Option<String>,
}

/// A file that belongs to a class.
pub(super) struct ClassFile {
    pub path: PathBuf,
    pub class: usize,
    pub part: Option<Part>,
}

struct ClassFolder {
    path: PathBuf,
    /// In Unicode's normal form C: two folders may have it.
    name: String,
    part: Option<Part>,
}

/// The folders of a data set, and what lies beside them.
#[derive(Default)]
struct Gathered {
    classes: Vec<ClassFolder>,
    /// The names of each part's classes; empty where there are no parts.
    parts: BTreeMap<Part, BTreeSet<String>>,
    /// Where the first class folder should be.
    place: Option<PathBuf>,
    beside: Vec<PathBuf>,
    hidden: Vec<PathBuf>,
}

/// Finds the classes and files of a data set.
///
/// # Errors
/// [`Error::Data`] when there is no such folder, no class in it, a class name that is not UTF-8,
/// a mixture of layouts, or a file of labels that can't be used.
pub(super) fn walk(source: &Source) -> Result<Tree> {
    match source {
        Source::Folder(root) => {
            let mut gathered = Gathered::default();
            gathered.add_root(root)?;
            gathered.tree(source)
        }
        Source::Parts(parts) => {
            let mut gathered = Gathered::default();
            for PartFolder { part, path } in parts {
                let trains = parts.iter().any(|other| other.part == Part::Train);
                shape::refuse_split(*part, path)?;
                gathered.add_part(*part, path, trains)?;
            }
            gathered.tree(source)
        }
        Source::Listed { root, table } => from_table(root, table),
    }
}

impl Gathered {
    fn add_root(&mut self, root: &Path) -> Result<()> {
        let folders = self.list(root)?;
        match shape::of(root, &folders)? {
            Shape::Classes => {
                self.place = Some(root.into());
                self.add_classes(folders, None)?;
            }
            Shape::Parts(parts) => {
                let trains = parts.iter().any(|&(part, _)| part == Part::Train);
                for (part, folder) in parts {
                    self.add_part(part, &folder, trains)?;
                }
            }
            Shape::PartsOfClasses => {
                for class in folders {
                    let name = class_name(&class)?;
                    for path in self.list(&class)? {
                        let part = path
                            .file_name()
                            .and_then(|name| parts::meant(name.to_str()?));
                        self.add_class(path, name.clone(), part);
                    }
                }
            }
        }
        Ok(())
    }

    /// Adds the classes of a part. A folder between them is passed through where there is a
    /// training part, which makes no sense with a single class.
    fn add_part(&mut self, part: Part, folder: &Path, trains: bool) -> Result<()> {
        let inner = if trains {
            shape::unwrapped(folder)?
        } else {
            folder.to_path_buf()
        };
        if inner != folder {
            self.list(folder)?;
        }
        let classes = self.list(&inner)?;
        if classes.is_empty() && Listing::of(&inner)?.holds_pictures() {
            let place = shown(&inner);
            let message = format!(
                "{place} looks like the {part} part of the data set, but holds photos and no \
                 class folders: put the photos of each class into {place}/<class>/, or list them in \
                 a CSV file, with {}, and give that file as DATA",
                listed::EXPECTED
            );
            return Err(Error::Data(message).into());
        }
        self.parts.entry(part).or_default();
        self.place.get_or_insert(inner);
        self.add_classes(classes, Some(part))
    }

    fn add_classes(&mut self, folders: Vec<PathBuf>, part: Option<Part>) -> Result<()> {
        for path in folders {
            let name = class_name(&path)?;
            self.add_class(path, name, part);
        }
        Ok(())
    }

    fn add_class(&mut self, path: PathBuf, name: String, part: Option<Part>) {
        if let Some(part) = part {
            self.parts.entry(part).or_default().insert(name.clone());
        }
        self.classes.push(ClassFolder { path, name, part });
    }

    /// The folders in a folder; its files lie beside the classes.
    fn list(&mut self, folder: &Path) -> Result<Vec<PathBuf>> {
        let listing = Listing::of(folder)?;
        self.beside.extend(listing.files);
        self.hidden.extend(listing.hidden);
        Ok(listing.folders)
    }

    /// What may be meant when there are fewer classes than expected.
    fn advice(&self) -> Option<String> {
        let mut filled = self.classes.iter().filter(|class| {
            let listing = Listing::of(&class.path).unwrap_or_default();
            listing.holds_pictures() || !listing.folders.is_empty()
        });
        if let (Some(only), None) = (filled.next(), filled.next())
            && let Some(meant) = shape::meant(&only.path)
        {
            return Some(meant);
        }
        let is_table = |path: &&PathBuf| {
            path.extension()
                .is_some_and(|e| e.eq_ignore_ascii_case("csv"))
        };
        let table = self.beside.iter().find(is_table)?;
        let columns = listed::columns(table)?;
        Some(format!(
            "if {place} holds the labels, give that file as DATA; it needs {}, and has {columns}",
            listed::EXPECTED,
            place = shown(table)
        ))
    }

    fn no_classes(&self, source: &Source) -> anyhow::Error {
        let pictures = self.beside.iter().any(|path| named_as_picture(path));
        let photos = if pictures { "photos but " } else { "" };
        let mut message = format!(
            "{photos}no class folders in {source}: put the photos of each class into {}/<class>/",
            self.place.as_ref().map(shown).unwrap_or_default()
        );
        if let Some(advice) = self.advice() {
            message.push_str(&format!("; {advice}"));
        }
        Error::Data(message).into()
    }

    fn tree(self, source: &Source) -> Result<Tree> {
        let advice = self.advice();
        if self.classes.is_empty() {
            return Err(self.no_classes(source));
        }
        let names: BTreeSet<String> = self
            .classes
            .iter()
            .map(|class| class.name.clone())
            .collect();
        let (loose, others) = self
            .beside
            .into_iter()
            .partition(|path| is_picture(path).unwrap_or_else(|_| named_as_picture(path)));
        let mut tree = Tree {
            labels: Labels::new(names)?,
            layout: match self.parts.is_empty() {
                true => Layout::Classes,
                false => Layout::Parts(self.parts),
            },
            files: Vec::new(),
            unreadable: Vec::new(),
            loose,
            skipped: Skipped {
                hidden: self.hidden,
                others,
            },
            advice,
        };
        for class in self.classes {
            tree.add(class);
        }
        tree.files.sort_by(|a, b| by_bytes(&a.path, &b.path));
        Ok(tree)
    }
}

impl Tree {
    fn add(&mut self, folder: ClassFolder) {
        let Some(class) = self.labels.id(&folder.name) else {
            return;
        };
        let home = folder.path.canonicalize().unwrap_or_default();
        let mut hidden = Vec::new();
        let entries = WalkDir::new(&folder.path).follow_links(true).into_iter();
        let entries = entries.filter_entry(|entry| {
            let kept = entry.depth() == 0 || !is_hidden(entry.file_name());
            if !kept {
                hidden.push(entry.path().to_path_buf());
            }
            kept && !leads_back(entry, &home)
        });
        for entry in entries {
            match entry {
                Ok(entry) if entry.file_type().is_dir() => {}
                Ok(entry) => self.files.push(ClassFile {
                    path: entry.into_path(),
                    class,
                    part: folder.part,
                }),
                // A link back to one of its own parents: its photos are found there.
                Err(error) if error.loop_ancestor().is_some() => {}
                Err(error) => self.add_unreadable(&folder.path, &error),
            }
        }
        self.skipped.hidden.extend(hidden);
    }

    fn add_unreadable(&mut self, folder: &Path, error: &walkdir::Error) {
        let path = error.path().unwrap_or(folder).to_path_buf();
        let cause = error.io_error();
        let dangling = cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::NotFound);
        if dangling && !named_as_picture(&path) {
            self.skipped.others.push(path);
            return;
        }
        let reason = match cause {
            _ if dangling => "a broken symbolic link".into(),
            Some(cause) => cause.to_string(),
            None => error.to_string(),
        };
        self.unreadable.push(Unreadable { path, reason });
    }
}

/// Whether an entry is a link to a class folder itself or to what that is in.
fn leads_back(entry: &DirEntry, home: &Path) -> bool {
    let target = || entry.path().canonicalize();
    entry.depth() > 0
        && entry.path_is_symlink()
        && entry.file_type().is_dir()
        && target().is_ok_and(|target| home.starts_with(target))
}

/// The photos that a file of labels lists.
fn from_table(root: &Path, table: &Path) -> Result<Tree> {
    let mut rows = listed::read(table, root)?;
    let names: BTreeSet<String> = rows.iter().map(|row| row.label.clone()).collect();
    let labels = Labels::new(names.clone())?;
    let ids: BTreeMap<&str, usize> = labels.names().iter().map(|name| &**name).zip(0..).collect();
    if rows.iter().any(|row| row.part.is_some()) {
        for row in &mut rows {
            row.part.get_or_insert(Part::Train);
        }
    }
    let parts: BTreeSet<Part> = rows.iter().filter_map(|row| row.part).collect();
    let layout = if parts.is_empty() {
        Layout::Classes
    } else {
        Layout::Parts(
            parts
                .into_iter()
                .map(|part| (part, names.clone()))
                .collect(),
        )
    };
    let found = |row: listed::Row| {
        Some(ClassFile {
            class: *ids.get(&*row.label)?,
            path: row.file,
            part: row.part,
        })
    };
    let mut files: Vec<ClassFile> = rows.into_iter().filter_map(found).collect();
    files.sort_by(|a, b| by_bytes(&a.path, &b.path).then(a.class.cmp(&b.class)));
    files.dedup_by(|a, b| a.path == b.path && a.class == b.class && a.part == b.part);
    let missing: Vec<&PathBuf> = files
        .iter()
        .map(|file| &file.path)
        .filter(|path| !path.exists())
        .collect();
    if missing.len() == files.len() {
        let message = format!(
            "none of the {} files listed in {} exists, e.g. {}: paths are relative to {}; move the \
             CSV file to where they start from, or give that folder as DATA and the file as \
             --labels",
            files.len(),
            shown(table),
            missing.first().map(shown).unwrap_or_default(),
            shown(root)
        );
        return Err(Error::Data(message).into());
    }
    Ok(Tree {
        labels,
        layout,
        files,
        unreadable: Vec::new(),
        loose: Vec::new(),
        skipped: Skipped::default(),
        advice: None,
    })
}

fn class_name(path: &Path) -> Result<String> {
    match path.file_name().and_then(|name| name.to_str()) {
        Some(name) => Ok(normalized(name).into_owned()),
        None => {
            let message =
                format!("the name of the class folder {path:?} is not UTF-8: rename the folder");
            Err(Error::Data(message).into())
        }
    }
}
