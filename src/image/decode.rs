//! Decoding with limits that hold before a pixel is allocated.

use std::path::Path;

use image::RgbImage;

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

#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("the file is empty")]
    Empty,
}

/// Decodes the first frame of a picture to 8-bit RGB with its EXIF orientation applied.
pub fn decode(_bytes: &[u8], _limits: &Limits) -> Result<RgbImage, DecodeError> {
    todo!()
}

/// Reads and decodes a file.
pub fn read(_path: &Path, _limits: &Limits) -> Result<RgbImage, DecodeError> {
    todo!()
}
