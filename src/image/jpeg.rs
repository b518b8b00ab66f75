//! Decodes JPEGs: what is rejected, scaled decoding, and warnings about damage.

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};
use memchr::memchr;

use super::cmyk;
use super::libjpeg::{Damage, Decompressor, Fault, RAN_OUT, Samples, Stored};
use super::limits::{
    ALL_ROWS, CUT_SHORT, DecodeError, Decoded, Limits, Rows, Wanted, Warning, broken, unsupported,
};

/// Scans of a JPEG; progressive ones have some ten. Each takes a look at every block, however few
/// bytes it has.
const MAX_SCANS: usize = 100;

/// A JPEG whose markers were read and whose dimensions are within the limits.
struct Opened<'a> {
    decompressor: Decompressor<'a>,
    outline: Outline,
    orientation: Orientation,
    /// Width and height in pixels, upright.
    dimensions: (u32, u32),
}

fn open<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Opened<'a>, DecodeError> {
    let outline = Outline::of(bytes);
    if let Some(process) = outline.process.and_then(process_name) {
        return Err(unsupported(process));
    }
    if outline.scans > MAX_SCANS {
        return Err(broken("JPEG", "it has too many scans"));
    }
    let decompressor = Decompressor::open(bytes, limits.coefficients())
        .map_err(|fault| in_words("JPEG", fault, limits))?;
    let (width, height) = decompressor.dimensions();
    limits.check_dimensions("JPEG", width, height)?;
    if !matches!(decompressor.components(), 1 | 3 | 4) {
        return Err(unsupported(
            "a JPEG with neither one, three nor four channels",
        ));
    }
    // A picture with a damaged EXIF block is still a picture.
    let orientation = decompressor.exif().and_then(Orientation::from_exif_chunk);
    let orientation = orientation.unwrap_or(Orientation::NoTransforms);
    Ok(Opened {
        decompressor,
        outline,
        orientation,
        dimensions: upright((width, height), orientation),
    })
}

/// Width and height in pixels, upright; `None` where the end marker is missing, so that only
/// decoding can tell what is there.
///
/// # Errors
/// Those of [`decode`] that the header tells.
pub(super) fn inspect(bytes: &[u8], limits: &Limits) -> Result<Option<(u32, u32)>, DecodeError> {
    let opened = open(bytes, limits)?;
    Ok(opened.outline.ended.then_some(opened.dimensions))
}

/// Decodes a JPEG to upright RGB, at a half, a quarter or an eighth where that is enough.
///
/// The pixels are those of libjpeg-turbo, and so of Pillow; of CMYK and YCCK they are what
/// Pillow's `convert("RGB")` makes of them, taken as Adobe's inverted inks.
///
/// # Errors
/// A picture whose bytes end early is refused. One that is cut short and closed by an end marker,
/// or damaged in the middle, is read as far as it goes, with a warning. Below the rows that are needed,
/// the picture may be black, and damage goes unnoticed.
pub(super) fn decode(
    bytes: &[u8],
    limits: &Limits,
    wanted: Wanted<'_>,
    rows: Rows<'_>,
) -> Result<Decoded, DecodeError> {
    let opened = open(bytes, limits)?;
    let (width, height) = opened.dimensions;
    let inks = opened.decompressor.components() == 4;
    let denominator = reduction(width.min(height), wanted(width, height));
    // Of a file without an end marker, all is read to find out whether it is cut short.
    let upright = opened.orientation == Orientation::NoTransforms;
    let rows = match upright && opened.outline.ended {
        true => rows,
        false => ALL_ROWS,
    };
    let (samples, damage) = opened
        .decompressor
        .read(denominator, rows)
        .map_err(|fault| in_words("JPEG", fault, limits))?;
    let warnings = warnings(damage, opened.outline.scans)?;
    let picture = match inks {
        // As Adobe stores them.
        true => from_inks(samples, |ink| 255 - ink),
        false => whole(samples),
    };
    let mut picture = DynamicImage::from(picture?);
    picture.apply_orientation(opened.orientation);
    Ok(Decoded {
        picture: picture.into_rgb8(),
        width,
        height,
        warnings,
    })
}

