//! Photos that people confirmed or corrected, kept for the next training.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use serde::Serialize;
use tracing::error;
use walkdir::WalkDir;

use super::refusal::Refusal;
use crate::data::content::{hex, sha256};
use crate::data::is_hidden;
use crate::error::{Error, Result, shown};
use crate::files;
use crate::image::decode::extension;
use crate::labels::Labels;
use crate::metrics::{Answer, Guess};

/// The file of records in the collection, hidden from what scans data sets.
const RECORDS: &str = ".collected.jsonl";

/// How much a collection may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub photos: u64,
    pub bytes: u64,
}

/// A folder `DIR/<label>/<SHA-256>.<format>`: a data set.
pub struct Collection {
    folder: PathBuf,
    bounds: Bounds,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// Where each photo is, by its name.
    photos: HashMap<String, PathBuf>,
    /// Of the photos and the records.
    bytes: u64,
}

/// A line of the records.
#[derive(Serialize)]
struct Record<'a> {
    /// Seconds since the epoch.
    time: u64,
    file: &'a str,
    label: &'a str,
    predicted: &'a [Guess],
    model_sha256: &'a str,
}

impl Collection {
    /// Opens or makes the folder, and counts what is there.
    ///
    /// # Errors
    /// [`Error::Environment`] when it can't be made, read or written.
    pub fn open(folder: &Path, bounds: Bounds) -> Result<Self> {
        files::create_folder(folder)?;
        files::check_writable(&folder.join(RECORDS))?;
        let records = fs::metadata(folder.join(RECORDS));
        let mut held = Held {
            bytes: records.map_or(0, |records| records.len()),
            ..Held::default()
        };
        for entry in WalkDir::new(folder).min_depth(2).max_depth(2) {
            let unreadable = |cause: walkdir::Error| {
                Error::Environment(format!("{} can't be read: {cause}", shown(folder)))
            };
            let entry = entry.map_err(unreadable)?;
            let metadata = entry.metadata().map_err(unreadable)?;
            if metadata.is_file() && !is_hidden(entry.file_name()) {
                let name = entry.file_name().to_string_lossy().into_owned();
                held.bytes += metadata.len();
                held.photos.insert(name, entry.into_path());
            }
        }
        Ok(Self {
            folder: folder.into(),
            bounds,
            held: Mutex::new(held),
        })
    }

    /// Whether every label can be the name of a folder here.
    ///
    /// # Errors
    /// [`Error::Data`] that names one which can't.
    pub fn accepts(&self, labels: &Labels) -> Result<()> {
        match labels.names().iter().find(|name| !is_folder_name(name)) {
            None => Ok(()),
            Some(name) => {
                let message = format!(
                    "photos of {} can't be collected, as a folder can't have that name; serve \
                     without --collect",
                    shown(name)
                );
                Err(Error::Data(message).into())
            }
        }
    }

    /// Keeps a photo under a label of the model. One that is there already moves to the label given
    /// last. Gives whether it is new.
    ///
    /// # Errors
    /// [`Refusal::CollectionFull`], or [`Refusal::Internal`] when the disk fails.
    pub fn store(
        &self,
        photo: &[u8],
        label: &str,
        answer: &Answer,
        model_sha256: &str,
    ) -> Result<bool, Refusal> {
        let (Some(extension), true) = (extension(photo), is_folder_name(label)) else {
            return Err(Refusal::bad_request(
                "the photo can't be saved",
                "无法保存这张图片",
            ));
        };
        let name = format!("{}.{extension}", hex(&sha256(&[photo])));
        let place = self.folder.join(label).join(&name);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let record = Record {
            time: SystemTime::UNIX_EPOCH
                .elapsed()
                .map_or(0, |time| time.as_secs()),
            file: &format!("{label}/{name}"),
            label,
            predicted: &answer.top_predictions,
            model_sha256,
        };
        // It may have been taken away since.
        let known = held
            .photos
            .get(&name)
            .filter(|path| path.is_file())
            .cloned();
        if known.as_ref() == Some(&place) {
            return Ok(false);
        }
        let record = record.line()?;
        let size = if known.is_some() { 0 } else { photo.len() };
        let bytes = held.bytes.saturating_add((size + record.len()) as u64);
        let more = known.is_none() && held.photos.len() as u64 >= self.bounds.photos;
        if more || bytes > self.bounds.bytes {
            return Err(Refusal::CollectionFull);
        }
        let kept = self.keep(photo, &place, known.as_deref());
        kept.map_err(unkept)?;
        held.photos.insert(name, place);
        held.bytes = bytes;
        self.write(&record).map_err(|cause| unkept(cause.into()))?;
        Ok(known.is_none())
    }

    fn keep(&self, photo: &[u8], place: &Path, known: Option<&Path>) -> Result<()> {
        if let Some(folder) = place.parent() {
            files::create_folder(folder)?;
        }
        match known {
            Some(there) => Ok(fs::rename(there, place)?),
            None => files::write_atomically(place, |sink| sink.write_all(photo)),
        }
    }

    fn write(&self, record: &[u8]) -> std::io::Result<()> {
        let path = self.folder.join(RECORDS);
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        file.write_all(record)
    }
}

impl Record<'_> {
    fn line(&self) -> Result<Vec<u8>, Refusal> {
        let mut line = serde_json::to_vec(self).map_err(|cause| unkept(cause.into()))?;
        line.push(b'\n');
        Ok(line)
    }
}

fn unkept(cause: anyhow::Error) -> Refusal {
    error!("a photo can't be collected: {cause:#}");
    Refusal::Internal("the photo could not be saved".into())
}

/// Whether a name is one plain component of a path, and not hidden.
fn is_folder_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let plain = matches!(components.next(), Some(Component::Normal(only)) if only == name);
    plain && components.next().is_none() && !name.starts_with('.') && !name.contains(['\0', '\\'])
}
