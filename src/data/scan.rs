//! What a scan finds out about a single file, from its bytes or from the cache.

use std::path::{Path, PathBuf};

use super::cache::{Cache, Findings};
use super::content::sha256;
use super::layout::ClassFile;
use super::photo::{Photo, Unreadable};
use super::source::Source;
use crate::files;
use crate::image::decode::{DecodeError, Limits, decode_for, inspect, read_bytes};
use crate::image::fingerprint::Fingerprint;
use crate::image::kind::is_picture;

/// Pixels on the shorter side that are enough to find damage and to make a fingerprint.
const ENOUGH: u32 = 64;

/// How a data set is scanned.
#[derive(Debug, Clone, PartialEq)]
pub struct ScanOptions {
    pub limits: Limits,
    /// The largest fraction of unreadable or damaged photos, 0 to 1; see
    /// [`allowed`](super::folder::allowed).
    pub max_bad: f64,
    pub depth: Depth,
    /// The folder that keeps the findings, so that unchanged files are not read again; `None` to
    /// keep none.
    pub cache: Option<PathBuf>,
    /// Whether every file is read, whatever the cache has of it.
    pub reread: bool,
}

/// How closely a scan looks at photos that it doesn't know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Depth {
    /// The format, the dimensions, and whether the end is there: from headers, where the format has
    /// what it takes.
    Headers,
    /// All of that, damage within, and a fingerprint: each photo is decoded, a large JPEG at reduced
    /// size. Needed to keep near-duplicates together in a new split.
    #[default]
    Pixels,
}

impl ScanOptions {
    /// A scan that uses what earlier ones have left in the user's cache, and adds to it.
    pub fn cached(max_bad: f64, depth: Depth) -> Self {
        Self {
            max_bad,
            depth,
            cache: files::cache_folder("scans"),
            ..Self::default()
        }
    }
}

impl Default for ScanOptions {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            max_bad: 0.01,
            depth: Depth::default(),
            cache: None,
            reread: false,
        }
    }
}

/// What a file of a class turns out to be.
pub(super) enum Scanned {
    /// A photo, and how it is damaged.
    Photo(Box<Photo>, Option<Unreadable>),
    Unreadable(Unreadable),
    NotAnImage(PathBuf),
}

/// A scan of a data set's files, from several threads.
pub(super) struct Scan<'a> {
    options: &'a ScanOptions,
    cache: Option<Cache>,
    /// Whether a table lists the files: then they are images whatever their names.
    listed: bool,
}

impl<'a> Scan<'a> {
    pub(super) fn new(source: &Source, options: &'a ScanOptions) -> Self {
        let cache = options.cache.as_deref();
        Self {
            options,
            cache: cache.and_then(|folder| Cache::open(folder, source, &options.limits)),
            listed: matches!(source, Source::Listed { .. }),
        }
    }

    pub(super) fn file(&self, file: ClassFile) -> Scanned {
        if !self.listed && !is_picture(&file.path).unwrap_or(false) {
            return Scanned::NotAnImage(file.path);
        }
        let findings = match self.findings(&file.path) {
            Ok(findings) => findings,
            Err(cause) => {
                return Scanned::Unreadable(Unreadable {
                    path: file.path,
                    reason: cause.to_string(),
                });
            }
        };
        let findings = match self.options.depth {
            Depth::Headers => findings.of_header(),
            Depth::Pixels => findings,
        };
        let warnings: Vec<String> = findings.warnings.iter().map(ToString::to_string).collect();
        let damage = (!warnings.is_empty()).then(|| Unreadable {
            path: file.path.clone(),
            reason: warnings.join("; "),
        });
        let photo = Photo {
            path: file.path,
            class: file.class,
            hash: findings.hash,
            part: file.part,
            width: findings.width,
            height: findings.height,
            fingerprint: findings.fingerprint,
        };
        Scanned::Photo(Box::new(photo), damage)
    }

