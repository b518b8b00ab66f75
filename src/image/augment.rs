//! Random transforms for training, each drawn from an explicit RNG.

use image::RgbImage;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Preprocessing;
use super::decode::{DecodeError, Limits, decode_for, decode_top};
use super::policy::{Policy, rand_augment, trivial_augment};
use super::preprocess::SPARE;
use super::transform::{Adjustment, Affine, Transform};

/// One random transform: what its parameters are drawn from, uniformly unless said otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Augmentation {
    /// A rectangle of random area and aspect ratio, resized to the size of the network's input
    /// (torchvision's `RandomResizedCrop`).
    RandomResizedCrop {
        /// Part of the picture's area.
        scale: [f64; 2],
        /// Width over height; its logarithm is uniform.
        ratio: [f64; 2],
    },
    HorizontalFlip {
        probability: f64,
    },
    VerticalFlip {
        probability: f64,
    },
    /// By up to so many degrees either way, black outside.
    Rotation {
        degrees: f32,
    },
    /// The four adjustments in random order (torchvision's `ColorJitter`).
    ColorJitter {
        /// The factor is within 1 - this and 1 + this; likewise the next two.
        brightness: f32,
        contrast: f32,
        saturation: f32,
        /// Either way, as a part of the colour circle.
        hue: f32,
    },
    /// Rotation, shift, shear and zoom in one resampling, the edge repeated outside.
    Affine {
        /// Degrees either way.
        rotation: f32,
        /// Either way, as a part of the width and of the height, drawn for each.
        shift: f32,
        /// Either way, in pixels to the right for each pixel downwards.
        shear: f32,
        /// Factor, drawn for the width and for the height.
        zoom: [f32; 2],
    },
    /// So many random operations of a magnitude from 0 to 30 (Cubuk et al., 2019).
    RandAugment {
        operations: u32,
        magnitude: u32,
    },
    /// One random operation of a random magnitude (Müller and Hutter, 2021).
    TrivialAugment,
    /// A rectangle of random area and aspect ratio is filled with a colour (Zhong et al., 2017;
    /// torchvision's `RandomErasing`).
    RandomErasing {
        probability: f64,
        /// Part of the picture's area.
        scale: [f64; 2],
        /// Height over width; its logarithm is uniform.
        ratio: [f64; 2],
        fill: [u8; 3],
    },
}

/// A list of random transforms that turns any picture into a `size` x `size` one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Augmentations {
    pub size: u32,
    pub steps: Vec<Augmentation>,
}

impl Augmentations {
    /// The transforms of the recipe `classic`.
    pub fn classic(size: u32) -> Self {
        Self {
            size,
            steps: vec![
                Augmentation::RandomResizedCrop {
                    scale: [0.08, 1.0],
                    ratio: [3.0 / 4.0, 4.0 / 3.0],
                },
                Augmentation::HorizontalFlip { probability: 0.5 },
                Augmentation::VerticalFlip { probability: 0.5 },
                Augmentation::Rotation { degrees: 30.0 },
                Augmentation::ColorJitter {
                    brightness: 0.2,
                    contrast: 0.2,
                    saturation: 0.2,
                    hue: 0.1,
                },
            ],
        }
    }

    /// The transforms of the recipe `two-phase`.
    pub fn two_phase(size: u32) -> Self {
        Self {
            size,
            steps: vec![
                Augmentation::Affine {
                    rotation: 40.0,
                    shift: 0.2,
                    shear: 0.2,
                    zoom: [0.8, 1.2],
                },
                Augmentation::HorizontalFlip { probability: 0.5 },
            ],
        }
    }

    /// The transforms of the recipe `fast`: the features of each are computed once, so that they are
    /// few, and mild enough to keep the object in the picture.
    pub fn fast(size: u32) -> Self {
        Self {
            size,
            steps: vec![
                Augmentation::RandomResizedCrop {
                    scale: [0.35, 1.0],
                    ratio: [3.0 / 4.0, 4.0 / 3.0],
                },
                Augmentation::HorizontalFlip { probability: 0.5 },
            ],
        }
    }

