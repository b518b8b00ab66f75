//! Decoding with limits that hold before a pixel is allocated.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, RgbImage};

use super::limits::{ALL_ROWS, CUT_SHORT, Rows, broken, unsupported};
pub use super::limits::{DecodeError, Decoded, Limits, Wanted, Warning};
pub use super::sniff::extension;
use super::sniff::{Format, describe, is_heic, other_picture, sniff};
use super::{jpeg, repair, tiff};

/// Reads and decodes a file; see [`decode`].
pub fn read(path: &Path, limits: &Limits) -> Result<RgbImage, DecodeError> {
    decode(&read_bytes(path, limits)?, limits)
}

/// Reads a file, but never more than one byte beyond `limits.max_bytes`: enough for the decoder
/// to see, and to say, that it is too big.
///
/// # Errors
/// The operating system's, and `InvalidInput` for anything but a regular file: a pipe would block.
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
    decode_top(bytes, limits, wanted, ALL_ROWS)
}

/// As [`decode_for`]; the rows below those that are needed may be black.
///
/// # Errors
/// Those of [`decode`].
pub(super) fn decode_top(
    bytes: &[u8],
    limits: &Limits,
    wanted: Wanted<'_>,
    rows: Rows<'_>,
) -> Result<Decoded, DecodeError> {
    let format = accepted(bytes, limits)?;
    guarded(format, || decode_as(format, bytes, limits, wanted, rows))
}

/// Width and height in pixels, upright, without decoding: JPEG, PNG and WebP tell them in their
/// headers. `None` where only decoding can tell whether there is a picture: in other formats, and
/// in these where the mark at the end is missing.
///
/// # Errors
/// Those of [`decode`] that the size of the file and the headers tell.
pub fn inspect(bytes: &[u8], limits: &Limits) -> Result<Option<(u32, u32)>, DecodeError> {
    let format = accepted(bytes, limits)?;
    guarded(format, || {
        let (kind, has_end, orientation) = match format {
            Format::Jpeg => return jpeg::inspect(bytes, limits),
            Format::Png => {
                let chunks = repair::Chunks::of(bytes);
                (ImageFormat::Png, chunks.ended, chunks.orientation)
            }
            Format::Other(kind @ ImageFormat::WebP, _) => (kind, is_whole_riff(bytes), None),
            _ => return Ok(None),
        };
        if !has_end {
            return Ok(None);
        }
        let mut decoder = opened(kind, format.name(), bytes, limits)?;
        let orientation = orientation.or_else(|| decoder.orientation().ok());
        let orientation = orientation.unwrap_or(Orientation::NoTransforms);
        Ok(Some(jpeg::upright(decoder.dimensions(), orientation)))
    })
}

/// Whether a RIFF file, which begins with its length, is as long as it says.
fn is_whole_riff(bytes: &[u8]) -> bool {
    let length = bytes.get(4..8).and_then(|length| length.try_into().ok());
    length.is_some_and(|length| {
        let length = u64::from(u32::from_le_bytes(length));
        bytes.len() as u64 >= 8 + length
    })
}

/// The format of a file that is within the limits.
fn accepted(bytes: &[u8], limits: &Limits) -> Result<Format, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    if bytes.len() as u64 > limits.max_bytes {
        return Err(DecodeError::TooManyBytes {
            limit: limits.max_bytes,
        });
    }
    sniff(bytes).ok_or_else(|| match other_picture(bytes) {
        _ if is_heic(bytes) => DecodeError::Heic,
        Some(what) => unsupported(what),
        None => DecodeError::NotAPicture {
            looks_like: describe(bytes),
        },
    })
}

/// The decoders are other people's parsers of hostile bytes: a panic there is one bad file.
fn guarded<T>(
    format: Format,
    parse: impl FnOnce() -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    catch_unwind(AssertUnwindSafe(parse))
        .unwrap_or_else(|_| Err(broken(format.name(), "the decoder failed on it")))
}

fn decode_as(
    format: Format,
    bytes: &[u8],
    limits: &Limits,
    wanted: Wanted<'_>,
    rows: Rows<'_>,
) -> Result<Decoded, DecodeError> {
    let (picture, orientation) = match format {
        Format::Jpeg => return jpeg::decode(bytes, limits, wanted, rows),
        Format::Tiff => tiff::decode(bytes, limits)?,
        #[cfg(feature = "heif")]
        Format::Heif => (
            super::heif::decode(bytes, limits)?,
            Orientation::NoTransforms,
        ),
        Format::Png => {
            let (bytes, orientation) = repair::completed_png(bytes);
            let decoded = by_image(ImageFormat::Png, "PNG", &bytes, limits);
            let (picture, found) = decoded.map_err(|error| match (error, &bytes) {
                (DecodeError::Broken { format, .. }, Cow::Owned(_)) => broken(format, CUT_SHORT),
                (error, _) => error,
            })?;
            (picture, orientation.unwrap_or(found))
        }
        Format::Other(ImageFormat::Gif, name) => {
            by_image(ImageFormat::Gif, name, &repair::roomy_gif(bytes), limits)?
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
    let mut decoder = opened(format, name, bytes, limits)?;
    limits
        .decoder()
        .reserve(decoder.total_bytes())
        .map_err(fault)?;
    // A picture with a damaged EXIF block is still a picture.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let picture = DynamicImage::from_decoder(decoder).map_err(fault)?;
    Ok((picture.into_rgb8(), orientation))
}

/// A decoder that has read a header whose dimensions are within the limits.
fn opened<'a>(
    format: ImageFormat,
    name: &'static str,
    bytes: &'a [u8],
    limits: &Limits,
) -> Result<impl ImageDecoder + 'a, DecodeError> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits.decoder());
    let decoder = reader.into_decoder();
    let decoder = decoder.map_err(|error| in_words(error, name, limits))?;
    let (width, height) = decoder.dimensions();
    limits.check_dimensions(name, width, height)?;
    Ok(decoder)
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
            "its structure is invalid"
        },
    )
}

fn unusual(name: &str) -> &'static str {
    match name {
        "PNG" => "an unsupported kind of PNG",
        "GIF" => "an unsupported kind of GIF",
        "BMP" => "an unsupported kind of BMP",
        "WebP" => "an unsupported kind of WebP",
        _ => "an unsupported kind of picture",
    }
}
