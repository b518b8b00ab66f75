//! What scans have found out about files, kept so that unchanged ones need not be read again.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::content::{Hash, hex, sha256};
use super::source::Source;
use crate::files;
use crate::image::Limits;
use crate::image::decode::Warning;
use crate::image::fingerprint::{Fingerprint, VALUES};

/// What a cache begins with: it is of no use to another version, whose decoders may differ.
const MAGIC: &[u8] = concat!("flowers scan 1 ", env!("CARGO_PKG_VERSION"), "\n").as_bytes();

/// Bytes that all caches may take; those that were not used for the longest go first. Four million
/// photos.
const BUDGET: u64 = 1 << 30;

/// A file that changed less than this before it was read may change again, unnoticed, within the
/// resolution of its time stamp: nothing is kept of it.
const SETTLED: Duration = Duration::from_secs(2);

const FINGERPRINT: u8 = 1;
const END_MISSING: u8 = 2;
const DAMAGED: u8 = 4;

/// What the bytes of a photo told.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Findings {
    pub hash: Hash,
    /// In pixels, upright.
    pub width: u32,
    pub height: u32,
    pub warnings: Vec<Warning>,
    /// `None` when the photo was not decoded; then there are no warnings either.
    pub fingerprint: Option<Fingerprint>,
}

impl Findings {
    /// Without what only decoding tells.
    pub(super) fn of_header(self) -> Self {
        Self {
            warnings: Vec::new(),
            fingerprint: None,
            ..self
        }
    }
}

/// A file at a moment: another path, size or time is another key.
pub(super) struct Stamp {
    key: Hash,
    is_settled: bool,
}

/// The findings of a data set, in a file of the user's cache folder.
///
/// It may be deleted at any time. Runs that save it at once each write the whole of it under a
/// temporary name; the last one stays.
pub(super) struct Cache {
    path: PathBuf,
    root: PathBuf,
    limits: Limits,
    settled: Duration,
    known: HashMap<Hash, Findings>,
    /// What holds now: the files that this scan has met.
    current: Mutex<BTreeMap<Hash, Findings>>,
}

impl Cache {
    /// That of a data set, empty if there is none yet; `None` where the data set can't be named.
    pub(super) fn open(folder: &Path, source: &Source, limits: &Limits) -> Option<Self> {
        let path = folder.join(name(source)?);
        Some(Self {
            known: fs::read(&path)
                .ok()
                .and_then(|bytes| parse(&bytes))
                .unwrap_or_default(),
            path,
            root: source.root(),
            limits: *limits,
            settled: SETTLED,
            current: Mutex::default(),
        })
    }

    /// The file as it is now; `None` when its state can't be told.
    pub(super) fn stamp(&self, path: &Path) -> Option<Stamp> {
        let metadata = fs::metadata(path).ok().filter(Metadata::is_file)?;
        let times = times(&metadata)?;
        let below = path.strip_prefix(&self.root).unwrap_or(path);
        let mut state = Vec::new();
        for number in [
            metadata.len(),
            self.limits.max_pixels,
            self.limits.max_bytes,
        ] {
            state.extend(number.to_le_bytes());
        }
        for time in &times {
            state.extend(time.as_nanos().to_le_bytes());
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        let is_old = |time: &Duration| *time + self.settled <= now;
        Some(Stamp {
            key: sha256(&[&state, below.as_os_str().as_encoded_bytes()]),
            is_settled: times.iter().all(is_old),
        })
    }

    /// What an earlier scan found in the same file.
    pub(super) fn recall(&self, stamp: &Stamp) -> Option<Findings> {
        let findings = self.known.get(&stamp.key)?;
        self.keep(stamp, findings);
        Some(findings.clone())
    }

    /// Takes what was found in a file that was stamped before it was read.
    pub(super) fn keep(&self, stamp: &Stamp, findings: &Findings) {
        if stamp.is_settled {
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            current.insert(stamp.key, findings.clone());
        }
    }

    /// Writes what this scan met, if it is not what was there. That fails without a word: all that
    /// is lost is time.
    pub(super) fn save(self) {
        let current = self
            .current
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let is_known = |(key, findings)| self.known.get(key) == Some(findings);
        if current.iter().all(is_known) {
            // Pruning goes by the time of the last use.
            let file = File::options().append(true).open(&self.path);
            file.and_then(|file| file.set_modified(SystemTime::now()))
                .ok();
            return;
        }
        let Some(folder) = self.path.parent() else {
            return;
        };
        let text = text(&current);
        let saved = fs::create_dir_all(folder)
            .map_err(anyhow::Error::from)
            .and_then(|()| files::write_atomically(&self.path, |sink| sink.write_all(&text)));
        if saved.is_ok() {
            prune(folder, BUDGET);
        }
    }
}

/// The name of a data set's cache: the same one from whatever folder the program runs in.
fn name(source: &Source) -> Option<String> {
    let table = match source {
        Source::Listed { table, .. } => Some(&**table),
        Source::Folder(_) | Source::Parts(_) => None,
    };
    let paths = source.folders().into_iter().chain(table);
    let paths: Vec<OsString> = paths
        .map(|path| Some(path.canonicalize().ok()?.into_os_string()))
        .collect::<Option<_>>()?;
    // No path holds a zero.
    let paths: Vec<&[u8]> = paths
        .iter()
        .flat_map(|path| [path.as_encoded_bytes(), b"\0"])
        .collect();
    Some(format!("{}.scan", hex(&sha256(&paths))))
}

/// When a file was changed, since 1970. Its content may be given an older date, the change of its
/// state may not.
fn times(metadata: &Metadata) -> Option<Vec<Duration>> {
    let modified = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let seconds = u64::try_from(metadata.ctime()).ok()?;
        let nanoseconds = u32::try_from(metadata.ctime_nsec()).ok()?;
        Some(vec![modified, Duration::new(seconds, nanoseconds)])
    }
    #[cfg(not(unix))]
    Some(vec![modified])
}