    /// The transforms of the recipe `scratch`: a network that has seen nothing yet learns sooner
    /// from whole flowers than from a twelfth of one.
    pub fn scratch(size: u32) -> Self {
        Self {
            size,
            steps: vec![
                Augmentation::RandomResizedCrop {
                    scale: [0.5, 1.0],
                    ratio: [3.0 / 4.0, 4.0 / 3.0],
                },
                Augmentation::HorizontalFlip { probability: 0.5 },
                Augmentation::ColorJitter {
                    brightness: 0.2,
                    contrast: 0.2,
                    saturation: 0.2,
                    hue: 0.05,
                },
            ],
        }
    }

    /// These transforms with a policy in place of all but crops and flips; without any for
    /// [`Policy::None`].
    pub fn with_policy(mut self, policy: Policy) -> Self {
        let is_kept = |step: &Augmentation| {
            matches!(
                step,
                Augmentation::RandomResizedCrop { .. }
                    | Augmentation::HorizontalFlip { .. }
                    | Augmentation::VerticalFlip { .. }
            )
        };
        let step = match policy {
            Policy::Recipe => return self,
            Policy::None => {
                self.steps.clear();
                return self;
            }
            Policy::RandAugment => Augmentation::RandAugment {
                operations: 2,
                magnitude: 9,
            },
            Policy::TrivialAugment => Augmentation::TrivialAugment,
        };
        self.steps.retain(is_kept);
        self.steps.push(step);
        self
    }

    /// These transforms, and then a rectangle erased with a probability, which may be 0. It becomes
    /// the `mean` of the normalisation (per channel, in the scale 0 to 1): zero for the network, as
    /// torchvision fills it.
    pub fn with_erasing(mut self, probability: f64, mean: [f32; 3]) -> Self {
        if probability > 0.0 {
            self.steps.push(Augmentation::RandomErasing {
                probability,
                scale: [0.02, 0.33],
                ratio: [0.3, 3.3],
                fill: mean.map(|mean| (255.0 * mean).round() as u8),
            });
        }
        self
    }

    /// Decodes a file's bytes and transforms the picture: [`Self::decode`], then [`Self::apply`].
    ///
    /// # Errors
    /// As [`decode`](super::decode()).
    pub fn read(
        &self,
        bytes: &[u8],
        limits: &Limits,
        preprocessing: &Preprocessing,
        rng: &mut ChaCha8Rng,
    ) -> Result<RgbImage, DecodeError> {
        let picture = self.decode(bytes, limits, preprocessing, rng)?;
        Ok(self.apply(picture, rng))
    }

    /// Decodes a file's bytes to the picture that [`Self::apply`] starts from with `rng`.
    ///
    /// A random crop sees the whole picture; a JPEG is decoded at a half, a quarter or an eighth
    /// where the crop keeps at least twice the pixels that it is resized to, as
    /// [`Preprocessing::read`] does, and no further down than the crop reaches. Augmentations that
    /// begin otherwise see what the
    /// preprocessing makes of the picture, so that they start from what is evaluated later.
    ///
    /// # Errors
    /// As [`decode`](super::decode()).
    pub fn decode(
        &self,
        bytes: &[u8],
        limits: &Limits,
        preprocessing: &Preprocessing,
        rng: &ChaCha8Rng,
    ) -> Result<RgbImage, DecodeError> {
        match self.steps.first() {
            Some(crop @ Augmentation::RandomResizedCrop { .. }) => {
                let wanted = |width, height| self.wanted(crop, (width, height), rng.clone());
                let rows = |width, height| self.rows(crop, (width, height), rng.clone());
                Ok(decode_top(bytes, limits, &wanted, &rows)?.picture)
            }
            _ if self.crops() => Ok(decode_for(bytes, limits, &|_, _| None)?.picture),
            _ => Ok(preprocessing.read(bytes, limits)?.picture),
        }
    }

