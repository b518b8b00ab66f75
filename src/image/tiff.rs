//! TIFFs of many kinds, their palettes resolved and their JPEG strips decoded as JPEGs are.

use std::borrow::Cow;
use std::io::Cursor;

use image::RgbImage;
use image::metadata::Orientation;
use tiff::decoder::{ChunkType, Decoder, DecodingResult};
use tiff::tags::{CompressionMethod, PhotometricInterpretation, Tag};
use tiff::{ColorType, TiffError};

use super::cmyk;
use super::libjpeg::Stored;
use super::limits::{CUT_SHORT, DecodeError, Limits, broken, unsupported};

const PHOTOMETRIC: u16 = 262;
const PALETTE: u16 = 3;
const BLACK_IS_ZERO: u16 = 1;
/// The version of the format that a camera's raw photo follows.
const DNG_VERSION: Tag = Tag::Unknown(50706);
const NAME: &str = "TIFF";

type Reader<'a> = Decoder<Cursor<&'a [u8]>>;

/// Decodes the first picture of a TIFF to RGB, not yet upright.
pub(super) fn decode(
    bytes: &[u8],
    limits: &Limits,
) -> Result<(RgbImage, Orientation), DecodeError> {
    // The library knows no palettes, but reads the places in them as grey.
    let (bytes, palette) = as_grey(bytes);
    let fault = |error| in_words(error, limits);
    let mut reader = Reader::new(Cursor::new(&bytes)).map_err(fault)?;
    let (width, height) = reader.dimensions().map_err(fault)?;
    limits.check_dimensions(NAME, width, height)?;
    let most = usize::try_from(limits.memory()).unwrap_or(usize::MAX);
    let mut bounds = tiff::decoder::Limits::unlimited();
    bounds.decoding_buffer_size = most;
    bounds.intermediate_buffer_size = most;
    bounds.ifd_value_size = most;
    let mut reader = reader.with_limits(bounds);
    if is_preview(&mut reader) {
        return Err(unsupported("a camera raw file"));
    }
    check_chunks(&reader, (width, height), limits)?;
    let orientation = reader.find_tag_unsigned::<u8>(Tag::Orientation);
    let orientation = orientation.ok().flatten().and_then(Orientation::from_exif);
    let compression = reader
        .find_tag_unsigned::<u16>(Tag::Compression)
        .map_err(fault)?;
    let picture = match compression.map(CompressionMethod::from_u16_exhaustive) {
        Some(CompressionMethod::ModernJPEG) => from_jpegs(&bytes, &mut reader, limits)?,
        _ => {
            let palette = match palette {
                true => Some(reader.get_tag_u16_vec(Tag::ColorMap).map_err(fault)?),
                false => None,
            };
            from_samples(&mut reader, palette.as_deref(), limits)?
        }
    };
    Ok((picture, orientation.unwrap_or(Orientation::NoTransforms)))
}

/// Whether the first picture is the preview of a camera's raw photo: one of a DNG, or a reduced one
/// with the raw photo in a directory below its own. A reduced picture alone is a picture.
fn is_preview(reader: &mut Reader<'_>) -> bool {
    let kind = reader.find_tag_unsigned::<u32>(Tag::NewSubfileType);
    let is_reduced = kind.ok().flatten().is_some_and(|kind| kind & 1 == 1);
    let mut has = |tag| matches!(reader.find_tag(tag), Ok(Some(_)));
    has(DNG_VERSION) || (is_reduced && has(Tag::SubIfd))
}

/// Refuses strips or tiles that are far larger than their picture: all of their pixels are decoded.
fn check_chunks(
    reader: &Reader<'_>,
    (width, height): (u32, u32),
    limits: &Limits,
) -> Result<(), DecodeError> {
    let (across, mut down) = reader.chunk_dimensions();
    if reader.get_chunk_type() == ChunkType::Strip {
        // The only strip may announce any number of rows.
        down = down.min(height);
    }
    let padded = |side: u32, tile: u32| u64::from(side).next_multiple_of(u64::from(tile.max(1)));
    let pixels = padded(width, across).saturating_mul(padded(height, down));
    if pixels > limits.max_pixels.saturating_mul(2) {
        return Err(DecodeError::TooMuchMemory {
            limit: limits.max_pixels,
        });
    }
    Ok(())
}

