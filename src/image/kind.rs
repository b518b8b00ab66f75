//! Whether a file is a picture: by its file extension, or else by its first bytes.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use image::ImageFormat;

use super::sniff::{Format, is_heic, other_picture, sniff};

/// File extensions of pictures, whether or not they can be decoded here: a photo that
/// can't be read should be reported, not skipped.
const ENDINGS: &[&str] = &[
    "jpg", "jpeg", "jpe", "jfif", "pjpeg", "png", "apng", "webp", "gif", "bmp", "dib", "tif",
    "tiff", "pnm", "ppm", "pgm", "pbm", "pam", "avif", "heic", "heif", "hif", "jxl", "jp2", "j2k",
    "jpx", "tga", "ico", "exr", "hdr", "psd", "svg", "dng", "cr2", "cr3", "nef", "arw", "orf",
    "rw2", "raf", "pef", "srw",
];

/// Bytes enough for [`begins_a_picture`].
const HEAD: u64 = 16;

/// Whether a file is a picture. Without a known extension, its first bytes are read, unless
/// it is not a regular file: a pipe would block.
///
/// # Errors
/// The operating system's.
pub fn is_picture(path: &Path) -> io::Result<bool> {
    if named_as_picture(path) {
        return Ok(true);
    }
    if !fs::metadata(path)?.is_file() {
        return Ok(false);
    }
    let mut head = Vec::new();
    File::open(path)?.take(HEAD).read_to_end(&mut head)?;
    Ok(begins_a_picture(&head))
}

/// Whether a name has a picture's ending.
pub fn named_as_picture(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| {
        let known = |known: &&str| ending.eq_ignore_ascii_case(known);
        ENDINGS.iter().any(known)
    })
}

/// Whether a file begins as pictures do, those that can't be decoded here among them.
fn begins_a_picture(head: &[u8]) -> bool {
    match sniff(head) {
        // Two letters begin many a text: a bitmap goes on with its size and four zeros, and what
        // may be a PNM is known by its name only.
        Some(Format::Other(ImageFormat::Bmp, _)) => head.get(6..10) == Some(&[0; 4]),
        Some(Format::Other(ImageFormat::Pnm, _)) => false,
        Some(_) => true,
        None => is_heic(head) || other_picture(head).is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_known_by_name_or_by_content() {
        let folder = tempfile::tempdir().unwrap();
        let is = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            is_picture(&path).unwrap()
        };
        assert!(is("empty.JPG", b""));
        assert!(is("IMG_1.HEIC", b"?"));
        assert!(is("download", b"\xff\xd8\xff\xe0"));
        assert!(is("photo.jpg_large", b"RIFF\0\0\0\0WEBPVP8 "));
        assert!(is("bitmap", b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0"));
        assert!(is("phone", b"\0\0\0\x18ftypheic\0\0\0\0"));
        assert!(!is("IMG_1.MOV", b"\0\0\0\x14ftypqt  \0\0\0\0"));
        assert!(!is("IMG_1.AAE", b"<?xml version"));
        assert!(!is("cars.txt", b"BMW and others, a list"));
        assert!(!is("empty", b""));
        assert!(is_picture(&folder.path().join("gone.txt")).is_err());
    }
}
