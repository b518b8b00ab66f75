//! Photos without labels.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use walkdir::{DirEntry, WalkDir};

use super::folder::allowed;
use super::hidden::is_hidden;
use super::layout::ClassFile;
use super::photo::{Photo, Unreadable};
use super::scan::{Scan, ScanOptions, Scanned};
use super::source::Source;
use crate::error::{Error, Result, shown, some};
use crate::progress::Progress;

/// The photos in a folder and in those below it, sorted by name, folder by folder; their class is 0. Hidden
/// files and what is no picture are skipped.
///
/// # Errors
/// [`Error::Data`] when there is no such folder, no photo in it, or too many that can't be read.
pub fn unlabelled(
    folder: &Path,
    options: &ScanOptions,
    progress: &dyn Progress,
) -> Result<Vec<Photo>> {
    let is_meant = |entry: &DirEntry| entry.depth() == 0 || !is_hidden(entry.file_name());
    let walk = WalkDir::new(folder).follow_links(true).sort_by_file_name();
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in walk.into_iter().filter_entry(is_meant) {
        let entry = entry.map_err(|cause| {
            Error::Data(format!("can't read the folder {}: {cause}", shown(folder)))
        })?;
        if entry.file_type().is_file() {
            files.push(entry.into_path());
        }
    }
    let scan = Scan::new(&Source::from(folder), options);
    progress.begin("reading unlabelled photos", files.len() as u64);
    let scanned: Vec<Scanned> = files
        .into_par_iter()
        .map(|path| {
            let scanned = scan.file(ClassFile {
                path,
                class: 0,
                part: None,
            });
            progress.advance(1);
            scanned
        })
        .collect();
    progress.finish();
    scan.finish();
    let (mut photos, mut unreadable) = (Vec::new(), Vec::new());
    for file in scanned {
        match file {
            Scanned::Photo(photo, _) => photos.push(*photo),
            Scanned::Unreadable(file) => unreadable.push(file),
            Scanned::NotAnImage(_) => {}
        }
    }
    if unreadable.len() > allowed(options.max_bad, photos.len() + unreadable.len()) {
        let listed = |file: &Unreadable| format!("{} ({})", shown(&file.path), file.reason);
        return Err(Error::Data(format!(
            "{} of the photos in {} can't be read: {}; remove them, or raise --max-bad",
            unreadable.len(),
            shown(folder),
            some(unreadable.iter().map(listed))
        ))
        .into());
    }
    if photos.is_empty() {
        return Err(Error::Data(format!("no photos in {}", shown(folder))).into());
    }
    Ok(photos)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use image::RgbImage;

    use super::*;
    use crate::error::exit_code;
    use crate::progress::Silent;

    #[test]
    fn folders_are_searched_and_other_files_skipped() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let list = || unlabelled(folder.path(), &ScanOptions::default(), &Silent);
        let empty = list().unwrap_err();
        assert!(empty.to_string().contains("no photos in"), "{empty}");
        fs::create_dir_all(at("b/deep")).unwrap();
        fs::create_dir(at(".hidden")).unwrap();
        for (name, side) in [("z.png", 8), ("b/deep/c.png", 9), (".hidden/d.png", 10)] {
            RgbImage::new(side, side).save(at(name)).unwrap();
        }
        fs::write(at("notes.txt"), "no photo").unwrap();
        let found = list().unwrap();
        let names: Vec<_> = found.iter().map(|photo| &photo.path).collect();
        assert_eq!(names, [&at("b/deep/c.png"), &at("z.png")]);
        for number in 0..6 {
            fs::write(at(&format!("{number}.jpg")), "broken").unwrap();
        }
        let broken = list().unwrap_err();
        assert_eq!(exit_code(&broken), 3);
        assert!(broken.to_string().contains("6 of the photos"), "{broken}");
        let missing = unlabelled(&at("none"), &ScanOptions::default(), &Silent);
        assert!(
            missing
                .unwrap_err()
                .to_string()
                .contains("can't read the folder")
        );
    }
}