/// The bytes with the photometric interpretation of a palette picture changed to grey, and
/// whether it was.
fn as_grey(bytes: &[u8]) -> (Cow<'_, [u8]>, bool) {
    let Some((at, value)) = photometric(bytes) else {
        return (bytes.into(), false);
    };
    if value != PALETTE {
        return (bytes.into(), false);
    }
    let mut changed = bytes.to_vec();
    let grey = match bytes.starts_with(b"II") {
        true => BLACK_IS_ZERO.to_le_bytes(),
        false => BLACK_IS_ZERO.to_be_bytes(),
    };
    changed[at..at + 2].copy_from_slice(&grey);
    (changed.into(), true)
}

/// Where the first directory holds the photometric interpretation, and its value.
fn photometric(bytes: &[u8]) -> Option<(usize, u16)> {
    let little = bytes.starts_with(b"II");
    let number = |at: usize, length: usize| -> Option<u64> {
        let digits = bytes.get(at..at.checked_add(length)?)?.iter();
        let add = |sum: u64, &digit: &u8| sum << 8 | u64::from(digit);
        Some(match little {
            true => digits.rev().fold(0, add),
            false => digits.fold(0, add),
        })
    };
    let big = number(2, 2)? == 43;
    let (first, count, entry, value) = match big {
        true => (number(8, 8)?, 8, 20, 12),
        false => (number(4, 4)?, 2, 12, 8),
    };
    let first = usize::try_from(first).ok()?;
    let entries = usize::try_from(number(first, count)?).ok()?;
    for place in 0..entries.min(4096) {
        let at = first.checked_add(count + place * entry)?;
        if number(at, 2)? == u64::from(PHOTOMETRIC) {
            let at = at + value;
            return Some((at, u16::try_from(number(at, 2)?).ok()?));
        }
    }
    None
}

/// A picture of samples that the library unpacks.
fn from_samples(
    reader: &mut Reader<'_>,
    palette: Option<&[u16]>,
    limits: &Limits,
) -> Result<RgbImage, DecodeError> {
    let fault = |error| in_words(error, limits);
    let (width, height) = reader.dimensions().map_err(fault)?;
    let colours = reader.colortype().map_err(fault)?;
    let (channels, depth) = match colours {
        ColorType::Gray(depth) => (1, depth),
        ColorType::GrayA(depth) => (2, depth),
        ColorType::Multiband {
            bit_depth,
            num_samples,
        } => (num_samples, bit_depth),
        ColorType::RGB(depth) | ColorType::YCbCr(depth) => (3, depth),
        ColorType::RGBA(depth) | ColorType::CMYK(depth) => (4, depth),
        ColorType::CMYKA(depth) => (5, depth),
        _ => return Err(unsupported("a TIFF with an unsupported colour space")),
    };
    if !matches!(depth, 1 | 2 | 4 | 8 | 16 | 32 | 64) {
        return Err(unsupported("a TIFF with an unsupported bit depth"));
    }
    let mut samples = DecodingResult::U8(Vec::new());
    let layout = reader.read_image_to_buffer(&mut samples).map_err(fault)?;
    if samples.as_buffer(0).as_bytes().len() < layout.complete_len {
        return Err(in_words(TiffError::LimitsExceeded, limits));
    }
    let row = layout
        .row_stride
        .map_or(0, |bytes| bytes.get() * 8 / usize::from(depth));
    let plane = layout
        .plane_stride
        .map_or(0, |bytes| bytes.get() * 8 / usize::from(depth));
    let place = |x: u32, y: u32, channel: usize| match layout.planes {
        1 => y as usize * row + x as usize * usize::from(channels) + channel,
        _ => channel * plane + y as usize * row + x as usize,
    };
    let premultiplied = matches!(colours, ColorType::RGBA(_))
        && reader
            .find_tag_unsigned_vec(Tag::ExtraSamples)
            .map_err(fault)?
            == Some(vec![1_u16]);
    let level = levels(&samples, depth, palette.is_none());
    let mut picture = RgbImage::new(width, height);
    for (x, y, pixel) in picture.enumerate_pixels_mut() {
        let at = |channel| level(place(x, y, channel));
        pixel.0 = match (colours, palette) {
            (_, Some(palette)) => coloured(palette, at(0)),
            (ColorType::CMYK(_) | ColorType::CMYKA(_), _) => cmyk::to_rgb([0, 1, 2, 3].map(at)),
            (ColorType::YCbCr(_), _) => from_ycbcr([0, 1, 2].map(at)),
            _ if premultiplied => [0, 1, 2].map(|channel| divided(at(channel), at(3))),
            (ColorType::RGB(_) | ColorType::RGBA(_), _) => [0, 1, 2].map(at),
            _ => [at(0); 3],
        };
    }
    Ok(picture)
}

