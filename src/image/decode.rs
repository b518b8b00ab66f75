//! Decoding with limits that hold before a pixel is allocated.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::panic::catch_unwind;
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, RgbImage};
use serde::Serialize;

pub use super::sniff::extension;
use super::sniff::{Format, describe, is_heic, other_picture, sniff};
use super::{jpeg, mended, tiff};
use crate::error::shown;

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
    pub(super) fn memory(&self) -> u64 {
        self.max_pixels.saturating_mul(8).max(64 << 20)
    }

    /// Memory in bytes for what a JPEG of several scans keeps beside its pixels: three channels
    /// of 16-bit coefficients, or a little less than four.
    pub(super) fn coefficients(&self) -> u64 {
        self.max_pixels.saturating_mul(7).max(64 << 20)
    }

    fn decoder(&self) -> image::Limits {
        let mut limits = image::Limits::no_limits();
        limits.max_alloc = Some(self.memory());
        limits
    }

    /// Refuses a picture without pixels, and one of too many.
    pub(super) fn check_dimensions(
        &self,
        name: &'static str,
        width: u32,
        height: u32,
    ) -> Result<(), DecodeError> {
        if u64::from(width) * u64::from(height) > self.max_pixels {
            return Err(DecodeError::TooManyPixels {
                width,
                height,
                limit: self.max_pixels,
            });
        }
        if width == 0 || height == 0 {
            return Err(broken(name, "it has no pixels"));
        }
        Ok(())
    }
}

/// Why a file is no picture that can be used. The path is the caller's to add.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("the file is empty: copy it again or delete it")]
    Empty,
    #[error("not a picture but {looks_like}: JPEG, PNG, WebP, GIF, BMP, TIFF and PPM can be read")]
    NotAPicture { looks_like: &'static str },
    #[error(
        "a HEIC photo, which can't be read: convert it (`heif-convert IN.heic OUT.jpg`), and let \
         the phone save JPEGs (iPhone: Settings, Camera, Formats, Most Compatible)"
    )]
    Heic,
    #[error("{what}, which can't be read: convert it to PNG or to an ordinary JPEG")]
    Unsupported { what: &'static str },
    #[error("{width}x{height} pixels exceed the limit of {limit}: scale the picture down")]
    TooManyPixels { width: u32, height: u32, limit: u64 },
    #[error("the file exceeds the limit of {limit} bytes: compress the picture or scale it down")]
    TooManyBytes { limit: u64 },
    #[error("decoding takes more memory than allowed for {limit} pixels: scale the picture down")]
    TooMuchMemory { limit: u64 },
    #[error("broken {format} ({reason}): copy it again or convert it")]
    Broken {
        format: &'static str,
        reason: String,
    },
    #[error("can't be read: {0}")]
    Io(#[from] io::Error),
}

pub(super) const CUT_SHORT: &str = "it is cut short";

pub(super) fn broken(format: &'static str, reason: &str) -> DecodeError {
    DecodeError::Broken {
        format,
        reason: shown(reason),
    }
}

pub(super) fn unsupported(what: &'static str) -> DecodeError {
    DecodeError::Unsupported { what }
}

/// What is amiss with a picture that can be read all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub enum Warning {
    EndMissing,
    Damaged,
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::EndMissing => "the end of the picture is missing and was filled with grey",
            Self::Damaged => "the picture is damaged: parts of it are grey or out of place",
        })
    }
}

impl From<Warning> for String {
    fn from(warning: Warning) -> Self {
        warning.to_string()
    }
}

/// A decoded picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// Upright 8-bit RGB, smaller than the file's where less was wanted.
    pub picture: RgbImage,
    /// Width in pixels of the whole picture, upright.
    pub width: u32,
    /// Height in pixels of the whole picture, upright.
    pub height: u32,
    pub warnings: Vec<Warning>,
}

/// How many pixels on its shorter side are enough of a picture of a given width and height;
/// `None` where every pixel counts.
pub type Wanted<'a> = &'a dyn Fn(u32, u32) -> Option<u32>;

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
/// 0..=255 instead: 16-bit samples (rounded) and float samples (of 0 to 1, unless some are beyond
/// 2).
///
/// # Errors
///
/// The size of the file and the dimensions in its header are compared with `limits` before
/// pixels are allocated. A picture that ends early is [`DecodeError::Broken`]; so is one on
/// which a decoder panics.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<RgbImage, DecodeError> {
    Ok(decode_for(bytes, limits, &|_, _| None)?.picture)
}