/// [`MAGIC`], records of the same length in the order of their keys, and the SHA-256 of both.
fn text(entries: &BTreeMap<Hash, Findings>) -> Vec<u8> {
    let mut text = MAGIC.to_vec();
    for (key, findings) in entries {
        let mut flags = 0;
        for warning in &findings.warnings {
            flags |= match warning {
                Warning::EndMissing => END_MISSING,
                Warning::Damaged => DAMAGED,
            };
        }
        let fingerprint = match &findings.fingerprint {
            Some(fingerprint) => {
                flags |= FINGERPRINT;
                *fingerprint.as_bytes()
            }
            None => [0; VALUES],
        };
        text.extend(key);
        text.extend(findings.hash);
        text.extend(findings.width.to_le_bytes());
        text.extend(findings.height.to_le_bytes());
        text.push(flags);
        text.extend(fingerprint);
    }
    text.extend(sha256(&[&text]));
    text
}

/// The inverse of [`text`]; `None` for anything else.
fn parse(text: &[u8]) -> Option<HashMap<Hash, Findings>> {
    const RECORD: usize = 32 + 32 + 4 + 4 + 1 + VALUES;
    let (content, digest) = text.split_last_chunk::<32>()?;
    let records = content.strip_prefix(MAGIC)?;
    if sha256(&[content]) != *digest || !records.len().is_multiple_of(RECORD) {
        return None;
    }
    records.chunks(RECORD).map(record).collect()
}

fn record(bytes: &[u8]) -> Option<(Hash, Findings)> {
    let (key, rest) = bytes.split_first_chunk()?;
    let (hash, rest) = rest.split_first_chunk()?;
    let (width, rest) = rest.split_first_chunk()?;
    let (height, rest) = rest.split_first_chunk()?;
    let (&flags, rest) = rest.split_first()?;
    let fingerprint: [u8; VALUES] = rest.try_into().ok()?;
    let warnings = [
        (END_MISSING, Warning::EndMissing),
        (DAMAGED, Warning::Damaged),
    ];
    let given = |&(flag, _): &(u8, Warning)| flags & flag != 0;
    let findings = Findings {
        hash: *hash,
        width: u32::from_le_bytes(*width),
        height: u32::from_le_bytes(*height),
        warnings: warnings
            .into_iter()
            .filter(given)
            .map(|(_, warning)| warning)
            .collect(),
        fingerprint: (flags & FINGERPRINT != 0).then(|| fingerprint.into()),
    };
    Some((*key, findings))
}

/// Removes the files that were not used for the longest, until the others fit in `budget` bytes.
fn prune(folder: &Path, budget: u64) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<(SystemTime, u64, PathBuf)> = entries
        .filter_map(|entry| {
            let metadata = entry.metadata().ok().filter(Metadata::is_file)?;
            Some((metadata.modified().ok()?, metadata.len(), entry.path()))
        })
        .collect();
    files.sort();
    let mut taken = 0;
    for (_, length, path) in files.into_iter().rev() {
        taken += length;
        if taken > budget {
            fs::remove_file(path).ok();
        }
    }
}

