//! Decoding limits, warnings and errors.

use std::{fmt, io};

use image::RgbImage;
use serde::Serialize;

use crate::error::shown;

/// Limits on the size of a picture.
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

    pub(super) fn decoder(&self) -> image::Limits {
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

/// Why a file can't be decoded. The caller adds the path.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("the file is empty: copy it again or delete it")]
    Empty,
    #[error(
        "not a picture but {looks_like}: supported formats are JPEG, PNG, WebP, GIF, BMP, TIFF and PPM"
    )]
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

/// A defect of a picture that can be decoded nevertheless.
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

/// How many rows from the top are needed of a picture that is decoded at a given width and height.
pub(super) type Rows<'a> = &'a dyn Fn(u32, u32) -> u32;

/// All of them.
pub(super) const ALL_ROWS: Rows<'static> = &|_, height| height;
