//! Augmentation policies: RandAugment and TrivialAugment, whose operations equal torchvision's on PIL
//! images.

use clap::ValueEnum;
use image::{Rgb, RgbImage, imageops};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::colour::{self, Adjustment};

/// The random transforms of a training, as `--augment` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Those of the recipe
    #[default]
    Recipe,
    /// The recipe's crops and flips, then two random operations of magnitude 9 of 30 (Cubuk et al., 2019)
    #[value(name = "randaugment")]
    #[serde(rename = "randaugment")]
    RandAugment,
    /// The recipe's crops and flips, then one random operation of any magnitude (Müller and Hutter, 2021)
    #[value(name = "trivialaugment")]
    #[serde(rename = "trivialaugment")]
    TrivialAugment,
    /// None: photos as they are evaluated
    None,
}

/// One operation with its magnitude, which is applied to a whole picture. What comes in from outside
/// the picture is black.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Operation {
    Identity,
    /// Pixels to the left for each pixel downwards.
    ShearX(f64),
    /// Pixels upwards for each pixel to the right.
    ShearY(f64),
    /// Pixels to the right; cut to a whole number.
    TranslateX(f64),
    /// Pixels downwards; cut to a whole number.
    TranslateY(f64),
    /// Counter-clockwise, in degrees.
    Rotate(f64),
    /// Factor - 1.
    Brightness(f64),
    /// Saturation: factor - 1.
    Color(f64),
    /// Factor - 1.
    Contrast(f64),
    /// Factor - 1.
    Sharpness(f64),
    /// Bits that are kept of each value, 1 to 8.
    Posterize(u32),
    /// Values that are not below are inverted.
    Solarize(f64),
    AutoContrast,
    Equalize,
}

/// The magnitudes that an operation has at its strongest.
struct Strongest {
    shear: f64,
    /// To the right and downwards, in pixels.
    translate: [f64; 2],
    rotate: f64,
    /// Of brightness, colour, contrast and sharpness.
    enhance: f64,
    /// Bits that posterizing takes away.
    posterize: f64,
}

/// Magnitudes are counted from 0 to this.
const STEPS: u32 = 30;

const OPERATIONS: u32 = 14;

/// Draws operations of RandAugment: `operations` of them, each of the given magnitude, 0 to 30, for
/// a picture of this width and height (torchvision's `RandAugment`).
pub(super) fn rand_augment(
    operations: u32,
    magnitude: u32,
    (width, height): (u32, u32),
    rng: &mut ChaCha8Rng,
) -> Vec<Operation> {
    let strongest = Strongest {
        shear: 0.3,
        translate: [width, height].map(|side| 150.0 / 331.0 * f64::from(side)),
        rotate: 30.0,
        enhance: 0.9,
        posterize: 4.0,
    };
    let drawn = 0..operations;
    drawn
        .map(|_| draw(&strongest, |_| magnitude, rng))
        .collect()
}

/// Draws the one operation of TrivialAugment, of any magnitude (torchvision's `TrivialAugmentWide`).
pub(super) fn trivial_augment(rng: &mut ChaCha8Rng) -> Operation {
    let strongest = Strongest {
        shear: 0.99,
        translate: [32.0; 2],
        rotate: 135.0,
        enhance: 0.99,
        posterize: 6.0,
    };
    draw(&strongest, |rng| rng.random_range(0..=STEPS), rng)
}

/// Draws one of the operations, its magnitude, and for those that have two directions one of them.
fn draw(
    strongest: &Strongest,
    magnitude: impl Fn(&mut ChaCha8Rng) -> u32,
    rng: &mut ChaCha8Rng,
) -> Operation {
    let kind = rng.random_range(0..OPERATIONS);
    let magnitude = magnitude(rng).min(STEPS);
    let part = f64::from(magnitude) / f64::from(STEPS);
    let sign = if rng.random() { -part } else { part };
    let [right, down] = strongest.translate;
    match kind {
        0 => Operation::Identity,
        1 => Operation::ShearX(sign * strongest.shear),
        2 => Operation::ShearY(sign * strongest.shear),
        3 => Operation::TranslateX(sign * right),
        4 => Operation::TranslateY(sign * down),
        5 => Operation::Rotate(sign * strongest.rotate),
        6 => Operation::Brightness(sign * strongest.enhance),
        7 => Operation::Color(sign * strongest.enhance),
        8 => Operation::Contrast(sign * strongest.enhance),
        9 => Operation::Sharpness(sign * strongest.enhance),
        10 => Operation::Posterize(8 - (part * strongest.posterize).round_ties_even() as u32),
        11 => Operation::Solarize(8.5 * f64::from(STEPS - magnitude)),
        12 => Operation::AutoContrast,
        _ => Operation::Equalize,
    }
}

