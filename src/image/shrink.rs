//! Large JPEGs decoded at a half, a quarter or an eighth of their size.

use std::num::NonZeroU32;

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, RgbImage};
use jpeg_decoder::{Decoder, PixelFormat};

use super::decode::Limits;

/// Decodes a JPEG with the inverse transform of fewer coefficients, which averages its pixels (as
/// libjpeg's `scale_denom`), such that the shorter side keeps at least `short_side` pixels.
///
/// `None` when the picture is too small for that, of another colour type than grey or YCbCr, or
/// one that this decoder does not manage: the ordinary decoder has the last word then.
pub(super) fn shrunk(bytes: &[u8], limits: &Limits, short_side: NonZeroU32) -> Option<RgbImage> {
    let mut decoder = Decoder::new(bytes);
    decoder.set_max_decoding_buffer_size(usize::try_from(limits.max_pixels).ok()?);
    decoder.read_info().ok()?;
    let info = decoder.info()?;
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    if u64::from(width) * u64::from(height) > limits.max_pixels {
        return None;
    }
    let (PixelFormat::RGB24 | PixelFormat::L8) = info.pixel_format else {
        return None;
    };
    let factor = width.min(height) / short_side;
    if factor < 2 {
        return None;
    }
    let side = |length: u32| length.div_ceil(factor).try_into().ok();
    let (width, height) = decoder.scale(side(width)?, side(height)?).ok()?;
    let pixels = decoder.decode().ok()?;
    let (width, height) = (width.into(), height.into());
    let mut picture = match info.pixel_format {
        PixelFormat::L8 => DynamicImage::from(GrayImage::from_raw(width, height, pixels)?),
        _ => DynamicImage::from(RgbImage::from_raw(width, height, pixels)?),
    };
    let orientation = decoder.exif_data().and_then(Orientation::from_exif_chunk);
    picture.apply_orientation(orientation.unwrap_or(Orientation::NoTransforms));
    Some(picture.into_rgb8())
}
