//! The one way from a picture to the input of a network.

use fast_image_resize::{FilterType, ResizeAlg};
use image::{RgbImage, imageops};
use serde::{Deserialize, Serialize};

use super::decode::{DecodeError, Decoded, Limits, decode_for};
use super::resample::{Region, resize};
use crate::error::Error;

/// The largest side that a model may ask for, in pixels.
const MAX_SIDE: u32 = 4096;

/// How many times the size that it is resized to a picture has at least after a scaled decoding:
/// what the filter then averages hides how the decoder averaged.
pub(super) const SPARE: u32 = 2;

/// Resize, crop and normalisation of a model; travels in its file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// Length in pixels of the shorter side after resizing, as torchvision's `Resize(int)`.
    pub resize: u32,
    /// Side in pixels of the square centre crop.
    pub crop: u32,
    pub interpolation: Interpolation,
    /// Whether the filter widens when shrinking, as Pillow's always does.
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
    /// What torchvision's ImageNet weights were evaluated with, at another size in proportion:
    /// the shorter side to `size` * 256 / 224, then the central `size` x `size` pixels.
    pub fn imagenet(size: u32) -> Self {
        let resize = (u64::from(size) * 256 + 112) / 224;
        Self {
            resize: u32::try_from(resize).unwrap_or(u32::MAX),
            crop: size,
            interpolation: Interpolation::Bilinear,
            antialias: true,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
        }
    }

    /// Refuses values that a model file may hold but no picture can be brought to.
    pub fn validate(&self) -> Result<(), Error> {
        for (name, value) in [("resize", self.resize), ("crop", self.crop)] {
            if !(1..=MAX_SIDE).contains(&value) {
                return Err(Error::Data(format!(
                    "preprocessing: {name} is {value}, it must be 1 to {MAX_SIDE}"
                )));
            }
        }
        if self.resize < self.crop {
            return Err(Error::Data(format!(
                "preprocessing: pictures can't be resized to {} and cropped to {} pixels",
                self.resize, self.crop
            )));
        }
        for mean in self.mean {
            if !mean.is_finite() {
                return Err(Error::Data(format!(
                    "preprocessing: mean is {mean}, it must be a finite number"
                )));
            }
        }
        for std in self.std {
            if !(std.is_finite() && std > 0.0) {
                return Err(Error::Data(format!(
                    "preprocessing: std is {std}, it must be positive and finite"
                )));
            }
        }
        Ok(())
    }

    /// Decodes a file's bytes and brings the picture to `crop` x `crop` pixels of 8-bit RGB: what
    /// the network sees in evaluation, prediction and serving.
    ///
    /// As [`Self::fit`] after [`decode`](super::decode()), but a JPEG of more than four times the
    /// size that it is resized to is decoded at a half, a quarter or an eighth: a 12-megapixel photo
    /// in half the time, its values on average less than 2 of 255 from those of the whole one.
    ///
    /// # Errors
    /// As [`decode`](super::decode()).
    pub fn read(&self, bytes: &[u8], limits: &Limits) -> Result<Decoded, DecodeError> {
        let enough = self.antialias.then(|| self.resize.saturating_mul(SPARE));
        let decoded = decode_for(bytes, limits, &|_, _| enough)?;
        Ok(Decoded {
            picture: self.fit(&decoded.picture),
            ..decoded
        })
    }

    /// Resizes and crops to `crop` x `crop` pixels of 8-bit RGB.
    ///
    /// Follows torchvision's `CenterCrop(crop)(Resize(resize)(picture))` on PIL images, black
    /// where the resized picture is smaller than the crop; values differ by at most 1 of 255.
    /// Only the part that the crop keeps is computed, so an extreme aspect ratio costs nothing.
    pub fn fit(&self, picture: &RgbImage) -> RgbImage {
        let (width, height) = picture.dimensions();
        let short = u64::from(width.min(height)).max(1);
        let side = |length: u32| u64::from(self.resize) * u64::from(length) / short;
        let x = Kept::of(width, side(width), self.crop);
        let y = Kept::of(height, side(height), self.crop);
        let region = Region {
            left: x.start,
            top: y.start,
            width: x.length,
            height: y.length,
        };
        let kept = resize(picture, region, x.pixels, y.pixels, self.algorithm());
        if x.padding == 0 && y.padding == 0 && kept.dimensions() == (self.crop, self.crop) {
            return kept;
        }
        let mut padded = RgbImage::new(self.crop, self.crop);
        imageops::replace(&mut padded, &kept, x.padding.into(), y.padding.into());
        padded
    }

    /// 8-bit RGB (n, crop, crop, 3) as float32 planes (n, 3, crop, crop), `(x / 255 - mean) / std`.
    ///
    /// Equal to torchvision's `Normalize(mean, std)(ToTensor()(picture))`.
    pub fn planes(&self, pixels: &[u8]) -> Vec<f32> {
        let tables = self.tables();
        let mut planes = Vec::with_capacity(pixels.len());
        for picture in pixels.chunks(3 * (self.crop * self.crop).max(1) as usize) {
            for (channel, table) in tables.iter().enumerate() {
                let values = picture.iter().skip(channel).step_by(3);
                planes.extend(values.map(|&value| table[usize::from(value)]));
            }
        }
        planes
    }

    /// `(x / 255 - mean) / std` of every 8-bit value, for each channel.
    pub fn tables(&self) -> [[f32; 256]; 3] {
        std::array::from_fn(|channel| {
            let (mean, std) = (self.mean[channel], self.std[channel]);
            std::array::from_fn(|x| (x as f32 / 255.0 - mean) / std)
        })
    }

    fn algorithm(&self) -> ResizeAlg {
        let filter = match self.interpolation {
            Interpolation::Bilinear => FilterType::Bilinear,
            // Pillow's bicubic has a = -0.5, which is Catmull-Rom.
            Interpolation::Bicubic => FilterType::CatmullRom,
        };
        if self.antialias {
            ResizeAlg::Convolution(filter)
        } else {
            ResizeAlg::Interpolation(filter)
        }
    }
}