/// The largest of 1, 2, 4 and 8 that leaves `side` pixels at least `wanted` after a division.
fn reduction(side: u32, wanted: Option<u32>) -> u32 {
    let Some(wanted) = wanted else { return 1 };
    let enough = |denominator: &u32| side / denominator >= wanted.max(1);
    [8, 4, 2].into_iter().find(enough).unwrap_or(1)
}

/// Width and height once the orientation is applied.
pub(super) fn upright((width, height): (u32, u32), orientation: Orientation) -> (u32, u32) {
    match orientation {
        Orientation::Rotate90
        | Orientation::Rotate270
        | Orientation::Rotate90FlipH
        | Orientation::Rotate270FlipH => (height, width),
        _ => (width, height),
    }
}

/// The warnings for a decoded picture, or the error that rejects it.
fn warnings(damage: Damage, scans: usize) -> Result<Vec<Warning>, DecodeError> {
    let mut warnings = Vec::new();
    if damage.scan_cut && damage.bytes_ran_out {
        return Err(broken("JPEG", CUT_SHORT));
    }
    // Of one scan all was there; of several, some may have been lost with the end.
    if damage.scan_cut || (damage.bytes_ran_out && scans > 1) {
        warnings.push(Warning::EndMissing);
    }
    if damage.garbled {
        warnings.push(Warning::Damaged);
    }
    Ok(warnings)
}

/// Decodes a strip or tile of a TIFF, whose directory says how its colours are stored and how many
/// pixels it has across and down at most.
pub(super) fn strip(
    bytes: &[u8],
    stored: Stored,
    (across, down): (u32, u32),
    limits: &Limits,
) -> Result<RgbImage, DecodeError> {
    let fault = |fault| in_words("TIFF", fault, limits);
    if Outline::of(bytes).scans > MAX_SCANS {
        return Err(broken("TIFF", "it has too many scans"));
    }
    let mut jpeg = Decompressor::open(bytes, limits.coefficients()).map_err(fault)?;
    let (width, height) = jpeg.dimensions();
    limits.check_dimensions("TIFF", width, height)?;
    if width > across || height > down {
        return Err(broken(
            "TIFF",
            "its JPEGs are larger than its strips or tiles",
        ));
    }
    if !jpeg.say_stored(stored) {
        return Err(broken(
            "TIFF",
            "its JPEGs have a different number of channels",
        ));
    }
    let (samples, damage) = jpeg.read(1, ALL_ROWS).map_err(fault)?;
    if damage.scan_cut {
        return Err(broken("TIFF", CUT_SHORT));
    }
    match stored {
        Stored::Cmyk => from_inks(samples, |ink| ink),
        _ => whole(samples),
    }
}

fn whole(samples: Samples) -> Result<RgbImage, DecodeError> {
    RgbImage::from_raw(samples.width, samples.height, samples.data)
        .ok_or_else(|| broken("JPEG", "its data does not match its dimensions"))
}

fn from_inks(mut samples: Samples, ink: fn(u8) -> u8) -> Result<RgbImage, DecodeError> {
    // In place: a large picture takes enough memory once.
    let pixels = samples.data.len() / 4;
    for pixel in 0..pixels {
        let at = 4 * pixel;
        let inks = [0, 1, 2, 3].map(|channel| ink(samples.data[at + channel]));
        samples.data[3 * pixel..][..3].copy_from_slice(&cmyk::to_rgb(inks));
    }
    samples.data.truncate(3 * pixels);
    whole(samples)
}

