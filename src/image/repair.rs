//! PNG and GIF files that other readers take and the decoders do not.

use std::borrow::Cow;

use image::metadata::Orientation;

const PNG_END: &[u8] = b"\0\0\0\0IEND\xae\x42\x60\x82";

/// What the chunks of a PNG tell.
pub(super) struct Chunks {
    /// That of an `eXIf` chunk, which may also be behind the pixels, where the decoder doesn't look.
    pub orientation: Option<Orientation>,
    /// Whether the last one is there.
    pub ended: bool,
    /// Where the last whole one ends.
    end: usize,
}

impl Chunks {
    pub(super) fn of(png: &[u8]) -> Self {
        let mut chunks = Self {
            orientation: None,
            ended: false,
            end: 8,
        };
        while let Some((kind, data, length)) = chunk(png.get(chunks.end..).unwrap_or_default()) {
            chunks.end += length;
            match kind {
                b"IEND" => {
                    chunks.ended = true;
                    break;
                }
                b"eXIf" => chunks.orientation = Orientation::from_exif_chunk(data),
                _ => {}
            }
        }
        chunks
    }
}

/// A PNG with its last chunk, which the decoder insists on, and the orientation that its chunks
/// tell.
pub(super) fn completed_png(bytes: &[u8]) -> (Cow<'_, [u8]>, Option<Orientation>) {
    let chunks = Chunks::of(bytes);
    if chunks.ended {
        return (bytes.into(), chunks.orientation);
    }
    let whole = bytes.get(..chunks.end).unwrap_or(bytes);
    ([whole, PNG_END].concat().into(), chunks.orientation)
}

/// The first chunk: kind, data, and length with all around them.
fn chunk(bytes: &[u8]) -> Option<(&[u8; 4], &[u8], usize)> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (kind, rest) = rest.split_first_chunk()?;
    let length = u32::from_be_bytes(*length) as usize;
    // A checksum follows.
    let whole = length.checked_add(12)?;
    (bytes.len() >= whole).then(|| (kind, &rest[..length], whole))
}

/// A GIF whose canvas is as large as its first frame at least, as browsers and Pillow have it.
pub(super) fn roomy_gif(bytes: &[u8]) -> Cow<'_, [u8]> {
    let word = |at: usize| {
        let bytes = bytes
            .get(at..at + 2)
            .and_then(|bytes| bytes.try_into().ok());
        bytes.map(u16::from_le_bytes)
    };
    let needed = first_frame(bytes).and_then(|at| {
        let right = word(at)?.checked_add(word(at + 4)?)?;
        let bottom = word(at + 2)?.checked_add(word(at + 6)?)?;
        Some((right.max(word(6)?), bottom.max(word(8)?)))
    });
    match needed {
        Some((width, height)) if word(6) != Some(width) || word(8) != Some(height) => {
            let mut changed = bytes.to_vec();
            changed[6..8].copy_from_slice(&width.to_le_bytes());
            changed[8..10].copy_from_slice(&height.to_le_bytes());
            changed.into()
        }
        _ => bytes.into(),
    }
}

/// Where the place and size of a GIF's first frame are told.
fn first_frame(bytes: &[u8]) -> Option<usize> {
    let colours = |flags: u8| match flags & 0x80 {
        0 => 0,
        _ => 3 << ((flags & 7) + 1),
    };
    let mut at = 13 + colours(*bytes.get(10)?);
    loop {
        match bytes.get(at)? {
            b',' => return Some(at + 1),
            b'!' => {
                at += 2;
                // Blocks, each after its length, until an empty one.
                loop {
                    let length = usize::from(*bytes.get(at)?);
                    at += 1 + length;
                    if length == 0 {
                        break;
                    }
                }
            }
            _ => return None,
        }
    }
}