/// The n-th sample as a level of 0 to 255, or as it is.
///
/// Floats count from 0 to 1, or to 255 where any is beyond 2.
fn levels(samples: &DecodingResult, depth: u8, scaled: bool) -> Box<dyn Fn(usize) -> u8 + '_> {
    fn clipped<T: Copy + Into<f64>>(samples: &[T], factor: f64) -> Box<dyn Fn(usize) -> u8 + '_> {
        Box::new(move |n| {
            samples
                .get(n)
                .map_or(0, |&v| (v.into() * factor).round() as u8)
        })
    }
    fn float<T: Copy + Into<f64>>(samples: &[T]) -> Box<dyn Fn(usize) -> u8 + '_> {
        let bytes = samples.iter().any(|&value| value.into() > 2.0);
        clipped(samples, if bytes { 1.0 } else { 255.0 })
    }
    match samples {
        DecodingResult::U8(bytes) if depth < 8 => {
            let mask = u8::MAX >> (8 - depth);
            let factor = if scaled { u8::MAX / mask } else { 1 };
            Box::new(move |n| {
                let bit = n * usize::from(depth);
                let byte = bytes.get(bit / 8).copied().unwrap_or(0);
                (byte >> (8 - usize::from(depth) - bit % 8) & mask) * factor
            })
        }
        DecodingResult::U8(bytes) => Box::new(|n| bytes.get(n).copied().unwrap_or(0)),
        DecodingResult::U16(samples) => clipped(samples, 1.0 / 257.0),
        DecodingResult::U32(samples) => clipped(samples, 1.0),
        DecodingResult::I8(samples) => clipped(samples, 1.0),
        DecodingResult::I16(samples) => clipped(samples, 1.0),
        DecodingResult::I32(samples) => clipped(samples, 1.0),
        DecodingResult::F16(samples) => float(samples),
        DecodingResult::F32(samples) => float(samples),
        DecodingResult::F64(samples) => float(samples),
        DecodingResult::U64(samples) => {
            Box::new(|n| samples.get(n).map_or(0, |&v| v.min(255) as u8))
        }
        DecodingResult::I64(samples) => {
            Box::new(|n| samples.get(n).map_or(0, |&v| v.clamp(0, 255) as u8))
        }
    }
}

/// A colour of a palette, which holds all reds, then all greens, then all blues.
fn coloured(palette: &[u16], place: u8) -> [u8; 3] {
    let third = palette.len() / 3;
    [0, 1, 2].map(|channel| {
        let level = palette.get(channel * third + usize::from(place));
        level.map_or(0, |level| (level >> 8) as u8)
    })
}

/// A colour before it was multiplied by its alpha.
fn divided(level: u8, alpha: u8) -> u8 {
    match alpha {
        0 => 0,
        _ => (u32::from(level) * 255 / u32::from(alpha)).min(255) as u8,
    }
}