    /// The shorter side that a picture needs for the crop that is going to be drawn.
    fn wanted(
        &self,
        crop: &Augmentation,
        (width, height): (u32, u32),
        mut rng: ChaCha8Rng,
    ) -> Option<u32> {
        let drawn = crop.draw((width, height), self.size, &mut rng)?;
        let &Transform::ResizedCrop {
            width: across,
            height: down,
            ..
        } = &drawn
        else {
            return None;
        };
        let whole = u64::from(width.min(height));
        let part = u64::from(across.min(down)).max(1);
        let wanted = (whole * u64::from(self.size) * u64::from(SPARE)).div_ceil(part);
        Some(u32::try_from(wanted).unwrap_or(u32::MAX))
    }

    /// The rows of a picture down to the end of the crop that is going to be drawn.
    fn rows(&self, crop: &Augmentation, dimensions: (u32, u32), mut rng: ChaCha8Rng) -> u32 {
        match crop.draw(dimensions, self.size, &mut rng) {
            Some(Transform::ResizedCrop { top, height, .. }) => top + height,
            _ => dimensions.1,
        }
    }

    /// The shorter side in pixels to which a photo may be reduced before it is transformed, if random
    /// crops are cut out of it: twice the size that they are resized to. Crops of less than a quarter
    /// of the area then have fewer pixels than that.
    pub fn bound(&self) -> Option<u32> {
        self.crops().then(|| self.size.saturating_mul(SPARE))
    }

    fn crops(&self) -> bool {
        let crops = |step: &_| matches!(step, Augmentation::RandomResizedCrop { .. });
        self.steps.iter().any(crops)
    }

    /// Transforms a picture; the result depends on the picture and the RNG's state only.
    ///
    /// Without a `RandomResizedCrop` among the steps, a picture that is not yet `size` x `size`
    /// is brought there first by [`Preprocessing::fit`] with ImageNet's proportions.
    pub fn apply(&self, picture: RgbImage, rng: &mut ChaCha8Rng) -> RgbImage {
        let square = picture.dimensions() == (self.size, self.size);
        let picture = if square || self.crops() {
            picture
        } else {
            Preprocessing::imagenet(self.size).fit(&picture)
        };
        let transforms = self.draw(picture.dimensions(), rng);
        Transform::apply_all(&transforms, picture)
    }

    /// Draws transforms for a picture of the given width and height.
    fn draw(&self, mut dimensions: (u32, u32), rng: &mut ChaCha8Rng) -> Vec<Transform> {
        let mut transforms = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            if let Some(transform) = step.draw(dimensions, self.size, rng) {
                if let Transform::ResizedCrop { size, .. } = transform {
                    dimensions = (size, size);
                }
                transforms.push(transform);
            }
        }
        transforms
    }
}

impl Augmentation {
    /// Draws the parameters for a picture of the given width and height, `None` when this time it
    /// is left alone.
    pub fn draw(
        &self,
        dimensions: (u32, u32),
        size: u32,
        rng: &mut ChaCha8Rng,
    ) -> Option<Transform> {
        match *self {
            Self::RandomResizedCrop { scale, ratio } => {
                Some(draw_crop(dimensions, scale, ratio, size, rng))
            }
            Self::HorizontalFlip { probability } => {
                (rng.random::<f64>() < probability).then_some(Transform::HorizontalFlip)
            }
            Self::VerticalFlip { probability } => {
                (rng.random::<f64>() < probability).then_some(Transform::VerticalFlip)
            }
            Self::Rotation { degrees } => Some(Transform::Rotation {
                degrees: either_way(degrees, rng),
            }),
            Self::ColorJitter {
                brightness,
                contrast,
                saturation,
                hue,
            } => {
                let mut adjustments = vec![
                    Adjustment::Brightness(1.0 + either_way(brightness, rng)),
                    Adjustment::Contrast(1.0 + either_way(contrast, rng)),
                    Adjustment::Saturation(1.0 + either_way(saturation, rng)),
                    Adjustment::Hue(either_way(hue, rng)),
                ];
                adjustments.shuffle(rng);
                Some(Transform::ColorJitter(adjustments))
            }
            Self::Affine {
                rotation,
                shift,
                shear,
                zoom: [low, high],
            } => Some(Transform::Affine(Affine {
                rotation: either_way(rotation, rng),
                shift: [either_way(shift, rng), either_way(shift, rng)],
                shear: either_way(shear, rng),
                zoom: [between(low, high, rng), between(low, high, rng)],
            })),
            Self::RandAugment {
                operations,
                magnitude,
            } => Some(Transform::Operations(rand_augment(
                operations, magnitude, dimensions, rng,
            ))),
            Self::TrivialAugment => Some(Transform::Operations(vec![trivial_augment(rng)])),
            Self::RandomErasing {
                probability,
                scale,
                ratio,
                fill,
            } => (rng.random::<f64>() < probability)
                .then(|| draw_erased(dimensions, scale, ratio, fill, rng))
                .flatten(),
        }
    }
}

