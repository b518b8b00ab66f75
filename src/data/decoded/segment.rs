//! A file of decoded photos, one after the other, that is only ever added to.

use std::fs::File;
use std::io;

use image::RgbImage;

use super::Key;

/// What a file begins with. Keys depend on the version, the form of a file does not.
pub(super) const MAGIC: &[u8; 24] = b"flowers decoded photos 1";

/// Bytes in front of the pixels of a photo: key, width, height, checksum.
const HEADER: usize = 32 + 4 + 4 + 4;

/// Where a photo lies in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Of its header, in bytes from the start.
    pub offset: u64,
    pub width: u32,
    pub height: u32,
}

impl Place {
    fn pixels(&self) -> u64 {
        3 * u64::from(self.width) * u64::from(self.height)
    }

    pub(super) fn end(&self) -> u64 {
        self.offset + HEADER as u64 + self.pixels()
    }
}

/// The bytes of a photo with its header.
pub(super) fn record(key: &Key, picture: &RgbImage) -> Vec<u8> {
    let mut record = Vec::with_capacity(HEADER + picture.as_raw().len());
    record.extend(key.0);
    record.extend(picture.width().to_le_bytes());
    record.extend(picture.height().to_le_bytes());
    let checksum = crc32c::crc32c_append(crc32c::crc32c(&record), picture.as_raw());
    record.extend(checksum.to_le_bytes());
    record.extend_from_slice(picture.as_raw());
    record
}

/// Which photos a file holds; none of what comes after one that is incomplete.
///
/// # Errors
/// Those of reading, and `InvalidData` for a file of another kind.
pub(super) fn index(file: &File) -> io::Result<Vec<(Key, Place)>> {
    let length = file.metadata()?.len();
    let mut magic = [0; MAGIC.len()];
    let begun = length >= MAGIC.len() as u64;
    if begun {
        read_at(file, &mut magic, 0)?;
    }
    if magic != *MAGIC {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut entries = Vec::new();
    let mut offset = MAGIC.len() as u64;
    let mut header = [0; HEADER];
    while offset + HEADER as u64 <= length {
        read_at(file, &mut header, offset)?;
        let (key, width, height, _) = parsed(&header);
        let place = Place {
            offset,
            width,
            height,
        };
        if place.end() > length {
            break;
        }
        entries.push((key, place));
        offset = place.end();
    }
    Ok(entries)
}

/// The photo at a place; `None` when it is not what was written.
///
/// # Errors
/// Those of reading.
pub(super) fn read(file: &File, key: &Key, place: Place) -> io::Result<Option<RgbImage>> {
    let Ok(size) = usize::try_from(place.pixels()) else {
        return Ok(None);
    };
    let mut header = [0; HEADER];
    let mut pixels = vec![0; size];
    read_at(file, &mut header, place.offset)?;
    read_at(file, &mut pixels, place.offset + HEADER as u64)?;
    let (found, width, height, checksum) = parsed(&header);
    let sum = crc32c::crc32c_append(crc32c::crc32c(&header[..HEADER - 4]), &pixels);
    if found != *key || (width, height) != (place.width, place.height) || sum != checksum {
        return Ok(None);
    }
    Ok(RgbImage::from_raw(width, height, pixels))
}

/// Key, width, height and checksum.
fn parsed(header: &[u8; HEADER]) -> (Key, u32, u32, u32) {
    let mut key = [0; 32];
    key.copy_from_slice(&header[..32]);
    let number = |at: usize| {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&header[at..at + 4]);
        u32::from_le_bytes(bytes)
    };
    (Key(key), number(32), number(36), number(40))
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        let count = std::os::windows::fs::FileExt::seek_read(file, buffer, offset)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer = &mut buffer[count..];
        offset += count as u64;
    }
    Ok(())
}