/// As [`decode`](super::decode()), and resizes a picture whose shorter side has more pixels than `side` to that, by a
/// bilinear filter with antialiasing.
///
/// # Errors
/// As [`decode`](super::decode()).
pub fn bounded(bytes: &[u8], limits: &Limits, side: u32) -> Result<RgbImage, DecodeError> {
    let enough = Some(side.saturating_mul(SPARE));
    let picture = decode_for(bytes, limits, &|_, _| enough)?.picture;
    let (width, height) = picture.dimensions();
    let short = width.min(height);
    if short <= side {
        return Ok(picture);
    }
    let whole = Region {
        left: 0.0,
        top: 0.0,
        width: width.into(),
        height: height.into(),
    };
    let bounded = |length: u32| {
        let length = u64::from(length) * u64::from(side) / u64::from(short);
        u32::try_from(length).unwrap_or(u32::MAX)
    };
    let algorithm = ResizeAlg::Convolution(FilterType::Bilinear);
    Ok(resize(
        &picture,
        whole,
        bounded(width),
        bounded(height),
        algorithm,
    ))
}

/// What the centre crop keeps along one axis.
struct Kept {
    /// Interval of the original picture in its pixels.
    start: f64,
    length: f64,
    /// Length after resizing.
    pixels: u32,
    /// Black pixels before it.
    padding: u32,
}

impl Kept {
    fn of(original: u32, resized: u64, crop: u32) -> Self {
        let pixels = u32::try_from(resized).unwrap_or(u32::MAX).min(crop);
        let scale = f64::from(original) / (resized.max(1) as f64);
        // Python's round() goes to the even neighbour.
        let offset = ((resized.saturating_sub(u64::from(crop))) as f64 / 2.0).round_ties_even();
        Self {
            start: offset * scale,
            length: f64::from(pixels) * scale,
            pixels,
            padding: (crop - pixels) / 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;
    use proptest::prelude::*;

    #[test]
    fn imagenet_keeps_the_proportion_of_the_crop() {
        let sides = [224, 192, 128, 300, 1].map(|size| Preprocessing::imagenet(size).resize);
        assert_eq!(sides, [256, 219, 146, 343, 1]);
    }

    #[test]
    fn planes_are_normalised() {
        let preprocessing = Preprocessing {
            mean: [0.0, 0.5, 1.0],
            std: [1.0, 0.5, 0.25],
            ..Preprocessing::imagenet(1)
        };
        let planes = preprocessing.planes(&[0, 0, 0, 0, 255, 255]);
        assert_eq!(planes, [0.0, -1.0, -4.0, 0.0, 1.0, 0.0]);
    }

    #[test]
    fn crop_offsets_round_to_even() {
        // 5 - 2 = 3 gives 1.5, 7 - 2 = 5 gives 2.5: both start at 2.
        for resized in [5, 7] {
            assert_eq!(Kept::of(resized, u64::from(resized), 2).start, 2.0);
        }
        let kept = Kept::of(4, 4, 7);
        assert_eq!((kept.pixels, kept.padding), (4, 1));
    }

    #[test]
    fn senseless_values_are_named() {
        let good = Preprocessing::imagenet(224);
        good.validate().unwrap();
        let bad = [
            (
                Preprocessing {
                    crop: 0,
                    ..good.clone()
                },
                "crop is 0",
            ),
            (
                Preprocessing {
                    resize: 4097,
                    ..good.clone()
                },
                "resize is 4097",
            ),
            (
                Preprocessing {
                    mean: [0.0, f32::NAN, 0.0],
                    ..good.clone()
                },
                "mean is NaN",
            ),
            (
                Preprocessing {
                    std: [1.0, 1.0, 0.0],
                    ..good.clone()
                },
                "std is 0",
            ),
        ];
        for (preprocessing, complaint) in bad {
            let error = preprocessing.validate().unwrap_err().to_string();
            assert!(error.contains(complaint), "{error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_shape_fits(
            (width, height) in prop_oneof![(1u32..60, 1u32..60), (1u32..3, 1u32..5000)],
            resize in 1u32..80,
            crop in 1u32..80,
            bicubic: bool,
            antialias: bool,
            swap: bool,
        ) {
            let (width, height) = if swap { (height, width) } else { (width, height) };
            let preprocessing = Preprocessing {
                resize,
                interpolation: if bicubic { Interpolation::Bicubic } else { Interpolation::Bilinear },
                antialias,
                ..Preprocessing::imagenet(crop)
            };
            let white = RgbImage::from_pixel(width, height, Rgb([255; 3]));
            let fitted = preprocessing.fit(&white);
            prop_assert_eq!(fitted.dimensions(), (crop, crop));
            // A constant picture stays constant wherever it is not padded.
            prop_assert!(fitted.iter().all(|&v| v == 255 || (v == 0 && resize < crop)));
            // Of an odd rest, torchvision pads the greater half behind.
            let centre = (crop - 1) / 2;
            prop_assert_eq!(fitted.get_pixel(centre, centre), &Rgb([255; 3]));
        }
    }
}
