//! The one way from a picture to the input of a network.

use image::RgbImage;
use serde::{Deserialize, Serialize};

/// Resize, crop and normalisation of a model; travels in its file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// Length in pixels of the shorter side after resizing, as torchvision's `Resize(int)`.
    pub resize: u32,
    /// Side in pixels of the square centre crop.
    pub crop: u32,
    pub interpolation: Interpolation,
    pub antialias: bool,
    /// Per channel, in the scale 0 to 1.
    pub mean: [f32; 3],
    pub std: [f32; 3],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    Bilinear,
    Bicubic,
}

impl Preprocessing {
    /// Resizes and crops to `crop` x `crop` pixels.
    pub fn fit(&self, _picture: &RgbImage) -> RgbImage {
        todo!()
    }

    /// Writes a `crop` x `crop` picture as float32 planes (3, crop, crop), `(x / 255 - mean) / std`.
    pub fn normalise(&self, _picture: &RgbImage, _planes: &mut [f32]) {
        todo!()
    }
}
