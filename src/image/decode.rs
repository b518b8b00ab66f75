//! Decoding with limits that hold before a pixel is allocated.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::num::NonZeroU32;
use std::panic::catch_unwind;
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, RgbImage};
use memchr::memchr;

use super::shrink::shrunk;
use crate::error::shown;

/// Scans of a JPEG; progressive ones have some ten.
const MAX_SCANS: usize = 100;

/// What a picture may cost at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Width times height, checked against the header.
    pub max_pixels: u64,
    /// Size of the encoded file in bytes.
    pub max_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_pixels: 100_000_000,
            max_bytes: 200_000_000,
        }
    }
}

impl Limits {
    /// Memory in bytes that a decoder may take: the pixels at 16-bit RGBA, and room for the
    /// metadata of even the smallest picture.
    fn decoder(&self) -> image::Limits {
        let mut limits = image::Limits::no_limits();
        limits.max_alloc = Some(self.max_pixels.saturating_mul(8).max(64 << 20));
        limits
    }
}

/// Why a file is no picture that can be used. The path is the caller's to add.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("the file is empty: copy it again or delete it")]
    Empty,
    #[error("not a picture but {looks_like}: JPEG, PNG, WebP, GIF, BMP and TIFF can be read")]
    NotAPicture { looks_like: &'static str },
    #[error("{width}x{height} pixels are more than the {limit} allowed: scale the picture down")]
    TooManyPixels { width: u32, height: u32, limit: u64 },
    #[error("a file of more than the {limit} bytes allowed: compress or scale the picture down")]
    TooManyBytes { limit: u64 },
    #[error("decoding it takes more memory than pictures of {limit} pixels may: scale it down")]
    TooMuchMemory { limit: u64 },
    #[error("broken {format} ({reason}): copy it again or convert it")]
    Broken {
        format: &'static str,
        reason: String,
    },
    #[error("can't be read: {0}")]
    Io(#[from] io::Error),
}

/// Reads and decodes a file; see [`decode`].
pub fn read(path: &Path, limits: &Limits) -> Result<RgbImage, DecodeError> {
    decode(&read_bytes(path, limits)?, limits)
}

/// Reads a file, but never more than one byte beyond `limits.max_bytes`: enough for the decoder
/// to see, and to say, that it is too big.
///
/// # Errors
/// The operating system's, and `InvalidInput` for what is no regular file: a pipe would block.
pub fn read_bytes(path: &Path, limits: &Limits) -> io::Result<Vec<u8>> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        ));
    }
    let most = limits.max_bytes.saturating_add(1);
    let expected = usize::try_from(metadata.len().min(most)).unwrap_or(0);
    let mut bytes = Vec::with_capacity(expected);
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Decodes the first frame of a picture to 8-bit RGB with its EXIF orientation applied.
///
/// The format is told by the content. Colours follow Pillow's `convert("RGB")`: grey is
/// repeated, palettes are resolved, alpha is dropped rather than composited, CMYK and YCCK are
/// taken as Adobe's inverted inks. Two things Pillow would clip to white or black are scaled to
/// 0..=255 instead: 16-bit samples (rounded) and float samples (of 0 to 1).
///
/// # Errors
///
/// The size of the file and the dimensions in its header are compared with `limits` before
/// pixels are allocated. A picture that ends early is [`DecodeError::Broken`]; so is one on
/// which a decoder panics.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<RgbImage, DecodeError> {
    decode_for(bytes, limits, None)
}

