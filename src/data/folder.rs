//! The index of a data set folder: classes, photos, and what can't be read.

use std::path::PathBuf;

use crate::labels::Labels;

/// A photo that can be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Photo {
    pub path: PathBuf,
    /// Id in the data set's [`Labels`].
    pub class: usize,
    /// SHA-256 of the file's bytes: its identity, whatever its name.
    pub hash: [u8; 32],
    /// The part that the folder layout puts it in, if it does.
    pub part: Option<Part>,
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

/// A data set folder, read once.
#[derive(Debug, Clone)]
pub struct Folder {
    pub root: PathBuf,
    pub labels: Labels,
    /// Sorted by path.
    pub photos: Vec<Photo>,
    pub unreadable: Vec<Unreadable>,
}

/// A file that is in a class folder but is no usable photo.
#[derive(Debug, Clone)]
pub struct Unreadable {
    pub path: PathBuf,
    pub reason: String,
}
