//! A perceptual hash: what a picture looks like, in 192 bytes.

use std::fmt;

use fast_image_resize::{FilterType, ResizeAlg};
use image::RgbImage;

use super::resample::{Region, resize};

/// Side of the picture that is left.
const SIDE: usize = 8;
/// Bytes of a fingerprint.
pub const VALUES: usize = SIDE * SIDE * 3;

/// Root mean square difference of two pictures that look the same, in levels of 255.
const NEAR: i32 = 5;

/// The mean colours of 8 x 8 equal blocks of a picture, whatever its size.
///
/// A block mean hash (Yang, Gu and Niu 2006), but with the means themselves in place of a bit for
/// each, which depended on noise where a picture is flat. A copy that was encoded again, made
/// smaller, or stretched differs by one or two levels, other photos of the same thing by twenty.
#[derive(Clone, PartialEq, Eq)]
pub struct Fingerprint([u8; VALUES]);

impl From<[u8; VALUES]> for Fingerprint {
    fn from(values: [u8; VALUES]) -> Self {
        Self(values)
    }
}

impl Fingerprint {
    /// The values of the blocks, row by row, RGB.
    pub fn as_bytes(&self) -> &[u8; VALUES] {
        &self.0
    }

    /// That of a decoded picture.
    pub fn of(picture: &RgbImage) -> Self {
        let region = Region {
            left: 0.0,
            top: 0.0,
            width: picture.width().into(),
            height: picture.height().into(),
        };
        let means = ResizeAlg::Convolution(FilterType::Box);
        let small = resize(picture, region, SIDE as u32, SIDE as u32, means);
        let mut values = [0; VALUES];
        values.copy_from_slice(&small);
        Self(values)
    }

    /// Whether two pictures look the same: the difference is small, and small against what there
    /// is to see in them. Pictures of a single colour never do, for they tell nothing.
    pub fn resembles(&self, other: &Self) -> bool {
        let mut difference = 0;
        for (own, others) in self.0.chunks(16).zip(other.0.chunks(16)) {
            let squares = own.iter().zip(others);
            let squares = squares.map(|(&a, &b)| (i32::from(a) - i32::from(b)).pow(2));
            difference += squares.sum::<i32>();
            // Most pairs end after the first blocks.
            if difference > NEAR * NEAR * VALUES as i32 {
                return false;
            }
        }
        let seen = self.contrast().min(other.contrast());
        // A standard deviation of two levels, and 15% of it.
        seen >= 4 * VALUES as i32 && difference <= seen / 400 * 9
    }

    /// Sum of the squared deviations from the mean colour.
    fn contrast(&self) -> i32 {
        let channel = |channel: usize| {
            let values = self.0.iter().skip(channel).step_by(3);
            let (sum, squares) = values.fold((0, 0), |(sum, squares), &value| {
                let value = i32::from(value);
                (sum + value, squares + value * value)
            });
            squares - sum * sum / (SIDE * SIDE) as i32
        };
        (0..3).map(channel).sum()
    }

    /// A cell of a grid such that pictures which resemble each other are in the same or in
    /// neighbouring cells: their brightness, how it changes across and down, and red against
    /// blue, in steps of the largest difference that they can have.
    pub fn cell(&self) -> [i16; 4] {
        let [mut all, mut across, mut down, mut warmth] = [0; 4];
        for (at, &value) in self.0.iter().enumerate() {
            let value = i32::from(value);
            let (block, channel) = (at / 3, at % 3);
            let signed = |first: bool| if first { value } else { -value };
            all += value;
            across += signed(block % SIDE < SIDE / 2);
            down += signed(block / SIDE < SIDE / 2);
            warmth += value * (1 - channel as i32);
        }
        // Cauchy-Schwarz: n values that differ by NEAR in the mean square differ by n x NEAR in sum.
        let step = NEAR * VALUES as i32;
        [all, across, down, warmth].map(|sum| sum.div_euclid(step) as i16)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Fingerprint")
    }
}

#[cfg(test)]
mod tests {
    use image::Rgb;
    use image::imageops::{FilterType, resize};

    use super::*;

    fn scene(width: u32, height: u32, shift: f32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            let (x, y) = (x as f32 / width as f32, y as f32 / height as f32);
            let wave = |k: f32| (127.0 + 120.0 * (k * (x + y * y) + shift).sin()) as u8;
            Rgb([wave(5.0), wave(9.0), wave(3.0)])
        })
    }

    #[test]
    fn a_thumbnail_resembles_its_original_and_another_scene_does_not() {
        let photo = scene(640, 480, 0.0);
        let original = Fingerprint::of(&photo);
        for (width, height) in [(160, 120), (120, 90), (64, 48), (100, 100)] {
            let small = Fingerprint::of(&resize(&photo, width, height, FilterType::Lanczos3));
            assert!(original.resembles(&small), "{width}x{height}");
            let apart = original.cell().into_iter().zip(small.cell());
            assert!(apart.into_iter().all(|(a, b)| a.abs_diff(b) <= 1));
        }
        assert!(!original.resembles(&Fingerprint::of(&scene(640, 480, 0.3))));
    }

    #[test]
    fn what_shows_nothing_resembles_nothing() {
        for grey in [0, 250] {
            let plain = Fingerprint::of(&RgbImage::from_pixel(64, 64, Rgb([grey; 3])));
            assert!(!plain.resembles(&plain));
        }
    }

    #[test]
    fn faint_pictures_must_agree_better() {
        let faint = |sign: i32| {
            let picture = RgbImage::from_fn(8, 8, |x, y| {
                let step = if (x + y) % 2 == 0 { sign } else { -sign };
                Rgb([(128 + 3 * step) as u8; 3])
            });
            Fingerprint::of(&picture)
        };
        assert!(faint(1).resembles(&faint(1)));
        assert!(!faint(1).resembles(&faint(-1)), "differs by six levels");
    }
}
