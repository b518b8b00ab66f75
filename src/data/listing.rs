//! What a folder holds, without what systems leave in it.

use std::fs::DirEntry;
use std::io;
use std::path::{Path, PathBuf};

use super::hidden::is_hidden;
use crate::error::{Error, Result, shown};
use crate::image::kind::named_as_picture;

/// The entries of a folder, each sorted by the bytes of their paths.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub folders: Vec<PathBuf>,
    pub files: Vec<PathBuf>,
    /// Hidden folders and files, and those that systems leave behind.
    pub hidden: Vec<PathBuf>,
}

impl Listing {
    /// Lists a folder; links count as what they lead to.
    ///
    /// # Errors
    /// [`Error::Data`] when it isn't there, is no folder, or can't be read.
    pub(super) fn of(folder: &Path) -> Result<Self> {
        let refuse = |cause: io::Error| Error::Data(refusal(folder, &cause));
        let mut listing = Self::default();
        for entry in std::fs::read_dir(folder).map_err(refuse)? {
            let entry = entry.map_err(refuse)?;
            let kind = if is_hidden(&entry.file_name()) {
                &mut listing.hidden
            } else if is_folder(&entry) {
                &mut listing.folders
            } else {
                &mut listing.files
            };
            kind.push(entry.path());
        }
        for paths in [
            &mut listing.folders,
            &mut listing.files,
            &mut listing.hidden,
        ] {
            paths.sort_by(|a, b| by_bytes(a, b));
        }
        Ok(listing)
    }

    /// Whether a file has a picture's name.
    pub(super) fn holds_pictures(&self) -> bool {
        self.files.iter().any(|file| named_as_picture(file))
    }

    /// The only folder, where there are no pictures beside it.
    pub(super) fn only_folder(&self) -> Option<&Path> {
        match &self.folders[..] {
            [only] if !self.holds_pictures() => Some(only),
            _ => None,
        }
    }
}

/// Orders paths by their bytes, whatever the platform's idea of components.
pub(super) fn by_bytes(a: &Path, b: &Path) -> std::cmp::Ordering {
    let (a, b) = (a.as_os_str(), b.as_os_str());
    a.as_encoded_bytes().cmp(b.as_encoded_bytes())
}

/// The last component of a path as one printable line.
pub(super) fn name(path: &Path) -> String {
    shown(path.file_name().unwrap_or(path.as_os_str()))
}

fn is_folder(entry: &DirEntry) -> bool {
    match entry.file_type() {
        Ok(kind) if !kind.is_symlink() => kind.is_dir(),
        _ => entry.path().is_dir(),
    }
}

fn refusal(folder: &Path, cause: &io::Error) -> String {
    let place = shown(folder);
    let ends = |ending: &str| {
        folder
            .extension()
            .is_some_and(|own| own.eq_ignore_ascii_case(ending))
    };
    match cause.kind() {
        io::ErrorKind::NotFound => format!("there is no folder {place}"),
        io::ErrorKind::NotADirectory if ends("zip") => {
            format!("{place} is not a folder: unpack it and give the folder")
        }
        io::ErrorKind::NotADirectory => {
            format!("{place} is not a folder: give the folder that holds the class folders")
        }
        _ => format!("can't read the folder {place}: {cause}"),
    }
}
