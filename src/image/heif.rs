//! HEIC and AVIF by the system's libheif, in a build with the feature `heif`.

use image::RgbImage;
use libheif_rs::{ColorSpace, HeifContext, LibHeif, RgbChroma};

use super::limits::{DecodeError, Limits, broken};

const NAME: &str = "HEIF";

/// Decodes the primary picture to RGB, upright: the library turns as the file says.
pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<RgbImage, DecodeError> {
    let fault = |_| broken(NAME, "libheif can't read it");
    let context = HeifContext::read_from_bytes(bytes).map_err(fault)?;
    let handle = context.primary_image_handle().map_err(fault)?;
    limits.check_dimensions(NAME, handle.width(), handle.height())?;
    let colours = ColorSpace::Rgb(RgbChroma::Rgb);
    let decoded = LibHeif::new()
        .decode(&handle, colours, None)
        .map_err(fault)?;
    let plane = decoded.planes().interleaved;
    let plane = plane.ok_or_else(|| broken(NAME, "it has no RGB pixels"))?;
    let row = 3 * plane.width as usize;
    let mut pixels = Vec::with_capacity(row * plane.height as usize);
    for line in plane.data.chunks(plane.stride).take(plane.height as usize) {
        pixels.extend_from_slice(line.get(..row).unwrap_or_default());
    }
    RgbImage::from_raw(plane.width, plane.height, pixels)
        .ok_or_else(|| broken(NAME, "its data does not match its dimensions"))
}
