//! The batch sizes that kernels are fast at.

use super::target::Target;
use crate::device::Device;
use crate::inference::{Arithmetic, Images};

/// Batch sizes that a network runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batches {
    /// Batches larger than the largest of these are cut. Where weights are packed, each has its own.
    pub sizes: &'static [usize],
    /// The size whose packed weights all other batches use.
    pub usual: usize,
    pub rounding: Rounding,
}

/// Which batch sizes cost the least for each image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    Any,
    /// oneDNN's kernels are slower for odd batches, except for a single image.
    Even,
    /// Kernels are chosen anew for each size, so that few should occur.
    PowerOfTwo,
}

impl Batches {
    /// For code that packs no weights.
    pub const ANY: Self = Self {
        sizes: &[1],
        usual: 1,
        rounding: Rounding::Any,
    };

    /// Feature maps of 8 images stay in cache, larger batches only move more memory. Some layers want
    /// the weights for a single image in another order.
    const FLOAT: Self = Self {
        sizes: &[1, 8],
        usual: 8,
        rounding: Rounding::Even,
    };

    /// As [`Batches::FLOAT`], for the smaller feature maps of int8.
    const INT8: Self = Self {
        sizes: &[1, 8, 16],
        usual: 8,
        rounding: Rounding::Even,
    };

    /// On a GPU more images together are faster, as long as they fit.
    const GPU: Self = Self {
        sizes: &[128],
        usual: 128,
        rounding: Rounding::PowerOfTwo,
    };

    pub fn new(device: Device, target: Target) -> Self {
        match (device, target.arithmetic) {
            (Device::Cpu, Arithmetic::Int8) => Self::INT8,
            (Device::Cpu, _) => Self::FLOAT,
            (Device::Cuda(_) | Device::Mps, _) => Self::GPU,
        }
    }

    /// The sizes besides the usual one.
    pub fn others(self) -> impl Iterator<Item = usize> {
        let sizes = self.sizes.iter().copied();
        sizes.filter(move |&size| size != self.usual)
    }

    /// The smallest efficient batch size of at least `images`.
    pub fn efficient(self, images: usize) -> usize {
        match self.rounding {
            Rounding::Any => images,
            Rounding::Even if images > 1 => images.next_multiple_of(2),
            Rounding::Even => images,
            Rounding::PowerOfTwo => images.next_power_of_two(),
        }
    }

    /// Cuts a batch into parts that run one after the other, the largest first.
    pub fn slices<'a>(self, images: Images<'a>, values_of_one: usize) -> Vec<Images<'a>> {
        let mut slices = Vec::new();
        let mut rest = images;
        while let n @ 1.. = rest.len() / values_of_one.max(1) {
            let whole = self.sizes.iter().copied();
            let whole = whole.filter(|&size| size > 1 && size <= n).max();
            let remaining = match self.rounding {
                Rounding::Even => (n & !1).max(1),
                Rounding::Any | Rounding::PowerOfTwo => n,
            };
            let (slice, others) = rest.split_at(whole.unwrap_or(remaining) * values_of_one);
            slices.push(slice);
            rest = others;
        }
        slices
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(batches: Batches, images: usize) -> Vec<usize> {
        let pixels = vec![0; 3 * images];
        let slices = batches.slices(Images::Rgb8(&pixels), 3);
        slices.into_iter().map(|slice| slice.len() / 3).collect()
    }

    #[test]
    fn batches_are_cut_into_fast_sizes() {
        assert_eq!(cut(Batches::FLOAT, 21), [8, 8, 4, 1]);
        assert_eq!(cut(Batches::INT8, 21), [16, 4, 1]);
        assert_eq!(cut(Batches::FLOAT, 1), [1]);
        assert_eq!(cut(Batches::GPU, 300), [128, 128, 44]);
        assert_eq!(cut(Batches::ANY, 5), [5]);
        assert!(cut(Batches::FLOAT, 0).is_empty());
    }

    #[test]
    fn batches_are_filled_up_to_efficient_sizes() {
        let rounded = |batches: Batches| [1, 2, 5, 8].map(|images| batches.efficient(images));
        assert_eq!(rounded(Batches::FLOAT), [1, 2, 6, 8]);
        assert_eq!(rounded(Batches::GPU), [1, 2, 8, 8]);
        assert_eq!(rounded(Batches::ANY), [1, 2, 5, 8]);
    }
}