/// Applies operations in their order.
pub(super) fn apply_all(operations: &[Operation], picture: RgbImage) -> RgbImage {
    let operations = operations.iter();
    operations.fold(picture, |picture, operation| operation.apply(picture))
}

/// Fills a rectangle with a colour.
pub(super) fn erase(
    mut picture: RgbImage,
    (left, top): (u32, u32),
    (width, height): (u32, u32),
    fill: [u8; 3],
) -> RgbImage {
    let rectangle = RgbImage::from_pixel(width, height, Rgb(fill));
    imageops::replace(&mut picture, &rectangle, left.into(), top.into());
    picture
}

impl Operation {
    /// Applies the operation; the dimensions stay.
    pub fn apply(self, mut picture: RgbImage) -> RgbImage {
        let factor = |magnitude: f64| (1.0 + magnitude) as f32;
        match self {
            Self::Identity => {}
            Self::ShearX(level) => return affine(&picture, [1.0, level, 0.0, 0.0, 1.0, 0.0]),
            Self::ShearY(level) => return affine(&picture, [1.0, 0.0, 0.0, level, 1.0, 0.0]),
            Self::TranslateX(shift) => {
                return affine(&picture, [1.0, 0.0, -shift.trunc(), 0.0, 1.0, 0.0]);
            }
            Self::TranslateY(shift) => {
                return affine(&picture, [1.0, 0.0, 0.0, 0.0, 1.0, -shift.trunc()]);
            }
            Self::Rotate(degrees) => return rotate(&picture, degrees),
            Self::Brightness(magnitude) => {
                colour::adjust(&mut picture, &[Adjustment::Brightness(factor(magnitude))]);
            }
            Self::Color(magnitude) => {
                colour::adjust(&mut picture, &[Adjustment::Saturation(factor(magnitude))]);
            }
            Self::Contrast(magnitude) => {
                colour::adjust(&mut picture, &[Adjustment::Contrast(factor(magnitude))]);
            }
            Self::Sharpness(magnitude) => return sharpen(&picture, factor(magnitude)),
            Self::Posterize(bits) => {
                let mask = !(0xff_u32 >> bits.min(8)) as u8;
                picture.iter_mut().for_each(|value| *value &= mask);
            }
            Self::Solarize(threshold) => {
                let inverted = |value: &&mut u8| f64::from(**value) >= threshold;
                let values = picture.iter_mut().filter(inverted);
                values.for_each(|value| *value = 255 - *value);
            }
            Self::AutoContrast => map_channels(&mut picture, stretched),
            Self::Equalize => map_channels(&mut picture, equalized),
        }
        picture
    }
}

/// Turns counter-clockwise around the centre.
fn rotate(picture: &RgbImage, degrees: f64) -> RgbImage {
    let (width, height) = picture.dimensions();
    let (cx, cy) = (f64::from(width) / 2.0, f64::from(height) / 2.0);
    let (sin, cos) = degrees.to_radians().sin_cos();
    let (x, y) = (cx - cos * cx + sin * cy, cy - sin * cx - cos * cy);
    affine(picture, [cos, -sin, x, sin, cos, y])
}

/// Nearest neighbour in 16-bit fixed point, as Pillow's `transform`: the pixel at `(x, y)` comes from
/// `(a x + b y + c, d x + e y + f)`.
fn affine(picture: &RgbImage, [a, b, c, d, e, f]: [f64; 6]) -> RgbImage {
    let fixed = |value: f64| (value * 65536.0 + 0.5).floor() as i64;
    let (step_x, step_y) = (fixed(a), fixed(d));
    let (next_row_x, next_row_y) = (fixed(b), fixed(e));
    let mut row_x = fixed(c + a * 0.5 + b * 0.5);
    let mut row_y = fixed(f + d * 0.5 + e * 0.5);
    let mut moved = RgbImage::new(picture.width(), picture.height());
    for row in moved.rows_mut() {
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
        row_x += next_row_x;
        row_y += next_row_y;
    }
    moved
}

