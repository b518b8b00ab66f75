//! Photos whose labels people confirmed or corrected, kept for the next training.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use serde::Serialize;
use tracing::error;
use walkdir::WalkDir;

use super::api_error::ApiError;
use crate::data::content::{hex, sha256};
use crate::data::is_hidden;
use crate::error::{Error, Result, shown};
use crate::files;
use crate::image::decode::extension;
use crate::labels::Labels;
use crate::metrics::{Answer, Guess};

/// The log of stored photos. Data set scans ignore it, as it is hidden.
const LOG: &str = ".collected.jsonl";

/// How much a collection may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    pub photos: u64,
    pub bytes: u64,
}

/// A data set folder `DIR/<label>/<SHA-256>.<format>`.
pub struct Collection {
    folder: PathBuf,
    quota: Quota,
    contents: Mutex<Contents>,
}

#[derive(Default)]
struct Contents {
    /// Paths by file name.
    photos: HashMap<String, PathBuf>,
    /// Size of the photos and the log.
    bytes: u64,
}

/// A line of the log.
#[derive(Serialize)]
struct LogEntry<'a> {
    /// Seconds since the Unix epoch.
    time: u64,
    file: &'a str,
    label: &'a str,
    predicted: &'a [Guess],
    model_sha256: &'a str,
}

impl Collection {
    /// Opens or creates the folder, and counts what is there.
    ///
    /// # Errors
    /// [`Error::Environment`] when it can't be created, read or written.
    pub fn open(folder: &Path, quota: Quota) -> Result<Self> {
        files::create_folder(folder)?;
        files::check_writable(&folder.join(LOG))?;
        let log = fs::metadata(folder.join(LOG));
        let mut contents = Contents {
            bytes: log.map_or(0, |log| log.len()),
            ..Contents::default()
        };
        for entry in WalkDir::new(folder).min_depth(2).max_depth(2) {
            let unreadable = |cause: walkdir::Error| {
                Error::Environment(format!("{} can't be read: {cause}", shown(folder)))
            };
            let entry = entry.map_err(unreadable)?;
            let metadata = entry.metadata().map_err(unreadable)?;
            if metadata.is_file() && !is_hidden(entry.file_name()) {
                let name = entry.file_name().to_string_lossy().into_owned();
                contents.bytes += metadata.len();
                contents.photos.insert(name, entry.into_path());
            }
        }
        Ok(Self {
            folder: folder.into(),
            quota,
            contents: Mutex::new(contents),
        })
    }

    /// Checks that every label can be the name of a folder.
    ///
    /// # Errors
    /// [`Error::Data`] that names the first that can't.
    pub fn check_labels(&self, labels: &Labels) -> Result<()> {
        match labels.names().iter().find(|name| !is_folder_name(name)) {
            None => Ok(()),
            Some(name) => {
                let message = format!(
                    "photos of the class {} can't be collected, as a folder can't have that name; \
                     serve without --collect",
                    shown(name)
                );
                Err(Error::Data(message).into())
            }
        }
    }

    /// Stores a photo under a label of the model, or moves it there from another label. Returns
    /// whether it is new.
    ///
    /// # Errors
    /// [`ApiError::CollectionFull`], or [`ApiError::Internal`] when the disk fails.
    pub fn store(
        &self,
        photo: &[u8],
        label: &str,
        answer: &Answer,
        model_sha256: &str,
    ) -> Result<bool, ApiError> {
        let (Some(extension), true) = (extension(photo), is_folder_name(label)) else {
            return Err(ApiError::bad_request(
                "the photo can't be saved",
                "无法保存这张图片",
            ));
        };
        let name = format!("{}.{extension}", hex(&sha256(&[photo])));
        let path = self.folder.join(label).join(&name);
        let mut contents = self.contents.lock().unwrap_or_else(PoisonError::into_inner);
        let existing = contents.find(&name);
        if existing.as_ref() == Some(&path) {
            return Ok(false);
        }
        let entry = LogEntry {
            time: SystemTime::UNIX_EPOCH
                .elapsed()
                .map_or(0, |time| time.as_secs()),
            file: &format!("{label}/{name}"),
            label,
            predicted: &answer.top_predictions,
            model_sha256,
        };
        let line = entry.line().map_err(failed)?;
        let is_new = existing.is_none();
        let added = line.len() + if is_new { photo.len() } else { 0 };
        contents.check_quota(self.quota, is_new, added as u64)?;
        write_or_move(photo, &path, existing.as_deref()).map_err(failed)?;
        contents.photos.insert(name, path);
        contents.bytes += added as u64;
        self.append(&line).map_err(failed)?;
        Ok(is_new)
    }

    fn append(&self, line: &[u8]) -> Result<()> {
        let path = self.folder.join(LOG);
        let mut log = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(log.write_all(line)?)
    }
}

impl Contents {
    /// Where a photo is, unless somebody removed it.
    fn find(&self, name: &str) -> Option<PathBuf> {
        let path = self.photos.get(name)?;
        path.is_file().then(|| path.clone())
    }

    fn check_quota(&self, quota: Quota, is_new: bool, added: u64) -> Result<(), ApiError> {
        let too_many = is_new && self.photos.len() as u64 >= quota.photos;
        if too_many || self.bytes.saturating_add(added) > quota.bytes {
            return Err(ApiError::CollectionFull);
        }
        Ok(())
    }
}

impl LogEntry<'_> {
    fn line(&self) -> Result<Vec<u8>> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line)
    }
}

fn write_or_move(photo: &[u8], path: &Path, existing: Option<&Path>) -> Result<()> {
    if let Some(folder) = path.parent() {
        files::create_folder(folder)?;
    }
    match existing {
        Some(existing) => Ok(fs::rename(existing, path)?),
        None => files::write_atomically(path, |sink| sink.write_all(photo)),
    }
}

fn failed(cause: anyhow::Error) -> ApiError {
    error!("a photo can't be stored in the collection: {cause:#}");
    ApiError::Internal("the photo could not be saved".into())
}

/// Whether a name is one plain component of a path, and not hidden.
fn is_folder_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let plain = matches!(components.next(), Some(Component::Normal(only)) if only == name);
    plain && components.next().is_none() && !name.starts_with('.') && !name.contains(['\0', '\\'])
}
