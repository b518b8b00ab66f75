//! The transforms that augmentation draws, as functions of given parameters.

use fast_image_resize::{FilterType, ResizeAlg};
use image::{Rgb, RgbImage, imageops};

use super::colour;
use super::policy::{self, Operation};
use super::resample::{Region, resize};

/// One transform with its parameters.
#[derive(Debug, Clone, PartialEq)]
pub enum Transform {
    /// Crops a rectangle and resizes it to `size` x `size`, bilinear with antialiasing.
    ///
    /// torchvision's `resized_crop` on PIL images; values differ by at most 1 of 255.
    ResizedCrop {
        left: u32,
        top: u32,
        width: u32,
        height: u32,
        size: u32,
    },
    HorizontalFlip,
    VerticalFlip,
    /// Turns counter-clockwise around the centre: nearest neighbour, black outside.
    ///
    /// Equal to torchvision's `rotate` on PIL images.
    Rotation {
        degrees: f32,
    },
    /// Colour adjustments in the order given.
    ColorJitter(Vec<Adjustment>),
    Affine(Affine),
    /// Operations of an augmentation policy, in the order given.
    Operations(Vec<Operation>),
    /// Fills a rectangle with a colour.
    Erase {
        left: u32,
        top: u32,
        width: u32,
        height: u32,
        fill: [u8; 3],
    },
}

/// One colour adjustment; all are equal to torchvision's `adjust_*` on PIL images.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Adjustment {
    /// Factor; 1 changes nothing.
    Brightness(f32),
    /// Factor; 1 changes nothing.
    Contrast(f32),
    /// Factor; 1 changes nothing.
    Saturation(f32),
    /// Part of the colour circle, -0.5 to 0.5; 0 changes nothing.
    Hue(f32),
}

/// An affine map around the centre: zoom, then shear, then rotation, then shift.
///
/// Sampled once, bilinear; outside the picture its nearest edge pixel is repeated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine {
    /// Counter-clockwise, in degrees.
    pub rotation: f32,
    /// To the right and downwards, as parts of the width and the height.
    pub shift: [f32; 2],
    /// Pixels to the right for each pixel downwards.
    pub shear: f32,
    /// Factor along the width and the height; above 1 enlarges.
    pub zoom: [f32; 2],
}

impl Transform {
    /// Applies the transform; all but `ResizedCrop` keep the dimensions.
    pub fn apply(&self, mut picture: RgbImage) -> RgbImage {
        match self {
            &Self::ResizedCrop {
                left,
                top,
                width,
                height,
                size,
            } => resized_crop(picture, left, top, width, height, size),
            Self::HorizontalFlip => {
                imageops::flip_horizontal_in_place(&mut picture);
                picture
            }
            Self::VerticalFlip => {
                imageops::flip_vertical_in_place(&mut picture);
                picture
            }
            &Self::Rotation { degrees } => rotate(&picture, degrees),
            Self::ColorJitter(adjustments) => {
                for adjustment in adjustments {
                    match *adjustment {
                        Adjustment::Brightness(factor) => colour::brightness(&mut picture, factor),
                        Adjustment::Contrast(factor) => colour::contrast(&mut picture, factor),
                        Adjustment::Saturation(factor) => colour::saturation(&mut picture, factor),
                        Adjustment::Hue(shift) => colour::hue(&mut picture, shift),
                    }
                }
                picture
            }
            Self::Affine(affine) => affine.apply(&picture),
            Self::Operations(operations) => policy::apply_all(operations, picture),
            &Self::Erase {
                left,
                top,
                width,
                height,
                fill,
            } => policy::erase(picture, (left, top), (width, height), fill),
        }
    }
}

fn resized_crop(
    picture: RgbImage,
    left: u32,
    top: u32,
    width: u32,
    height: u32,
    size: u32,
) -> RgbImage {
    // Cropped first: torchvision's filter doesn't see beyond the crop.
    let cropped = if (left, top, width, height) == (0, 0, picture.width(), picture.height()) {
        picture
    } else {
        imageops::crop_imm(&picture, left, top, width, height).to_image()
    };
    let whole = Region {
        left: 0.0,
        top: 0.0,
        width: cropped.width().into(),
        height: cropped.height().into(),
    };
    let algorithm = ResizeAlg::Convolution(FilterType::Bilinear);
    resize(&cropped, whole, size, size, algorithm)
}

