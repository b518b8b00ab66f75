//! Decoded photos in the files of a folder.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use image::RgbImage;

use super::segment::{self, MAGIC, Place};
use super::{Key, full};
use crate::error::shown;

const ENDING: &str = "photos";

pub(super) struct Disk {
    folder: PathBuf,
    limit: u64,
    keys: HashSet<Key>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Photos that can be read, and from which file.
    index: HashMap<Key, (Arc<File>, Place)>,
    /// The file of this process, once there is one.
    own: Option<Own>,
    /// Files without any photo of this data set, the next to be deleted last.
    others: Vec<Other>,
    /// Bytes of all files.
    taken: u64,
    /// Whether nothing more is kept.
    is_closed: bool,
}

struct Own {
    file: Arc<File>,
    length: u64,
}

struct Other {
    path: PathBuf,
    length: u64,
    changed: SystemTime,
}

impl Disk {
    /// Finds the photos of a folder, which is made if there is none; also what to say about it.
    ///
    /// # Errors
    /// When the folder can't be made, read or written to.
    pub(super) fn open(
        folder: &Path,
        limit: u64,
        keys: HashSet<Key>,
    ) -> io::Result<(Self, Option<String>)> {
        fs::create_dir_all(folder)?;
        // Whether files can be made is known before there is something to keep.
        tempfile::tempfile_in(folder)?;
        let mut state = State::default();
        let mut complaint = None;
        for entry in fs::read_dir(folder)?.flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|ending| ending != ENDING) {
                continue;
            }
            if let Err(cause) = state.find(&path, &keys) {
                complaint.get_or_insert_with(|| unusable(&path, &cause));
            }
        }
        state.others.sort_by_key(|other| other.changed);
        state.others.reverse();
        let disk = Self {
            folder: folder.into(),
            limit,
            keys,
            state: Mutex::new(state),
        };
        Ok((disk, complaint))
    }

    /// # Errors
    /// What to say when a file is damaged or can't be read; the photo is to be decoded then.
    pub(super) fn get(&self, key: &Key) -> Result<Option<RgbImage>, String> {
        let Some((file, place)) = self.lock().index.get(key).cloned() else {
            return Ok(None);
        };
        let why = match segment::read(&file, key, place) {
            Ok(Some(picture)) => return Ok(Some(picture)),
            Ok(None) => "a photo in it has changed".into(),
            Err(cause) => cause.to_string(),
        };
        self.lock().index.remove(key);
        Err(format!(
            "the cache of decoded photos in {} is damaged: {why}; what is damaged is decoded again",
            shown(&self.folder)
        ))
    }

    /// # Errors
    /// What to say when there is no room or writing fails; nothing more is kept then.
    pub(super) fn put(&self, key: &Key, picture: &RgbImage) -> Result<(), String> {
        if !self.keys.contains(key) {
            return Ok(());
        }
        let record = segment::record(key, picture);
        let mut state = self.lock();
        if state.is_closed || state.index.contains_key(key) {
            return Ok(());
        }
        if !state.make_room(record.len() as u64, self.limit) {
            state.is_closed = true;
            return Err(full(self.limit));
        }
        let place = state.append(&self.folder, &record).map_err(|cause| {
            state.is_closed = true;
            format!(
                "decoded photos can't be kept in {}: {cause}; the rest is decoded in every epoch",
                shown(&self.folder)
            )
        })?;
        let (width, height) = picture.dimensions();
        let place = Place {
            width,
            height,
            ..place
        };
        if let Some(own) = &state.own {
            let file = Arc::clone(&own.file);
            state.index.insert(*key, (file, place));
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Adds a file of an earlier run, or of one that is still going on.
    fn find(&mut self, path: &Path, keys: &HashSet<Key>) -> io::Result<()> {
        let file = Arc::new(File::open(path)?);
        let metadata = file.metadata()?;
        self.taken += metadata.len();
        let entries = segment::index(&file);
        let mut is_used = false;
        for (key, place) in entries.as_deref().unwrap_or_default() {
            if keys.contains(key) {
                is_used = true;
                self.index.insert(*key, (Arc::clone(&file), *place));
            }
        }
        if is_used {
            // What was used last goes last.
            let file = File::options().append(true).open(path);
            file.and_then(|file| file.set_modified(SystemTime::now()))
                .ok();
        } else {
            self.others.push(Other {
                path: path.into(),
                length: metadata.len(),
                changed: metadata.modified()?,
            });
        }
        entries.map(drop)
    }

    /// Whether so many bytes fit, after deleting files of other data sets if need be.
    fn make_room(&mut self, bytes: u64, limit: u64) -> bool {
        while self.taken + bytes > limit {
            let Some(oldest) = self.others.pop() else {
                return false;
            };
            // A file that another process writes is locked.
            let is_free = File::open(&oldest.path).is_ok_and(|file| file.try_lock().is_ok());
            if is_free && fs::remove_file(&oldest.path).is_ok() {
                self.taken -= oldest.length;
            }
        }
        true
    }

    /// Adds a record to the file of this process; its place, but for width and height.
    fn append(&mut self, folder: &Path, record: &[u8]) -> io::Result<Place> {
        let own = match &mut self.own {
            Some(own) => own,
            None => self.own.insert(Own::create(folder)?),
        };
        let offset = own.length;
        (&*own.file).write_all(record)?;
        own.length += record.len() as u64;
        self.taken += record.len() as u64;
        Ok(Place {
            offset,
            width: 0,
            height: 0,
        })
    }
}

impl Own {
    fn create(folder: &Path) -> io::Result<Self> {
        let mut builder = tempfile::Builder::new();
        let suffix = format!(".{ENDING}");
        let file = builder.prefix("").suffix(&suffix).tempfile_in(folder)?;
        let (file, _) = file.keep().map_err(|failed| failed.error)?;
        // Without locks, another process that needs room may delete it, and no more than time is lost.
        file.try_lock().ok();
        (&file).write_all(MAGIC)?;
        Ok(Self {
            file: Arc::new(file),
            length: MAGIC.len() as u64,
        })
    }
}

fn unusable(path: &Path, cause: &io::Error) -> String {
    let why = match cause.kind() {
        io::ErrorKind::InvalidData => "another version wrote it, or it is damaged".into(),
        _ => cause.to_string(),
    };
    let path = shown(path);
    format!("{path} is of no use as a cache of decoded photos: {why}; it may be deleted")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_said_once_and_nothing_more_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let keys = [1, 2].map(|photo| Key::new(&[photo; 32], "as it is"));
        let (disk, complaint) = Disk::open(folder.path(), 1 << 20, keys.into()).unwrap();
        assert_eq!(complaint, None);
        let full = File::options().write(true).open("/dev/full").unwrap();
        disk.lock().own = Some(Own {
            file: Arc::new(full),
            length: 0,
        });
        let picture = RgbImage::new(9, 9);
        let said = disk.put(&keys[0], &picture).unwrap_err();
        assert!(said.contains("No space left"), "{said}");
        disk.put(&keys[1], &picture).unwrap();
        assert_eq!(disk.get(&keys[0]), Ok(None));
        assert_eq!(disk.get(&keys[1]), Ok(None));
    }
}