/// As [`decode`]; a JPEG may come out smaller, with at least so many pixels on its shorter side.
pub(super) fn decode_for(
    bytes: &[u8],
    limits: &Limits,
    short_side: Option<NonZeroU32>,
) -> Result<RgbImage, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    if bytes.len() as u64 > limits.max_bytes {
        return Err(DecodeError::TooManyBytes {
            limit: limits.max_bytes,
        });
    }
    let (format, name) = sniff(bytes).ok_or_else(|| DecodeError::NotAPicture {
        looks_like: describe(bytes),
    })?;
    let markers = match format {
        ImageFormat::Jpeg => Some(Markers::of(bytes)),
        _ => None,
    };
    if markers.is_some_and(|markers| !markers.end) {
        return Err(broken(name, "cut short: no end-of-image marker"));
    }
    // Each takes a look at every block, however few bytes it has.
    if markers.is_some_and(|markers| markers.scans > MAX_SCANS) {
        return Err(broken(name, "more scans than any picture needs"));
    }
    // The decoders are other people's parsers of hostile bytes: a panic there is one bad file.
    let shrunk = || match (markers, short_side) {
        (Some(markers), Some(side)) if !markers.progressive => shrunk(bytes, limits, side),
        _ => None,
    };
    catch_unwind(|| shrunk().map_or_else(|| decode_as(format, name, bytes, limits), Ok))
        .unwrap_or_else(|_| Err(broken(name, "the decoder failed on it")))
}

fn decode_as(
    format: ImageFormat,
    name: &'static str,
    bytes: &[u8],
    limits: &Limits,
) -> Result<RgbImage, DecodeError> {
    let fault = |error: ImageError| match error {
        ImageError::Limits(_) => DecodeError::TooMuchMemory {
            limit: limits.max_pixels,
        },
        _ => broken(name, &error.to_string()),
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits.decoder());
    let mut decoder = reader.into_decoder().map_err(fault)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > limits.max_pixels {
        return Err(DecodeError::TooManyPixels {
            width,
            height,
            limit: limits.max_pixels,
        });
    }
    if width == 0 || height == 0 {
        return Err(broken(name, "it has no pixels"));
    }
    limits
        .decoder()
        .reserve(decoder.total_bytes())
        .map_err(fault)?;
    // A picture with a damaged EXIF block is still a picture.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let picture = DynamicImage::from_decoder(decoder).map_err(fault)?;
    // Turning copies, so what is turned is made small first.
    let mut picture = DynamicImage::from(picture.into_rgb8());
    picture.apply_orientation(orientation);
    Ok(picture.into_rgb8())
}

fn broken(format: &'static str, reason: &str) -> DecodeError {
    DecodeError::Broken {
        format,
        reason: shown(reason),
    }
}

/// The allowed format that the first bytes announce, with its name.
fn sniff(bytes: &[u8]) -> Option<(ImageFormat, &'static str)> {
    let format = image::guess_format(bytes).ok()?;
    let name = match format {
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::Png => "PNG",
        ImageFormat::WebP => "WebP",
        ImageFormat::Gif => "GIF",
        ImageFormat::Bmp => "BMP",
        ImageFormat::Tiff => "TIFF",
        _ => return None,
    };
    Some((format, name))
}

/// The usual ending of the name of such a picture; `None` for what can't be decoded.
pub fn extension(bytes: &[u8]) -> Option<&'static str> {
    let (format, _) = sniff(bytes)?;
    format.extensions_str().first().copied()
}

/// What a file without an allowed format seems to be, for the error message.
fn describe(bytes: &[u8]) -> &'static str {
    let head = &bytes[..bytes.len().min(1024)];
    if let Some(brand) = bytes.get(4..12).and_then(|b| b.strip_prefix(b"ftyp")) {
        return match brand {
            b"heic" | b"heix" | b"hevc" | b"mif1" | b"msf1" => "a HEIC photo",
            b"avif" | b"avis" => "an AVIF picture",
            _ => "a video",
        };
    }
    if head.starts_with(b"%PDF") {
        return "a PDF document";
    }
    if head.starts_with(b"PK\x03\x04") {
        return "a zip archive";
    }
    if head.iter().all(|&byte| byte == 0) {
        return "zero bytes";
    }
    if head.contains(&0) {
        return "unknown binary data";
    }
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    if text.contains("<svg") {
        "an SVG drawing"
    } else if text.contains("<html") || text.contains("<!doctype html") {
        "an HTML page"
    } else if text.contains(char::REPLACEMENT_CHARACTER) && bytes.len() < 1024 {
        "unknown binary data"
    } else {
        "text"
    }
}