#[cfg(test)]
impl Cache {
    /// Keeps findings of files that have only just changed, too.
    pub(super) fn trusting(self) -> Self {
        Self {
            settled: Duration::ZERO,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(content: u8, fingerprint: Option<u8>) -> Findings {
        Findings {
            hash: [content; 32],
            width: 640,
            height: 70_000,
            warnings: vec![Warning::Damaged],
            fingerprint: fingerprint.map(|value| [value; VALUES].into()),
        }
    }

    fn open(folder: &Path, set: &Path) -> Cache {
        let cache = Cache::open(&folder.join("scans"), &set.into(), &Limits::default());
        cache.unwrap().trusting()
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else_is() {
        let entries = BTreeMap::from([
            ([1; 32], findings(8, None)),
            ([2; 32], findings(9, Some(77))),
        ]);
        let whole = text(&entries);
        assert_eq!(parse(&whole), Some(entries.into_iter().collect()));
        for at in [0, MAGIC.len() - 2, MAGIC.len() + 40, whole.len() - 1] {
            let mut other = whole.clone();
            other[at] ^= 1;
            assert_eq!(parse(&other), None, "byte {at}");
        }
        for length in [0, 10, MAGIC.len() + 32, whole.len() - 1] {
            assert_eq!(parse(&whole[..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn a_file_is_known_until_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let photo = folder.path().join("photo.jpg");
        fs::write(&photo, b"old").unwrap();
        let cache = open(folder.path(), folder.path());
        let stamp = cache.stamp(&photo).unwrap();
        assert_eq!(cache.recall(&stamp), None);
        cache.keep(&stamp, &findings(1, None));
        cache.save();

        let cache = open(folder.path(), folder.path());
        let stamp = cache.stamp(&photo).unwrap();
        assert_eq!(cache.recall(&stamp), Some(findings(1, None)));
        let other = folder.path().join("other.jpg");
        fs::copy(&photo, &other).unwrap();
        assert_eq!(cache.recall(&cache.stamp(&other).unwrap()), None);
        let limits = Limits {
            max_pixels: 9,
            ..Limits::default()
        };
        let strict = Cache { limits, ..cache };
        assert_eq!(strict.recall(&strict.stamp(&photo).unwrap()), None);

        // Another content of the same length and date, as `touch -r` makes it.
        let date = fs::metadata(&photo).unwrap().modified().unwrap();
        std::thread::sleep(Duration::from_millis(50));
        fs::write(&photo, b"new").unwrap();
        let file = File::options().append(true).open(&photo).unwrap();
        file.set_modified(date).unwrap();
        let cache = open(folder.path(), folder.path());
        assert_eq!(cache.recall(&cache.stamp(&photo).unwrap()), None);
    }

    #[test]
    fn a_file_that_has_only_just_changed_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let photo = folder.path().join("photo.jpg");
        fs::write(&photo, b"new").unwrap();
        let cache = Cache {
            settled: Duration::from_secs(3600),
            ..open(folder.path(), folder.path())
        };
        cache.keep(&cache.stamp(&photo).unwrap(), &findings(1, None));
        cache.save();
        assert!(!folder.path().join("scans").exists());
    }

    #[test]
    fn a_data_set_has_one_cache_wherever_it_is_named_from() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = ["one", "two"].map(|name| folder.path().join(name));
        fs::create_dir(&one).unwrap();
        fs::create_dir(&two).unwrap();
        let name = |path: &Path| name(&path.into());
        assert_eq!(name(&one), name(&two.join("../one/")));
        assert_ne!(name(&one), name(&two));
        assert_eq!(name(&folder.path().join("none")), None);
    }

    #[test]
    fn what_was_not_used_for_the_longest_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        for (name, age) in [("a", 30), ("b", 10), ("c", 20)] {
            let path = folder.path().join(name);
            fs::write(&path, [0; 100]).unwrap();
            let file = File::options().append(true).open(&path).unwrap();
            let date = SystemTime::now() - Duration::from_secs(age);
            file.set_modified(date).unwrap();
        }
        prune(folder.path(), 250);
        let left = ["a", "b", "c"].map(|name| folder.path().join(name).exists());
        assert_eq!(left, [false, true, true]);
    }
}
