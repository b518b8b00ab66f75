//! Small pictures that live inside the HTML report.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::thumbnail;

use crate::error::Result;

/// Longest side in pixels.
const SIDE: u32 = 160;
const QUALITY: u8 = 82;

/// A JPEG of at most 160x160 pixels as a `data:` URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thumbnail(String);

impl Thumbnail {
    /// Shrinks an 8-bit RGB picture, keeping its proportions; a smaller one stays as it is.
    pub fn of(picture: &RgbImage) -> Result<Self> {
        let (width, height) = picture.dimensions();
        let scale = (f64::from(SIDE) / f64::from(width.max(height).max(1))).min(1.0);
        let side = |length: u32| ((f64::from(length) * scale).round() as u32).max(1);
        let mut jpeg = Vec::new();
        let encoder = JpegEncoder::new_with_quality(&mut jpeg, QUALITY);
        thumbnail(picture, side(width), side(height)).write_with_encoder(encoder)?;
        Ok(Self(format!(
            "data:image/jpeg;base64,{}",
            STANDARD.encode(jpeg)
        )))
    }

    pub fn uri(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proportions_are_kept() {
        for (size, expected) in [
            ((640, 320), (160, 80)),
            ((5, 4000), (1, 160)),
            ((20, 10), (20, 10)),
        ] {
            let thumbnail = Thumbnail::of(&RgbImage::new(size.0, size.1)).unwrap();
            let encoded = thumbnail
                .uri()
                .strip_prefix("data:image/jpeg;base64,")
                .unwrap();
            let picture = image::load_from_memory(&STANDARD.decode(encoded).unwrap()).unwrap();
            assert_eq!((picture.width(), picture.height()), expected);
        }
    }
}
