//! Data set folders: index, checks, split and loader, on small sets made on the spot.

mod check;
mod folder;
mod loader;
mod split;

use std::path::{Path, PathBuf};

use flowers::data::{Folder, ScanOptions};
use flowers::error::exit_code;
use flowers::progress::Silent;
use image::{Rgb, RgbImage};
use tempfile::TempDir;

/// A data set folder in a temporary place.
struct Set(TempDir);

impl Set {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Two classes of five distinct photos each.
    fn small() -> Self {
        let set = Self::new();
        for content in 0..5 {
            set.photo(format!("daisy/{content}.png"), content);
            set.photo(format!("rose/{content}.png"), 100 + content);
        }
        set
    }

    fn root(&self) -> &Path {
        self.0.path()
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        let path = self.root().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    /// A picture of 48 x 40 pixels; equal contents are equal bytes.
    fn photo(&self, name: impl AsRef<Path>, content: u32) -> PathBuf {
        self.sized(name, content, 48, 40)
    }

    fn sized(&self, name: impl AsRef<Path>, content: u32, width: u32, height: u32) -> PathBuf {
        let path = self.path(name);
        let shade = |x: u32, factor: u32| (x * factor + content * 37) as u8;
        let picture = RgbImage::from_fn(width, height, |x, y| {
            Rgb([shade(x, 5), shade(y, 3), (content >> 8) as u8])
        });
        picture
            .save_with_format(&path, image::ImageFormat::Png)
            .unwrap();
        path
    }

    fn file(&self, name: impl AsRef<Path>, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn scan(&self) -> flowers::error::Result<Folder> {
        Folder::scan(self.root(), &ScanOptions::default(), &Silent)
    }

    fn index(&self) -> Folder {
        Folder::index(self.root(), &ScanOptions::default().limits, &Silent).unwrap()
    }

    /// The photos' paths below the root.
    fn names(&self, folder: &Folder) -> Vec<String> {
        folder
            .photos
            .iter()
            .map(|photo| folder.shown(&photo.path))
            .collect()
    }
}

/// The one line that an error says, which must hold all of `words`; its exit code must be `code`.
fn refused<T>(result: flowers::error::Result<T>, code: u8, words: &[&str]) -> String {
    let error = result.err().expect("an error");
    let line = format!("{error:#}");
    assert_eq!(exit_code(&error), code, "{line}");
    assert!(!line.contains('\n'), "{line}");
    for word in words {
        assert!(line.contains(word), "{word:?} is missing in: {line}");
    }
    line
}