/// As [`decode`]; a JPEG of which less is wanted is decoded at a half, a quarter or an eighth.
///
/// # Errors
/// Those of [`decode`].
pub fn decode_for(
    bytes: &[u8],
    limits: &Limits,
    wanted: Wanted<'_>,
) -> Result<Decoded, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    if bytes.len() as u64 > limits.max_bytes {
        return Err(DecodeError::TooManyBytes {
            limit: limits.max_bytes,
        });
    }
    let format = sniff(bytes).ok_or_else(|| match other_picture(bytes) {
        _ if is_heic(bytes) => DecodeError::Heic,
        Some(what) => unsupported(what),
        None => DecodeError::NotAPicture {
            looks_like: describe(bytes),
        },
    })?;
    // The decoders are other people's parsers of hostile bytes: a panic there is one bad file.
    let wanted = std::panic::AssertUnwindSafe(wanted);
    catch_unwind(|| decode_as(format, bytes, limits, *wanted))
        .unwrap_or_else(|_| Err(broken(format.name(), "the decoder failed on it")))
}

fn decode_as(
    format: Format,
    bytes: &[u8],
    limits: &Limits,
    wanted: Wanted<'_>,
) -> Result<Decoded, DecodeError> {
    let (picture, orientation) = match format {
        Format::Jpeg => return jpeg::decode(bytes, limits, wanted),
        Format::Tiff => tiff::decode(bytes, limits)?,
        #[cfg(feature = "heif")]
        Format::Heif => (
            super::heif::decode(bytes, limits)?,
            Orientation::NoTransforms,
        ),
        Format::Png => {
            let (bytes, orientation) = mended::completed_png(bytes);
            let decoded = by_image(ImageFormat::Png, "PNG", &bytes, limits);
            let (picture, found) = decoded.map_err(|error| match (error, &bytes) {
                (DecodeError::Broken { format, .. }, Cow::Owned(_)) => broken(format, CUT_SHORT),
                (error, _) => error,
            })?;
            (picture, orientation.unwrap_or(found))
        }
        Format::Other(ImageFormat::Gif, name) => {
            by_image(ImageFormat::Gif, name, &mended::roomy_gif(bytes), limits)?
        }
        Format::Other(format, name) => by_image(format, name, bytes, limits)?,
    };
    let mut picture = DynamicImage::from(picture);
    picture.apply_orientation(orientation);
    Ok(Decoded {
        width: picture.width(),
        height: picture.height(),
        picture: picture.into_rgb8(),
        warnings: Vec::new(),
    })
}

fn by_image(
    format: ImageFormat,
    name: &'static str,
    bytes: &[u8],
    limits: &Limits,
) -> Result<(RgbImage, Orientation), DecodeError> {
    let fault = |error| in_words(error, name, limits);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits.decoder());
    let mut decoder = reader.into_decoder().map_err(fault)?;
    let (width, height) = decoder.dimensions();
    limits.check_dimensions(name, width, height)?;
    limits
        .decoder()
        .reserve(decoder.total_bytes())
        .map_err(fault)?;
    // A picture with a damaged EXIF block is still a picture.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let picture = DynamicImage::from_decoder(decoder).map_err(fault)?;
    Ok((picture.into_rgb8(), orientation))
}

/// The decoders' own texts name parts that nobody who has photos knows.
fn in_words(error: ImageError, name: &'static str, limits: &Limits) -> DecodeError {
    let text = match &error {
        ImageError::Limits(_) => {
            return DecodeError::TooMuchMemory {
                limit: limits.max_pixels,
            };
        }
        ImageError::Unsupported(_) => return unsupported(unusual(name)),
        _ => error.to_string().to_lowercase(),
    };
    let has = |words: &str| text.contains(words);
    broken(
        name,
        if has("end of file") || has("unexpected eof") || has("fill whole buffer") {
            CUT_SHORT
        } else if has("crc error") || has("checksum") {
            "a checksum is wrong"
        } else {
            "its structure makes no sense"
        },
    )
}

fn unusual(name: &str) -> &'static str {
    match name {
        "PNG" => "a PNG of an unusual kind",
        "GIF" => "a GIF of an unusual kind",
        "BMP" => "a BMP of an unusual kind",
        "WebP" => "a WebP of an unusual kind",
        _ => "a picture of an unusual kind",
    }
}