/// Steps through the source in 16-bit fixed point, as Pillow's nearest-neighbour affine does.
fn rotate(picture: &RgbImage, degrees: f32) -> RgbImage {
    let (width, height) = (f64::from(picture.width()), f64::from(picture.height()));
    let (sin, cos) = f64::from(degrees).to_radians().sin_cos();
    let fixed = |value: f64| (value * 65536.0 + 0.5).floor() as i64;
    let (cx, cy) = (width / 2.0, height / 2.0);
    let [step_x, step_y] = [fixed(cos), fixed(sin)];
    let mut row_x = fixed(cx - cos * cx + sin * cy + (cos - sin) * 0.5);
    let mut row_y = fixed(cy - sin * cx - cos * cy + (sin + cos) * 0.5);
    let mut turned = RgbImage::new(picture.width(), picture.height());
    for row in turned.rows_mut() {
        let (mut x, mut y) = (row_x, row_y);
        for pixel in row {
            if let (Ok(x), Ok(y)) = (u32::try_from(x >> 16), u32::try_from(y >> 16))
                && let Some(&source) = picture.get_pixel_checked(x, y)
            {
                *pixel = source;
            }
            x += step_x;
            y += step_y;
        }
        row_x -= fixed(sin);
        row_y += fixed(cos);
    }
    turned
}

impl Affine {
    fn apply(&self, picture: &RgbImage) -> RgbImage {
        let (width, height) = picture.dimensions();
        if picture.is_empty() {
            return picture.clone();
        }
        let [[a, b], [c, d]] = self.inverse();
        let (cx, cy) = (width as f32 / 2.0, height as f32 / 2.0);
        let shift_x = self.shift[0] * width as f32;
        let shift_y = self.shift[1] * height as f32;
        RgbImage::from_fn(width, height, |x, y| {
            let x = x as f32 + 0.5 - cx - shift_x;
            let y = y as f32 + 0.5 - cy - shift_y;
            bilinear(picture, a * x + b * y + cx - 0.5, c * x + d * y + cy - 0.5)
        })
    }

    /// From a place in the result to the one in the picture, both relative to the centre.
    fn inverse(&self) -> [[f32; 2]; 2] {
        let (sin, cos) = self.rotation.to_radians().sin_cos();
        let [zoom_x, zoom_y] = self.zoom;
        // Undo the rotation (y points down), the shear, the zoom.
        [
            [
                (cos - self.shear * sin) / zoom_x,
                (-sin - self.shear * cos) / zoom_x,
            ],
            [sin / zoom_y, cos / zoom_y],
        ]
    }
}

/// The colour between pixel centres, the edge repeated outside.
fn bilinear(picture: &RgbImage, x: f32, y: f32) -> Rgb<u8> {
    let x = x.clamp(0.0, (picture.width() - 1) as f32);
    let y = y.clamp(0.0, (picture.height() - 1) as f32);
    let (left, top) = (x as u32, y as u32);
    let right = (left + 1).min(picture.width() - 1);
    let bottom = (top + 1).min(picture.height() - 1);
    let (fx, fy) = (x - left as f32, y - top as f32);
    let corners = [
        (picture.get_pixel(left, top), (1.0 - fx) * (1.0 - fy)),
        (picture.get_pixel(right, top), fx * (1.0 - fy)),
        (picture.get_pixel(left, bottom), (1.0 - fx) * fy),
        (picture.get_pixel(right, bottom), fx * fy),
    ];
    Rgb(std::array::from_fn(|channel| {
        let value: f32 = corners
            .iter()
            .map(|(pixel, weight)| f32::from(pixel[channel]) * weight)
            .sum();
        (value + 0.5) as u8
    }))
}
