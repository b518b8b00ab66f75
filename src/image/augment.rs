//! Random transforms for training, each drawn from an explicit RNG.

use image::RgbImage;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// One random transform.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Augmentation {
    HorizontalFlip { probability: f32 },
}

/// A list of random transforms that turns any picture into a `size` x `size` one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Augmentations {
    pub size: u32,
    pub steps: Vec<Augmentation>,
}

impl Augmentations {
    /// Transforms a picture; the result depends on the picture and the RNG's state only.
    pub fn apply(&self, _picture: RgbImage, _rng: &mut ChaCha8Rng) -> RgbImage {
        todo!()
    }
}

/// The RNG of one picture in one epoch: the same whichever worker draws from it.
pub fn rng(_seed: u64, _epoch: u64, _photo: &[u8; 32]) -> ChaCha8Rng {
    todo!()
}
