//! The learning rate range test: short training at rising rates, and where the loss falls best.

use std::sync::Arc;

use super::config::Config;
use super::fit::first_trained;
use super::mixing::Mixing;
use super::network::Network;
use super::optimizer::Optimizer;
use super::phase::{Method, Phase};
use super::profile::Profile;
use super::source::{BatchSource, PhotoSource};
use super::step::{Loss, Seeds, Step};
use crate::data::loader::epoch_order;
use crate::data::{Folder, Undecodable};
use crate::distributed::Share;
use crate::error::Result;
use crate::image::Limits;

const STEPS: usize = 32;
/// Photos a step, so that the test takes seconds.
const LARGEST_BATCH: usize = 16;
/// Rates for Adam, from and to.
const RATES: (f64, f64) = (1e-6, 1.0);
/// How much of the smoothed loss a step keeps.
const SMOOTHING: f64 = 0.8;
/// The test ends when the smoothed loss is so many times the smallest one.
const DIVERGED: f64 = 4.0;
/// A fall of fewer steps is noise.
const SHORTEST_FALL: usize = 5;

/// The photos per step of the test under a configuration.
fn batch_size(config: &Config) -> usize {
    config.batch_size.min(LARGEST_BATCH)
}

/// The peak learning rate for a run, found on a copy of its network in the first phase that takes
/// steps, with the photos `train`: a range test (Smith, 2017) read by fastai's rule `valley`. `None` when
/// the loss does not fall.
///
/// # Errors
/// Those of reading photos, and when memory runs out.
pub(super) fn find(
    config: &Config,
    network: &Network,
    folder: &Folder,
    train: &[usize],
) -> Result<Option<f64>> {
    let phases = config.phases();
    let steps = |phase: &&Phase| phase.method == Method::GradientDescent;
    let Some(phase) = phases.iter().find(steps) else {
        return Ok(None);
    };
    let mut copy = network.detached()?;
    copy.freeze_until(first_trained(phase, copy.graph(), config.arch.head)?)?;
    let undecodable = Undecodable::allowing(folder.tolerated(config.max_bad), |_| ());
    let source = PhotoSource {
        teacher: None,
        share: Share::WHOLE,
        photos: Arc::clone(&folder.photos),
        undecodable: Arc::new(undecodable),
        preprocessing: (config.arch.preprocessing)(config.image_size as u32),
        augmentations: config.augmentations(),
        limits: Limits::default(),
        batch_size: batch_size(config),
        workers: config.workers,
        seed: config.seed,
        cache: None,
    };
    let mut optimizer = Optimizer::new(config.optimizer, copy.trainable(), config.weight_decay)?;
    let step = Step {
        distillation: None,
        network: &copy,
        loss: Loss {
            class_weights: None,
            label_smoothing: config.label_smoothing,
        },
        mixing: Mixing::default(),
        accumulates: false,
        clip_norm: config.clip_grad_norm,
    };
    let factor = config.optimizer.usual_rate();
    let order = order(train, STEPS * batch_size(config), config.seed);
    let (mut rates, mut losses) = (Vec::new(), Vec::new());
    let (mut smoothed, mut ignored) = (Smoothed::default(), Profile::default());
    let batches = source.batches(&copy, order, 0)?;
    for (index, batch) in batches.enumerate() {
        let batch = batch?;
        if batch.labels.len() < 2 {
            continue;
        }
        let rate = factor * rate(index);
        let loss = step
            .take(
                batch,
                Seeds::one(index as i64),
                Some(rate),
                &mut optimizer,
                &mut ignored,
            )?
            .loss;
        let loss = smoothed.next(loss);
        let smallest = losses.iter().copied().fold(f64::INFINITY, f64::min);
        if !loss.is_finite() || loss > DIVERGED * smallest {
            break;
        }
        rates.push(rate);
        losses.push(loss);
    }
    // The phase multiplies the rate by its own factor again.
    let own = phase.learning_rate / config.lr;
    Ok(valley(&losses).map(|index| rates[index] / own))
}

/// So many photos, in the orders of one epoch after the other.
fn order(train: &[usize], count: usize, seed: u64) -> Vec<usize> {
    let epochs = (0..).flat_map(|epoch| epoch_order(train.len(), seed, epoch));
    epochs.map(|index| train[index]).take(count).collect()
}

/// The rate of a step, for Adam; the same factor from each to the next.
fn rate(index: usize) -> f64 {
    let (from, to) = RATES;
    from * (to / from).powf(index as f64 / (STEPS - 1) as f64)
}

/// A running mean whose start does not count as zero.
#[derive(Default)]
struct Smoothed {
    mean: f64,
    count: i32,
}

impl Smoothed {
    fn next(&mut self, value: f64) -> f64 {
        self.count += 1;
        self.mean = SMOOTHING * self.mean + (1.0 - SMOOTHING) * value;
        self.mean / (1.0 - SMOOTHING.powi(self.count))
    }
}

/// fastai's `valley`: a point in the middle of the longest falling subsequence of the losses.
fn valley(losses: &[f64]) -> Option<usize> {
    let mut lengths = vec![1; losses.len()];
    let (mut end, mut start) = (0, 0);
    for i in 1..losses.len() {
        for j in 0..i {
            if losses[i] < losses[j] && lengths[i] < lengths[j] + 1 {
                lengths[i] = lengths[j] + 1;
            }
            if lengths[end] < lengths[i] {
                end = i;
                start = end - lengths[end].min(end);
            }
        }
    }
    let third = (end - start) as f64 / 3.0;
    let fell = lengths
        .get(end)
        .is_some_and(|&length| length >= SHORTEST_FALL);
    fell.then_some(start + third as usize + (third / 2.0) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_valley_is_fastais() {
        // tests/golden/steps.py
        let losses = [
            2.30, 2.31, 2.30, 2.29, 2.29, 2.27, 2.25, 2.20, 2.10, 1.95, 1.70, 1.50, 1.40, 1.38,
            1.42, 1.60, 2.20, 3.50, 5.10, 7.00,
        ];
        assert_eq!(valley(&losses), Some(VALLEY));
        assert_eq!(valley(&[2.0, 2.1, 2.2, 2.3, 2.5, 2.7, 2.9]), None);
        assert_eq!(valley(&[]), None);
    }

    #[test]
    fn rates_rise_by_the_same_factor() {
        assert_eq!(rate(0), 1e-6);
        assert!((rate(STEPS - 1) - 1.0).abs() < 1e-12);
        assert!((rate(7) / rate(6) - rate(2) / rate(1)).abs() < 1e-9);
    }

    #[test]
    fn small_sets_are_gone_through_again() {
        let order = order(&[4, 7, 9], 7, 1);
        assert_eq!(order.len(), 7);
        for epoch in [&order[..3], &order[3..6]] {
            let mut epoch = epoch.to_vec();
            epoch.sort();
            assert_eq!(epoch, [4, 7, 9]);
        }
    }

    #[test]
    fn a_running_mean_starts_at_its_first_value() {
        let mut smoothed = Smoothed::default();
        assert!((smoothed.next(3.0) - 3.0).abs() < 1e-12);
        // (0.2 * 0.8 * 3 + 0.2 * 1) / (1 - 0.8^2)
        assert!((smoothed.next(1.0) - 0.68 / 0.36).abs() < 1e-12);
    }

    const VALLEY: usize = 7;
}
