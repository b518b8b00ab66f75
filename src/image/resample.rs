//! Resizing a region of a picture with a separable filter.

use fast_image_resize::images::{CroppedImage, Image, ImageRef};
use fast_image_resize::{PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;

/// A rectangle in pixels of a picture, not necessarily on pixel borders.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Region {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
}

/// A rectangle of whole pixels of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub left: u32,
    pub top: u32,
    pub width: u32,
    pub height: u32,
}

impl Frame {
    pub(super) fn whole(picture: &RgbImage) -> Self {
        Self {
            left: 0,
            top: 0,
            width: picture.width(),
            height: picture.height(),
        }
    }

    /// Width and height.
    pub(super) fn size(self) -> (u32, u32) {
        (self.width, self.height)
    }
}

/// Resizes what is in a frame as if there were nothing around it.
pub(super) fn resize_frame(
    picture: &RgbImage,
    frame: Frame,
    (width, height): (u32, u32),
    algorithm: ResizeAlg,
) -> RgbImage {
    let whole = Region {
        left: 0.0,
        top: 0.0,
        width: frame.width.into(),
        height: frame.height.into(),
    };
    resize_region(picture, frame, whole, width, height, algorithm)
}

/// Resizes a region to `width` x `height` pixels; near its border the filter also sees the pixels
/// around it, as if the whole picture had been resized and then cropped.
///
/// An empty picture or size gives a black picture. The order of the two passes, and with it the
/// rounding between them, is that of Pillow 13.
pub(super) fn resize(
    picture: &RgbImage,
    region: Region,
    width: u32,
    height: u32,
    algorithm: ResizeAlg,
) -> RgbImage {
    resize_region(
        picture,
        Frame::whole(picture),
        region,
        width,
        height,
        algorithm,
    )
}

/// Resizes a region of a frame, beyond which the filter doesn't see.
fn resize_region(
    picture: &RgbImage,
    frame: Frame,
    region: Region,
    width: u32,
    height: u32,
    algorithm: ResizeAlg,
) -> RgbImage {
    if frame.width == 0 || frame.height == 0 || width == 0 || height == 0 {
        return RgbImage::new(width, height);
    }
    if columns_first(frame, region, width, height) {
        return pass(picture, frame, region, width, height, algorithm);
    }
    let rows = frame.height;
    let (top, bottom) = reach(region.top, region.height, height, rows);
    let band = Region {
        top: top.into(),
        height: (bottom - top).into(),
        ..region
    };
    let narrowed = pass(picture, frame, band, width, bottom - top, algorithm);
    let rest = Region {
        left: 0.0,
        top: region.top - f64::from(top),
        width: width.into(),
        height: region.height,
    };
    let whole = Frame::whole(&narrowed);
    pass(&narrowed, whole, rest, width, height, algorithm)
}

/// Whether Pillow 13 would begin with the vertical pass: when resizing the whole picture takes off
/// more than twice as many rows as columns. Earlier versions always began with the horizontal one.
fn columns_first(frame: Frame, region: Region, width: u32, height: u32) -> bool {
    let lost = |original: u32, kept: u32, part: f64| {
        let original = f64::from(original);
        original - (original * f64::from(kept) / part).round()
    };
    let columns = lost(frame.width, width, region.width);
    let rows = lost(frame.height, height, region.height);
    rows > 0.0 && rows > 2.0 * columns
}

/// The whole pixels of `0..limit` that a filter looks at to make `pixels` of an interval.
fn reach(start: f64, length: f64, pixels: u32, limit: u32) -> (u32, u32) {
    /// Bicubic, the widest filter in use, looks two pixels away, and one is for rounding.
    const SUPPORT: f64 = 3.0;
    let margin = SUPPORT * (length / f64::from(pixels)).max(1.0);
    let first = (start - margin).floor().max(0.0) as u32;
    let last = ((start + length + margin).ceil() as u32).min(limit);
    (first.min(limit), last)
}

/// Resizes both ways, the vertical pass first, or one way where nothing changes in the other.
#[expect(
    clippy::expect_used,
    reason = "the buffers have the stated sizes and the region is cut to the picture"
)]
fn pass(
    picture: &RgbImage,
    frame: Frame,
    region: Region,
    width: u32,
    height: u32,
    algorithm: ResizeAlg,
) -> RgbImage {
    let mut resized = RgbImage::new(width, height);
    let (left, region_width) = clamp(region.left, region.width, frame.width);
    let (top, region_height) = clamp(region.top, region.height, frame.height);
    let whole = ImageRef::new(
        picture.width(),
        picture.height(),
        picture.as_raw(),
        PixelType::U8x3,
    )
    .expect("a buffer of width x height x 3 bytes");
    let source = CroppedImage::new(&whole, frame.left, frame.top, frame.width, frame.height)
        .expect("a frame inside the picture");
    let mut target = Image::from_slice_u8(width, height, &mut resized, PixelType::U8x3)
        .expect("a buffer of width x height x 3 bytes");
    let options =
        ResizeOptions::new()
            .resize_alg(algorithm)
            .crop(left, top, region_width, region_height);
    Resizer::new()
        .resize(&source, &mut target, &options)
        .expect("a region inside the picture");
    resized
}

/// Keeps rounding errors from pushing an interval out of `0..=limit`.
fn clamp(start: f64, length: f64, limit: u32) -> (f64, f64) {
    let start = start.clamp(0.0, f64::from(limit));
    (start, length.min(f64::from(limit) - start))
}
