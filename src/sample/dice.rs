//! The random choices of one picture, all from one seeded stream.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

#[derive(Debug)]
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream of picture `index` of the kind called `name`.
    pub(super) fn new(seed: u64, name: &str, index: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&index.to_le_bytes());
        for (slot, byte) in key[16..].iter_mut().zip(name.bytes()) {
            *slot = byte;
        }
        Self(ChaCha8Rng::from_seed(key))
    }

    pub(super) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.0.random::<f32>()
    }

    /// Between `-half` and `half`, the middle more likely than the ends.
    pub(super) fn spread(&mut self, half: f32) -> f32 {
        (self.between(-half, half) + self.between(-half, half)) / 2.0
    }

    pub(super) fn chance(&mut self, probability: f32) -> bool {
        self.0.random::<f32>() < probability
    }

    /// In `0..end`; `end` is at least 1.
    pub(super) fn below(&mut self, end: u32) -> u32 {
        self.0.random_range(0..end)
    }

    /// In `low..=high`.
    pub(super) fn count(&mut self, low: u32, high: u32) -> u32 {
        self.0.random_range(low..=high)
    }

    /// One of `choices`, which are not empty.
    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u32) as usize]
    }

    /// -1 or 1.
    pub(super) fn sign(&mut self) -> f32 {
        if self.chance(0.5) { 1.0 } else { -1.0 }
    }
}