/// Follows torchvision's `RandomResizedCrop.get_params`: ten tries, then the largest centred
/// rectangle of an allowed aspect ratio.
fn draw_crop(
    (width, height): (u32, u32),
    scale: [f64; 2],
    ratio: [f64; 2],
    size: u32,
    rng: &mut ChaCha8Rng,
) -> Transform {
    let crop = |left, top, width, height| Transform::ResizedCrop {
        left,
        top,
        width,
        height,
        size,
    };
    let area = f64::from(width) * f64::from(height);
    for _ in 0..10 {
        let target = area * (scale[0] + (scale[1] - scale[0]) * rng.random::<f64>());
        let aspect = ratio[0] * (ratio[1] / ratio[0]).powf(rng.random());
        let w = (target * aspect).sqrt().round_ties_even() as u32;
        let h = (target / aspect).sqrt().round_ties_even() as u32;
        if (1..=width).contains(&w) && (1..=height).contains(&h) {
            let top = rng.random_range(0..=height - h);
            let left = rng.random_range(0..=width - w);
            return crop(left, top, w, h);
        }
    }
    let (mut w, mut h) = (width, height);
    let aspect = f64::from(width) / f64::from(height);
    if aspect < ratio[0] {
        h = ((f64::from(w) / ratio[0]).round_ties_even() as u32).clamp(1, height.max(1));
    } else if aspect > ratio[1] {
        w = ((f64::from(h) * ratio[1]).round_ties_even() as u32).clamp(1, width.max(1));
    }
    crop(
        (width - w.min(width)) / 2,
        (height - h.min(height)) / 2,
        w,
        h,
    )
}

/// Follows torchvision's `RandomErasing.get_params`: ten tries, then nothing is erased.
fn draw_erased(
    (width, height): (u32, u32),
    scale: [f64; 2],
    ratio: [f64; 2],
    fill: [u8; 3],
    rng: &mut ChaCha8Rng,
) -> Option<Transform> {
    let area = f64::from(width) * f64::from(height);
    (0..10).find_map(|_| {
        let target = area * (scale[0] + (scale[1] - scale[0]) * rng.random::<f64>());
        let aspect = ratio[0] * (ratio[1] / ratio[0]).powf(rng.random());
        let h = (target * aspect).sqrt().round_ties_even() as u32;
        let w = (target / aspect).sqrt().round_ties_even() as u32;
        (w < width && h < height).then(|| Transform::Erase {
            top: rng.random_range(0..=height - h),
            left: rng.random_range(0..=width - w),
            width: w,
            height: h,
            fill,
        })
    })
}

fn between(low: f32, high: f32, rng: &mut ChaCha8Rng) -> f32 {
    low + (high - low) * rng.random::<f32>()
}

fn either_way(limit: f32, rng: &mut ChaCha8Rng) -> f32 {
    between(-limit, limit, rng)
}

/// The RNG of one picture in one epoch: the same whichever worker draws from it.
///
/// `photo` is the SHA-256 of the picture's file.
pub fn rng(seed: u64, epoch: u64, photo: &[u8; 32]) -> ChaCha8Rng {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update(epoch.to_le_bytes());
    hash.update(photo);
    ChaCha8Rng::from_seed(hash.finalize().into())
}
