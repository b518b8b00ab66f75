//! What an epoch is made of: the order of its photos, the seeds of its steps, the weights of the classes.

use sha2::{Digest, Sha256};

use super::callback::Event;
use super::checkpoint::State;
use super::job::Job;
use super::phase::Phase;
use super::step::Seeds;
use crate::data::loader::epoch_order;

/// The event that announces the training half of an epoch of so many images.
pub(super) fn announced<'a>(
    job: &Job<'_>,
    phase: &'a Phase,
    state: &State,
    images: usize,
) -> Event<'a> {
    let config = job.run.config();
    let phases = config.phases();
    let later = phases.iter().skip(state.phase + 1);
    let of_later: usize = later.map(|phase| phase.epochs).sum();
    let of_phase = state.planned_epochs.unwrap_or(phase.epochs);
    Event::Training {
        epoch: state.history.len() + 1,
        phase,
        images,
        done: state.batch * config.batch_size,
        validated: job.val.len(),
        epochs_after: (of_phase + of_later).saturating_sub(state.phase_epoch + 1),
    }
}

/// The photos of an epoch in random order. A last batch of a single photo is left out, as it has
/// no batch statistics.
pub(super) fn order(photos: &[usize], batch_size: usize, seed: u64, epoch: usize) -> Vec<usize> {
    let order = epoch_order(photos.len(), seed, epoch as u64);
    let mut order: Vec<usize> = order.into_iter().map(|index| photos[index]).collect();
    if order.len() > 1 && order.len() % batch_size == 1 {
        order.pop();
    }
    order
}

/// Inverse class frequencies with mean 1 over the photos.
pub(super) fn class_weights(job: &Job<'_>) -> Vec<f32> {
    let mut counts = vec![0usize; job.run.manifest().labels.len()];
    for &index in job.train {
        counts[job.photos[index].class] += 1;
    }
    let mean = job.train.len() as f32 / counts.len() as f32;
    counts.iter().map(|&n| mean / n.max(1) as f32).collect()
}

/// The seeds of a step, of dropout one for each process. The state of libtorch's generator can't be saved,
/// so every step seeds it anew.
pub(super) fn step_seeds(rank: usize, seed: u64, epoch: usize, batch: usize) -> Seeds {
    let seeds = Seeds::one(step_seed(seed, epoch, batch));
    match rank {
        0 => seeds,
        _ => Seeds {
            dropout: step_seed(seeds.mixing, rank, batch),
            ..seeds
        },
    }
}

fn step_seed(seed: u64, epoch: usize, batch: usize) -> i64 {
    let digest = Sha256::new()
        .chain_update(seed.to_le_bytes())
        .chain_update((epoch as u64).to_le_bytes())
        .chain_update((batch as u64).to_le_bytes())
        .finalize();
    let mut first = [0u8; 8];
    first.copy_from_slice(&digest[..8]);
    i64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_drop_differently_and_mix_alike() {
        let [first, second, third] = [0, 1, 2].map(|rank| step_seeds(rank, 7, 1, 2));
        assert_eq!(first.dropout, step_seed(7, 1, 2));
        assert_ne!(first.dropout, second.dropout);
        assert_ne!(second.dropout, third.dropout);
        assert!(first.mixing == second.mixing && second.mixing == third.mixing);
    }

    #[test]
    fn every_step_has_dropout_of_its_own() {
        let step = step_seed(0, 1, 2);
        assert_eq!(step, step_seed(0, 1, 2));
        for other in [(1, 1, 2), (0, 2, 2), (0, 1, 1), (0, 2, 1)] {
            assert_ne!(step, step_seed(other.0, other.1, other.2));
        }
    }
}
