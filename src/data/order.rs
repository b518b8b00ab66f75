//! The order of photos in an epoch, and which batch each belongs to.

use std::ops::Range;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::content::sha256;

/// The indices 0 to n in the random order of one epoch.
pub fn epoch_order(n: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let key = sha256(&[b"epoch order", &seed.to_le_bytes(), &epoch.to_le_bytes()]);
    let mut order: Vec<usize> = (0..n).collect();
    order.shuffle(&mut ChaCha8Rng::from_seed(key));
    order
}

/// Photos in the order in which they are loaded, cut into batches.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchOrder {
    photos: Vec<usize>,
    /// Where each batch begins, and where the last one ends.
    bounds: Vec<usize>,
}

impl BatchOrder {
    /// Batches of `size` photos, at least 1, the last one smaller if need be.
    pub fn equal(photos: Vec<usize>, size: usize) -> Self {
        let begins = (0..photos.len()).step_by(size);
        let bounds = begins.chain([photos.len()]).collect();
        Self { photos, bounds }
    }

    /// Of each batch of `size` photos the part that is told by its number of photos.
    pub fn parts(photos: &[usize], size: usize, part: impl Fn(usize) -> Range<usize>) -> Self {
        let mut parts = Vec::new();
        let mut bounds = vec![0];
        for batch in photos.chunks(size) {
            parts.extend_from_slice(&batch[part(batch.len())]);
            bounds.push(parts.len());
        }
        Self {
            photos: parts,
            bounds,
        }
    }

    pub(super) fn photos(&self) -> &[usize] {
        &self.photos
    }

    pub(super) fn batches(&self) -> usize {
        self.bounds.len() - 1
    }

    /// The positions of a batch's photos.
    pub(super) fn range(&self, batch: usize) -> Range<usize> {
        self.bounds[batch]..self.bounds[batch + 1]
    }

    /// The batch that the photo at a position belongs to.
    pub(super) fn batch_of(&self, position: usize) -> usize {
        self.bounds.partition_point(|&bound| bound <= position) - 1
    }

    /// Photos in the largest batch.
    pub(super) fn largest(&self) -> usize {
        let sizes = self.bounds.windows(2).map(|bounds| bounds[1] - bounds[0]);
        sizes.max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epochs_order_is_a_permutation_of_its_own() {
        let order = epoch_order(100, 1, 2);
        assert_eq!(order, epoch_order(100, 1, 2));
        assert_ne!(order, epoch_order(100, 1, 3));
        assert_ne!(order, epoch_order(100, 2, 2));
        let mut indices = order;
        indices.sort_unstable();
        assert_eq!(indices, (0..100).collect::<Vec<_>>());
        assert!(epoch_order(0, 1, 2).is_empty());
    }

    #[test]
    fn batches_are_cut_and_parts_of_them_taken() {
        let equal = BatchOrder::equal(vec![5, 6, 7, 8, 9], 2);
        assert_eq!((equal.batches(), equal.largest()), (3, 2));
        assert_eq!(equal.range(2), 4..5);
        assert_eq!([0, 1, 2, 4].map(|at| equal.batch_of(at)), [0, 0, 1, 2]);
        assert_eq!(BatchOrder::equal(Vec::new(), 2).batches(), 0);

        let second = |count: usize| count / 2..count;
        let parts = BatchOrder::parts(&[5, 6, 7, 8, 9], 2, second);
        assert_eq!(parts.photos(), [6, 8, 9]);
        let none = |count: usize| count..count;
        let nothing = BatchOrder::parts(&[5, 6, 7], 2, none);
        assert_eq!((nothing.batches(), nothing.largest()), (2, 0));
        let only_last =
            BatchOrder::parts(&[5, 6, 7], 2, |count| if count == 1 { 0..1 } else { 0..0 });
        assert_eq!((only_last.range(0), only_last.batch_of(0)), (0..0, 1));
    }
}