/// What the markers of a JPEG tell, without those of an embedded thumbnail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Markers {
    /// There is an end of the image. The decoder fills what a truncated file lacks with grey and
    /// calls it a success.
    end: bool,
    scans: usize,
    progressive: bool,
}

impl Markers {
    fn of(bytes: &[u8]) -> Self {
        let mut markers = Self::default();
        let mut rest = bytes.get(2..).unwrap_or_default();
        while let Some(at) = memchr(0xff, rest) {
            rest = &rest[at..];
            match *rest {
                [_, 0xd9, ..] => {
                    markers.end = true;
                    break;
                }
                // Fill bytes before a marker.
                [_, 0xff, ..] => rest = &rest[1..],
                // A stuffed zero in the entropy-coded data, and markers without a length.
                [_, 0x00 | 0x01 | 0xd0..=0xd8, ..] => rest = &rest[2..],
                [_, marker, high, low, ..] => {
                    markers.scans += usize::from(marker == 0xda);
                    markers.progressive |= matches!(marker, 0xc2 | 0xc6 | 0xca | 0xce);
                    let length = usize::from(u16::from_be_bytes([high, low]));
                    rest = rest.get(2 + length..).unwrap_or_default();
                }
                _ => break,
            }
        }
        markers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_big_file_is_read_up_to_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("big");
        std::fs::write(&path, vec![7; 100]).unwrap();
        let limits = |max_bytes| Limits {
            max_bytes,
            ..Limits::default()
        };
        assert_eq!(read_bytes(&path, &limits(10)).unwrap().len(), 11);
        assert_eq!(read_bytes(&path, &limits(100)).unwrap().len(), 100);
        assert!(read_bytes(folder.path(), &limits(100)).is_err());
    }

    #[test]
    fn the_end_marker_of_a_thumbnail_is_not_the_end() {
        let thumbnail = [0xff, 0xe1, 0, 6, 0xff, 0xd8, 0xff, 0xd9];
        let mut jpeg = vec![0xff, 0xd8];
        jpeg.extend(thumbnail);
        jpeg.extend([0xff, 0xda, 0, 2, 1, 2, 0xff, 0x00, 3, 0xff, 0xd0, 4]);
        let found = Markers::of(&jpeg);
        assert_eq!(
            (found.end, found.scans, found.progressive),
            (false, 1, false)
        );
        jpeg.extend([0xff, 0xc2, 0, 2, 0xff, 0xff, 0xd9]);
        let found = Markers::of(&jpeg);
        assert_eq!((found.end, found.scans, found.progressive), (true, 1, true));
        for bytes in [&[0xff][..], &[0xff, 0xd8, 0xff]] {
            assert_eq!(Markers::of(bytes), Markers::default());
        }
    }

    #[test]
    fn strangers_are_described() {
        let described = [
            (&b"\0\0\0\x18ftypheic\0\0\0\0"[..], "a HEIC photo"),
            (b"\0\0\0\x1cftypavif\0\0\0\0", "an AVIF picture"),
            (b"%PDF-1.7", "a PDF document"),
            (b"PK\x03\x04", "a zip archive"),
            (b"\0\0\0", "zero bytes"),
            (b"<!DOCTYPE html><p>404", "an HTML page"),
            (b"<svg xmlns=", "an SVG drawing"),
            (b"a rose is a rose", "text"),
            (b"\x93\x01\x02\xf5", "unknown binary data"),
        ];
        for (bytes, expected) in described {
            let error = decode(bytes, &Limits::default()).unwrap_err();
            assert!(
                matches!(error, DecodeError::NotAPicture { looks_like } if looks_like == expected),
                "{error}"
            );
        }
    }
}
