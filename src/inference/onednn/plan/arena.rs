//! Which values lie where: values that are never needed at the same time share memory.

use std::ops::RangeInclusive;

/// Values begin at cache lines.
const ALIGNMENT: usize = 64;

/// Memory that some steps of a plan need.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Region {
    /// In bytes.
    pub(super) size: usize,
    /// The steps from the first that writes it to the last that reads it.
    pub(super) steps: RangeInclusive<usize>,
}

impl Region {
    fn meets(&self, other: &Self) -> bool {
        self.steps.start() <= other.steps.end() && other.steps.start() <= self.steps.end()
    }
}

/// The offset of each region, and how much memory they take together: the largest first, each at the lowest
/// place that is free while it is needed (Pisarchyk and Lee, 2020, "Efficient Memory Management for Deep
/// Neural Net Inference").
pub(super) fn place(regions: &[Region]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..regions.len()).collect();
    order.sort_by_key(|&at| std::cmp::Reverse(regions[at].size));
    let mut offsets = vec![0; regions.len()];
    let mut placed: Vec<usize> = Vec::new();
    let mut total = 0;
    for at in order {
        let region = &regions[at];
        let size = region.size.next_multiple_of(ALIGNMENT);
        let mut taken: Vec<_> = placed
            .iter()
            .filter(|&&other| regions[other].meets(region))
            .map(|&other| {
                let end = offsets[other] + regions[other].size.next_multiple_of(ALIGNMENT);
                offsets[other]..end
            })
            .collect();
        taken.sort_by_key(|range| range.start);
        let mut offset = 0;
        for range in taken {
            if range.start >= offset + size {
                break;
            }
            offset = offset.max(range.end);
        }
        offsets[at] = offset;
        total = total.max(offset + size);
        placed.push(at);
    }
    (offsets, total)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_in_a_row_take_turns() {
        let region = |size, steps| Region { size, steps };
        let regions = [region(100, 0..=1), region(100, 1..=2), region(100, 2..=3)];
        let (offsets, total) = place(&regions);
        assert_eq!(offsets, [0, 128, 0]);
        assert_eq!(total, 256);
    }

    proptest! {
        #[test]
        fn values_that_live_together_never_overlap(
            regions in prop::collection::vec((1_usize..500, 0_usize..20, 0_usize..6), 0..40)
        ) {
            let regions: Vec<Region> = regions
                .into_iter()
                .map(|(size, first, more)| Region { size, steps: first..=first + more })
                .collect();
            let (offsets, total) = place(&regions);
            for (at, region) in regions.iter().enumerate() {
                prop_assert!(offsets[at] + region.size <= total);
                prop_assert_eq!(offsets[at] % ALIGNMENT, 0);
                for (other, second) in regions.iter().enumerate().skip(at + 1) {
                    let apart = offsets[at] + region.size <= offsets[other]
                        || offsets[other] + second.size <= offsets[at];
                    prop_assert!(apart || !region.meets(second));
                }
            }
        }
    }
}
