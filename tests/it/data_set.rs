//! Data set folders: index, checks, split and loader, on small sets made on the spot.

mod cached;
mod check;
mod depth;
mod folder;
mod layout;
mod loader;
mod near;
mod parts;
mod split;
mod table;

use std::path::{Path, PathBuf};

use flowers::cli::data::SourceArgs;
use flowers::data::{Folder, ScanOptions, Source};
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

    /// A picture of 48 x 40 pixels; equal contents are equal bytes, and different ones look
    /// different.
    fn photo(&self, name: impl AsRef<Path>, content: u32) -> PathBuf {
        self.sized(name, content, 48, 40)
    }

    fn sized(&self, name: impl AsRef<Path>, content: u32, width: u32, height: u32) -> PathBuf {
        let path = self.path(name);
        let picture = scene(content, width, height);
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

    /// A photo that only decoding finds to be broken: all of it is there but a byte of its pixels.
    fn corrupt(&self, name: &str, content: u32) -> PathBuf {
        let path = self.photo(name, content);
        let mut bytes = std::fs::read(&path).unwrap();
        let pixels = bytes.windows(4).position(|kind| kind == b"IDAT").unwrap();
        bytes[pixels + 12] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// What names it on a command line.
    fn arguments(&self) -> SourceArgs {
        SourceArgs {
            data: Some(self.root().into()),
            ..SourceArgs::default()
        }
    }

    fn source(&self) -> Source {
        self.root().into()
    }

    fn scan(&self) -> flowers::error::Result<Folder> {
        self.scan_with(&ScanOptions::default())
    }

    fn scan_with(&self, options: &ScanOptions) -> flowers::error::Result<Folder> {
        Folder::scan(&self.source(), options, &Silent)
    }

    fn index(&self) -> Folder {
        Folder::index(&self.source(), &ScanOptions::default(), &Silent).unwrap()
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

/// Blocks of 4 x 4 colours that follow from a number.
fn scene(content: u32, width: u32, height: u32) -> RgbImage {
    let colour = |block: u32| {
        let mixed = (content * 16 + block + 1).wrapping_mul(0x9e37_79b1);
        let [a, b, c, _] = (mixed ^ (mixed >> 15))
            .wrapping_mul(0x85eb_ca77)
            .to_be_bytes();
        Rgb([a, b, c])
    };
    RgbImage::from_fn(width, height, |x, y| {
        colour(y * 4 / height * 4 + x * 4 / width)
    })
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