    /// Keeps the findings for the next scan.
    pub(super) fn finish(self) {
        if let Some(cache) = self.cache {
            cache.save();
        }
    }

    fn findings(&self, path: &Path) -> Result<Findings, DecodeError> {
        let &ScanOptions { limits, depth, .. } = self.options;
        let cached = self.cache.as_ref();
        let cached = cached.and_then(|cache| Some((cache, cache.stamp(path)?)));
        if let Some((cache, stamp)) = &cached
            && !self.options.reread
            && let Some(findings) = cache.recall(stamp)
            && (depth == Depth::Headers || findings.fingerprint.is_some())
        {
            return Ok(findings);
        }
        let findings = find(&read_bytes(path, &limits)?, &limits, depth)?;
        if let Some((cache, stamp)) = &cached {
            cache.keep(stamp, &findings);
        }
        Ok(findings)
    }
}

/// What the bytes of a file tell.
fn find(bytes: &[u8], limits: &Limits, depth: Depth) -> Result<Findings, DecodeError> {
    let hash = sha256(&[bytes]);
    if depth == Depth::Headers
        && let Some((width, height)) = inspect(bytes, limits)?
    {
        return Ok(Findings {
            hash,
            width,
            height,
            warnings: Vec::new(),
            fingerprint: None,
        });
    }
    let decoded = decode_for(bytes, limits, &|_, _| Some(ENOUGH))?;
    Ok(Findings {
        hash,
        width: decoded.width,
        height: decoded.height,
        fingerprint: Some(Fingerprint::of(&decoded.picture)),
        warnings: decoded.warnings,
    })
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};

    use super::*;

    /// Scans the only photo of a folder, whose cache is in `scans` beside it.
    fn scanned(folder: &Path, options: &ScanOptions) -> Photo {
        let set = folder.join("set");
        let source = Source::from(&*set);
        let cache = Cache::open(&folder.join("scans"), &source, &options.limits);
        let scan = Scan {
            cache: cache.map(Cache::trusting),
            ..Scan::new(&source, options)
        };
        let file = ClassFile {
            path: set.join("a.png"),
            class: 0,
            part: None,
        };
        let Scanned::Photo(photo, None) = scan.file(file) else {
            panic!("it is a photo");
        };
        scan.finish();
        *photo
    }

    /// Makes what the cache has of the only photo another width.
    fn forge(folder: &Path) {
        let cache = std::fs::read_dir(folder.join("scans")).unwrap().next();
        let path = cache.unwrap().unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let digest = bytes.len() - 32;
        let width = digest - 192 - 1 - 4 - 4;
        bytes[width..width + 4].copy_from_slice(&9999u32.to_le_bytes());
        let sum = sha256(&[&bytes[..digest]]);
        bytes[digest..].copy_from_slice(&sum);
        std::fs::write(path, bytes).unwrap();
    }

    #[test]
    fn the_cache_answers_for_files_that_it_knows_well_enough() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("set")).unwrap();
        let picture = RgbImage::from_fn(64, 48, |x, y| Rgb([x as u8, y as u8, 0]));
        picture.save(folder.path().join("set/a.png")).unwrap();
        let with = |depth, reread| {
            let options = ScanOptions {
                depth,
                reread,
                ..ScanOptions::default()
            };
            let photo = scanned(folder.path(), &options);
            (photo.width, photo.fingerprint.is_some())
        };
        assert_eq!(with(Depth::Headers, false), (64, false));
        forge(folder.path());
        assert_eq!(with(Depth::Headers, false), (9999, false), "from the cache");
        assert_eq!(
            with(Depth::Pixels, false),
            (64, true),
            "it has no fingerprint"
        );
        forge(folder.path());
        assert_eq!(with(Depth::Pixels, false), (9999, true));
        assert_eq!(with(Depth::Headers, false), (9999, false));
        assert_eq!(with(Depth::Pixels, true), (64, true), "read again");
        assert_eq!(with(Depth::Pixels, false), (64, true), "and kept");
    }
}