/// JFIF's colours.
fn from_ycbcr([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    let (y, cb, cr) = (f32::from(y), f32::from(cb) - 128.0, f32::from(cr) - 128.0);
    [
        y + 1.402 * cr,
        y - 0.344_136 * cb - 0.714_136 * cr,
        y + 1.772 * cb,
    ]
    .map(|level| level.round() as u8)
}

/// A picture whose strips or tiles are JPEGs.
fn from_jpegs(
    bytes: &[u8],
    reader: &mut Reader<'_>,
    limits: &Limits,
) -> Result<RgbImage, DecodeError> {
    let fault = |error| in_words(error, limits);
    let (width, height) = reader.dimensions().map_err(fault)?;
    let planes = reader.find_tag_unsigned::<u16>(Tag::PlanarConfiguration);
    if planes.map_err(fault)?.is_some_and(|kind| kind != 1) {
        return Err(unsupported("a TIFF with a separate JPEG for each channel"));
    }
    let stored = reader.find_tag_unsigned(Tag::PhotometricInterpretation);
    let stored = match PhotometricInterpretation::from_u16(stored.map_err(fault)?.unwrap_or(0)) {
        Some(PhotometricInterpretation::RGB) => Stored::Rgb,
        Some(PhotometricInterpretation::YCbCr) => Stored::YCbCr,
        Some(PhotometricInterpretation::CMYK) => Stored::Cmyk,
        Some(PhotometricInterpretation::BlackIsZero) => Stored::Grey,
        _ => {
            return Err(unsupported(
                "a TIFF of JPEGs with an unsupported colour space",
            ));
        }
    };
    let tables = match reader.find_tag(Tag::JPEGTables).map_err(fault)? {
        Some(tables) => tables.into_u8_vec().map_err(fault)?,
        None => Vec::new(),
    };
    // Both begin with a marker of the start, the tables end with one of the end.
    let tables = tables
        .get(..tables.len().saturating_sub(2))
        .unwrap_or_default();
    let (offsets, lengths) = match reader.get_chunk_type() {
        ChunkType::Strip => (Tag::StripOffsets, Tag::StripByteCounts),
        ChunkType::Tile => (Tag::TileOffsets, Tag::TileByteCounts),
    };
    let offsets = reader.get_tag_u64_vec(offsets).map_err(fault)?;
    let lengths = reader.get_tag_u64_vec(lengths).map_err(fault)?;
    let (across, down) = reader.chunk_dimensions();
    let columns = width.div_ceil(across.max(1));
    let mut picture = RgbImage::new(width, height);
    for (number, (&offset, &length)) in (0..).zip(offsets.iter().zip(&lengths)) {
        let (left, top) = (
            number % columns * across,
            u64::from(number / columns) * u64::from(down),
        );
        if top >= u64::from(height) {
            break;
        }
        let end = offset.saturating_add(length).min(bytes.len() as u64);
        let data = bytes
            .get(offset.min(end) as usize..end as usize)
            .unwrap_or_default();
        let jpeg = match tables.is_empty() {
            true => Cow::from(data),
            false => [tables, data.get(2..).unwrap_or_default()].concat().into(),
        };
        let part = super::jpeg::strip(&jpeg, stored, (across, down), limits)?;
        image::imageops::replace(&mut picture, &part, left.into(), top as i64);
    }
    Ok(picture)
}

fn in_words(error: TiffError, limits: &Limits) -> DecodeError {
    use tiff::TiffUnsupportedError as Unsupported;
    match error {
        TiffError::LimitsExceeded | TiffError::IntSizeError => DecodeError::TooMuchMemory {
            limit: limits.max_pixels,
        },
        TiffError::UnsupportedError(Unsupported::UnsupportedCompressionMethod(method)) => {
            unsupported(match method {
                CompressionMethod::Huffman | CompressionMethod::Fax3 => {
                    "a TIFF with CCITT Group 3 (fax) compression"
                }
                CompressionMethod::JPEG => "a TIFF with old-style JPEG compression",
                _ => "a TIFF with an unsupported compression",
            })
        }
        TiffError::UnsupportedError(_) => unsupported("an unsupported kind of TIFF"),
        TiffError::IoError(_) => broken(NAME, CUT_SHORT),
        _ => broken(NAME, "its structure is invalid"),
    }
}