fn in_words(name: &'static str, Fault(text): Fault, limits: &Limits) -> DecodeError {
    if text.starts_with("Insufficient memory") || text.starts_with("Backing store") {
        return DecodeError::TooMuchMemory {
            limit: limits.max_pixels,
        };
    }
    let reason = match text {
        _ if text.starts_with("Unsupported JPEG data precision") => {
            return unsupported("a JPEG with more than 8 bits per sample");
        }
        _ if text.starts_with("Unsupported JPEG process") => {
            return unsupported("an unsupported kind of JPEG");
        }
        _ if text.starts_with("Unsupported color conversion") => {
            return unsupported("a JPEG with an unsupported colour space");
        }
        "Fractional sampling not implemented yet" => {
            return unsupported("a JPEG whose channels have sizes that don't divide one another");
        }
        RAN_OUT => CUT_SHORT,
        "JPEG datastream contains no image" => "it contains no picture",
        "Empty JPEG image (DNL not supported)" => "it has no pixels",
        _ if text.contains("uffman table") => "a Huffman table is missing or invalid",
        _ if text.contains("uantization table") => "a quantization table is missing",
        _ => "its structure is invalid",
    };
    broken(name, reason)
}

/// What a kind of JPEG is called that can't be read, by the last byte of its frame's marker.
fn process_name(marker: u8) -> Option<&'static str> {
    match marker {
        0xc3 | 0xcb => Some("a lossless JPEG"),
        0xc5..=0xc7 | 0xcd..=0xcf => Some("a hierarchical JPEG"),
        0xf7 => Some("a JPEG-LS picture"),
        _ => None,
    }
}

/// What the markers of a JPEG tell, without those of an embedded thumbnail.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Outline {
    scans: usize,
    /// The last byte of the frame's marker, which says how the pixels are coded.
    process: Option<u8>,
    /// Whether there is an end marker.
    ended: bool,
}

impl Outline {
    fn of(bytes: &[u8]) -> Self {
        let mut outline = Self::default();
        let mut rest = bytes.get(2..).unwrap_or_default();
        while let Some(at) = memchr(0xff, rest) {
            rest = &rest[at..];
            match *rest {
                [_, 0xd9, ..] => {
                    outline.ended = true;
                    break;
                }
                // Fill bytes before a marker.
                [_, 0xff, ..] => rest = &rest[1..],
                // A stuffed zero in the entropy-coded data, and markers without a length.
                [_, 0x00 | 0x01 | 0xd0..=0xd8, ..] => rest = &rest[2..],
                [_, marker, high, low, ..] => {
                    outline.scans += usize::from(marker == 0xda);
                    if matches!(marker, 0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf | 0xf7)
                    {
                        outline.process.get_or_insert(marker);
                    }
                    let length = usize::from(u16::from_be_bytes([high, low]));
                    rest = rest.get(2 + length..).unwrap_or_default();
                }
                _ => break,
            }
        }
        outline
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_markers_of_a_thumbnail_are_not_the_pictures() {
        let thumbnail = [0xff, 0xe1, 0, 10, 0xff, 0xda, 0, 2, 0xff, 0xc3, 0xff, 0xd9];
        let mut jpeg = vec![0xff, 0xd8];
        jpeg.extend(thumbnail);
        jpeg.extend([0xff, 0xc2, 0, 2, 0xff, 0xda, 0, 2, 1, 2, 0xff, 0x00, 3]);
        jpeg.extend([0xff, 0xd0, 4, 0xff, 0xff, 0xda, 0, 2]);
        let found = Outline::of(&jpeg);
        assert_eq!((found.scans, found.process), (2, Some(0xc2)));
        assert!(!found.ended, "that was the thumbnail's end marker");
        jpeg.extend([0xff, 0xd9, 0xff, 0xda, 0, 2]);
        let found = Outline::of(&jpeg);
        assert_eq!((found.scans, found.ended), (2, true));
        for bytes in [&[0xff][..], &[0xff, 0xd8, 0xff]] {
            assert_eq!(Outline::of(bytes), Outline::default());
        }
    }

    #[test]
    fn no_more_is_taken_away_than_wanted() {
        let cases = [
            (3000, Some(512), 4),
            (1023, Some(512), 1),
            (1024, Some(512), 2),
            (8, Some(0), 8),
            (4096, None, 1),
        ];
        for (side, wanted, expected) in cases {
            assert_eq!(reduction(side, wanted), expected, "{side} {wanted:?}");
        }
    }
}
