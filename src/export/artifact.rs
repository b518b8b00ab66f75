//! What an export writes: a file, or a folder of files.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;

use crate::error::Result;
use crate::files;

/// The files of a folder by their paths in it, with `/` between the parts.
pub type Members = BTreeMap<String, Vec<u8>>;

/// An exported model.
#[derive(Debug, Clone, PartialEq)]
pub enum Artifact {
    File(Vec<u8>),
    Folder(Members),
}

impl Artifact {
    /// Reads one that was written.
    ///
    /// # Errors
    /// [`Error::Data`](crate::error::Error::Data) naming the file and the reason.
    pub fn read(path: &Path) -> Result<Self> {
        Ok(match path.is_dir() {
            true => Self::Folder(files::read_folder(path)?),
            false => Self::File(files::read(path)?),
        })
    }

    /// Size of all files in bytes.
    pub fn byte_len(&self) -> usize {
        match self {
            Self::File(content) => content.len(),
            Self::Folder(members) => members.values().map(Vec::len).sum(),
        }
    }

    /// The content of the file.
    ///
    /// # Errors
    /// When it is a folder.
    pub fn file(&self) -> Result<&[u8]> {
        match self {
            Self::File(content) => Ok(content),
            Self::Folder(_) => anyhow::bail!("it is a folder"),
        }
    }

    /// The content of a file of the folder.
    ///
    /// # Errors
    /// When there is none of that name.
    pub(super) fn member(&self, name: &str) -> Result<&[u8]> {
        let found = match self {
            Self::File(_) => None,
            Self::Folder(members) => members.get(name),
        };
        Ok(found.with_context(|| format!("it has no {name}"))?)
    }

    /// The lines of a file of the folder.
    ///
    /// # Errors
    /// When there is none of that name, or it is not UTF-8.
    pub(super) fn lines(&self, name: &str) -> Result<Vec<&str>> {
        Ok(std::str::from_utf8(self.member(name)?)?.lines().collect())
    }
}
