//! A photo of a data set, the part it belongs to, and a file that can't be used as one.

use std::fmt;
use std::path::PathBuf;

use super::content::Hash;
use crate::image::fingerprint::Fingerprint;

/// A photo as a scan found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Photo {
    /// Where to open it: the folder's root and the path below it.
    pub path: PathBuf,
    /// Id in the data set's [`Labels`](crate::labels::Labels).
    pub class: usize,
    /// SHA-256 of the file's bytes: its identity, whatever its name.
    pub hash: Hash,
    /// The part that the folder layout puts it in, if it does.
    pub part: Option<Part>,
    /// Width in pixels, after EXIF orientation.
    pub width: u32,
    /// Height in pixels, after EXIF orientation.
    pub height: u32,
    /// The perceptual hash; `None` where only the header was read.
    pub fingerprint: Option<Fingerprint>,
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

impl Part {
    pub const ALL: [Self; 3] = [Self::Train, Self::Val, Self::Test];

    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// A file of a class that is named like an image but can't be decoded, or only in part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    pub path: PathBuf,
    pub reason: String,
}

#[cfg(test)]
impl Photo {
    /// A photo without a file; equal contents are exact duplicates.
    pub(crate) fn fake(content: u8, class: usize, part: Option<Part>) -> Self {
        Self {
            path: "x.jpg".into(),
            class,
            hash: [content; 32],
            part,
            width: 64,
            height: 64,
            fingerprint: None,
        }
    }
}