/// Moves away from (or to) the smoothed picture: Pillow's `ImageEnhance.Sharpness`. Pixels at the
/// edge stay.
fn sharpen(picture: &RgbImage, factor: f32) -> RgbImage {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let mut sharp = picture.clone();
    let (old, stride) = (picture.as_raw(), 3 * width);
    for y in 1..height.saturating_sub(1) {
        for at in y * stride + 3..((y + 1) * stride).saturating_sub(3) {
            let row = |at: usize| {
                [at - 3, at, at + 3]
                    .map(|at| u32::from(old[at]))
                    .iter()
                    .sum::<u32>()
            };
            let sum = row(at - stride) + row(at) + row(at + stride) + 4 * u32::from(old[at]);
            let smooth = (2 * sum + 13) / 26;
            let (smooth, value) = (smooth as f32, f32::from(old[at]));
            // `as` saturates.
            sharp.as_mut()[at] = (smooth + factor * (value - smooth)) as u8;
        }
    }
    sharp
}

/// Replaces the values of each channel by a table that is made of its histogram.
fn map_channels(picture: &mut RgbImage, table: fn(&[u64; 256]) -> [u8; 256]) {
    for channel in 0..3 {
        let mut histogram = [0; 256];
        let values = picture.iter().skip(channel).step_by(3);
        values.for_each(|&value| histogram[usize::from(value)] += 1);
        let table = table(&histogram);
        let values = picture.iter_mut().skip(channel).step_by(3);
        values.for_each(|value| *value = table[usize::from(*value)]);
    }
}

fn unchanged() -> [u8; 256] {
    std::array::from_fn(|value| value as u8)
}

/// The darkest value becomes 0 and the brightest 255: Pillow's `ImageOps.autocontrast`.
fn stretched(histogram: &[u64; 256]) -> [u8; 256] {
    let is_there = |count: &u64| *count > 0;
    let low = histogram.iter().position(is_there).unwrap_or(0);
    let high = histogram.iter().rposition(is_there).unwrap_or(0);
    if high <= low {
        return unchanged();
    }
    let scale = 255.0 / (high - low) as f64;
    let offset = -(low as f64) * scale;
    // `as` saturates.
    std::array::from_fn(|value| (value as f64 * scale + offset) as u8)
}

/// All values become equally frequent: Pillow's `ImageOps.equalize`.
fn equalized(histogram: &[u64; 256]) -> [u8; 256] {
    let Some(last) = histogram.iter().rfind(|count| **count > 0) else {
        return unchanged();
    };
    let step = (histogram.iter().sum::<u64>() - last) / 255;
    if step == 0 {
        return unchanged();
    }
    let mut below = step / 2;
    histogram.map(|count| {
        let value = below / step;
        below += count;
        value.min(255) as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_of_one_value_change_nothing() {
        let grey = RgbImage::from_pixel(40, 30, Rgb([7, 200, 0]));
        for operation in [Operation::AutoContrast, Operation::Equalize] {
            assert_eq!(operation.apply(grey.clone()), grey);
        }
    }

    #[test]
    fn no_magnitude_changes_nothing() {
        let picture = RgbImage::from_fn(9, 7, |x, y| Rgb([x as u8, 30 * y as u8, 9]));
        for operation in [
            Operation::Identity,
            Operation::ShearX(0.0),
            Operation::ShearY(0.0),
            Operation::TranslateX(0.9),
            Operation::TranslateY(-0.9),
            Operation::Rotate(0.0),
            Operation::Brightness(0.0),
            Operation::Color(0.0),
            Operation::Contrast(0.0),
            Operation::Sharpness(0.0),
            Operation::Posterize(8),
            Operation::Solarize(256.0),
        ] {
            assert_eq!(operation.apply(picture.clone()), picture, "{operation:?}");
        }
    }

    #[test]
    fn a_picture_too_small_to_smooth_stays() {
        for (width, height) in [(1, 1), (2, 9), (9, 2), (0, 0)] {
            let picture = RgbImage::from_fn(width, height, |x, y| Rgb([x as u8, 9 * y as u8, 9]));
            assert_eq!(Operation::Sharpness(0.9).apply(picture.clone()), picture);
        }
    }
}
