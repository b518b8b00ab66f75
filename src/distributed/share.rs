//! Which part of a list is a process's own.

use std::ops::Range;

/// A process among those of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    pub rank: usize,
    pub world: usize,
}

impl Share {
    /// All of it.
    pub(crate) const WHOLE: Self = Self { rank: 0, world: 1 };

    /// The process's part of `count` things in a row: parts follow each other by rank, and their sizes
    /// differ by one at most.
    pub(crate) fn of(self, count: usize) -> Range<usize> {
        self.part(count, self.world)
    }

    /// As [`of`](Self::of), for the photos of a training batch: nobody gets a single photo of several, which
    /// has no batch statistics, so that some may get none.
    pub(crate) fn of_batch(self, count: usize) -> Range<usize> {
        self.part(count, (count / 2).clamp(1, self.world))
    }

    fn part(self, count: usize, takers: usize) -> Range<usize> {
        if self.rank >= takers {
            return count..count;
        }
        let (each, more) = (count / takers, count % takers);
        let start = self.rank * each + self.rank.min(more);
        start..start + each + usize::from(self.rank < more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(count: usize, world: usize, of: impl Fn(Share) -> Range<usize>) -> Vec<usize> {
        let parts = (0..world).map(|rank| of(Share { rank, world }));
        let mut end = 0;
        let sizes = parts.map(|part| {
            assert_eq!(part.start, end, "{count} over {world}");
            end = part.end;
            part.len()
        });
        let sizes = sizes.collect();
        assert_eq!(end, count, "{count} over {world}");
        sizes
    }

    #[test]
    fn parts_follow_each_other_and_are_about_equal() {
        assert_eq!(parts(8, 3, |share| share.of(8)), [3, 3, 2]);
        assert_eq!(parts(2, 3, |share| share.of(2)), [1, 1, 0]);
        assert_eq!(parts(0, 2, |share| share.of(0)), [0, 0]);
        assert_eq!(Share::WHOLE.of(5), 0..5);
    }

    #[test]
    fn no_process_trains_on_a_single_photo_of_several() {
        for (count, world) in (1..20).flat_map(|count| (1..6).map(move |world| (count, world))) {
            let sizes = parts(count, world, |share| share.of_batch(count));
            assert!(count == 1 || !sizes.contains(&1), "{sizes:?}");
        }
        assert_eq!(parts(7, 4, |share| share.of_batch(7)), [3, 2, 2, 0]);
        assert_eq!(parts(1, 2, |share| share.of_batch(1)), [1, 0]);
    }
}
