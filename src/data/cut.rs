//! Cutting the photos of a class into parts.

use std::collections::BTreeMap;

use super::content::sha256;
use super::distinct::Distinct;
use super::folder::Folder;
use super::photo::{Part, Photo};
use super::similar;
use crate::error::{Error, Result};

/// How to cut the parts that a folder doesn't come with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SplitOptions {
    /// Share of each class for validation, above 0 and below 1.
    pub val: f64,
    /// Share of each class for the test, from 0 and below 1; 0 leaves the test part empty.
    pub test: f64,
    pub seed: u64,
}

impl Default for SplitOptions {
    fn default() -> Self {
        Self {
            val: 0.15,
            test: 0.15,
            seed: 0,
        }
    }
}

impl SplitOptions {
    /// Refuses fractions that leave nothing to train or to validate on.
    pub(super) fn validate(&self) -> Result<()> {
        let Self { val, test, .. } = *self;
        if val > 0.0 && test >= 0.0 && val + test < 1.0 {
            return Ok(());
        }
        let message = format!(
            "val {val} and test {test} are not valid fractions: val must be above 0, test at \
             least 0, and their sum below 1"
        );
        Err(Error::Usage(message).into())
    }
}

/// The shares of a class's photos that become val and test; 0 for a part that is given.
pub(super) struct Cuts {
    val: f64,
    test: f64,
}

impl Cuts {
    pub(super) fn of(folder: &Folder, distinct: &Distinct, options: &SplitOptions) -> Self {
        let share = |part, share| {
            if distinct.has(&folder.photos, part) {
                0.0
            } else {
                share
            }
        };
        Self {
            val: share(Part::Val, options.val),
            test: share(Part::Test, options.test),
        }
    }

    /// The fewest photos of a class that give one to each part.
    pub(super) fn needed(&self) -> usize {
        1 + usize::from(self.val > 0.0) + usize::from(self.test > 0.0)
    }

    /// Numbers of test and val photos out of `n`, where `n` is at least [`Cuts::needed`].
    ///
    /// The two borders are rounded, not the two sizes: so one photo more moves a border by one
    /// at most.
    fn sizes(&self, n: usize) -> (usize, usize) {
        let border = |share: f64| (n as f64 * share).round() as usize;
        let least = |share: f64| usize::from(share > 0.0);
        let (least_test, least_val) = (least(self.test), least(self.val));
        let test = border(self.test)
            .max(least_test)
            .min(n.saturating_sub(1 + least_val));
        let cut = border(self.test + self.val);
        let cut = cut.max(test + least_val).min(n.saturating_sub(1));
        (test, cut.saturating_sub(test))
    }
}

/// The photos of train, val and test, each sorted by class and content.
pub(super) fn parts(
    folder: &Folder,
    distinct: &Distinct,
    options: &SplitOptions,
) -> [Vec<usize>; 3] {
    let photos = &folder.photos;
    let cuts = Cuts::of(folder, distinct, options);
    let seed = options.seed.to_le_bytes();
    let mut parts = [const { Vec::new() }; 3];
    let mut pools = vec![Vec::new(); folder.labels.len()];
    for &index in &distinct.kept {
        match photos[index].part {
            Some(part @ (Part::Val | Part::Test)) => parts[part as usize].push(index),
            Some(Part::Train) | None => pools[photos[index].class].push(index),
        }
    }
    for mut pool in pools {
        pool.sort_by_cached_key(|&index| sha256(&[&seed, &photos[index].hash]));
        let sizes = cuts.sizes(pool.len());
        let pieces = grouped(photos, &pool);
        let pieces = assigned(&pieces, sizes).unwrap_or_else(|| {
            let (test, val) = sizes;
            let (test, rest) = pool.split_at(test);
            let (val, train) = rest.split_at(val);
            [train, val, test].map(<[usize]>::to_vec)
        });
        for (part, piece) in parts.iter_mut().zip(pieces) {
            part.extend(piece);
        }
    }
    for part in &mut parts {
        part.sort_unstable_by_key(|&index| (photos[index].class, photos[index].hash));
    }
    parts
}

/// A pool in pieces: near-duplicates are one, in the position of the first, every other photo is one.
fn grouped(photos: &[Photo], pool: &[usize]) -> Vec<Vec<usize>> {
    let mut first = BTreeMap::new();
    for group in similar::groups(photos, pool) {
        first.extend(group.iter().map(|&index| (index, group[0])));
    }
    let mut pieces: Vec<Vec<usize>> = Vec::new();
    let mut begun = BTreeMap::new();
    for &index in pool {
        let at = *begun
            .entry(first.get(&index).copied().unwrap_or(index))
            .or_insert(pieces.len());
        match pieces.get_mut(at) {
            Some(piece) => piece.push(index),
            None => pieces.push(vec![index]),
        }
    }
    pieces
}

/// The photos of train, val and test when whole pieces are assigned: each to the first of test and
/// val that has room for it, else to train. `sizes` are those of test and val; a part that would
/// get nothing takes the smallest piece of another one, of train if that has several. `None` when
/// there are not pieces enough for that.
fn assigned(pieces: &[Vec<usize>], sizes: (usize, usize)) -> Option<[Vec<usize>; 3]> {
    let wanted = [(Part::Test, sizes.0), (Part::Val, sizes.1)];
    let mut parts: [Vec<&[usize]>; 3] = [const { Vec::new() }; 3];
    for piece in pieces {
        let has_room = |(part, size): &&(Part, usize)| {
            let taken = parts[*part as usize].iter().map(|piece| piece.len());
            taken.sum::<usize>() + piece.len() <= *size
        };
        let part = wanted.iter().find(has_room);
        let part = part.map_or(Part::Train, |&(part, _)| part);
        parts[part as usize].push(piece);
    }
    for (part, size) in wanted {
        if size > 0 && parts[part as usize].is_empty() {
            let giver = [Part::Train, Part::Test, Part::Val]
                .into_iter()
                .find(|&giver| parts[giver as usize].len() > 1)?;
            let giver = &mut parts[giver as usize];
            let sizes = giver.iter().enumerate();
            let (smallest, _) = sizes.min_by_key(|(_, piece)| piece.len())?;
            let piece = giver.remove(smallest);
            parts[part as usize].push(piece);
        }
    }
    Some(parts.map(|pieces| pieces.concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sizes_follow_the_shares_and_leave_one_for_each_part() {
        let cuts = |val, test| Cuts { val, test };
        assert_eq!(cuts(0.15, 0.15).sizes(100), (15, 15));
        assert_eq!(cuts(0.15, 0.15).sizes(10), (2, 1));
        assert_eq!(cuts(0.15, 0.15).sizes(3), (1, 1));
        assert_eq!(cuts(0.15, 0.0).sizes(10), (0, 2));
        assert_eq!(cuts(0.1, 0.8).sizes(3), (1, 1));
        assert_eq!(cuts(0.0, 0.0).sizes(1), (0, 0));
        assert_eq!(cuts(0.3, 0.3).needed(), 3);
        assert_eq!(cuts(0.3, 0.0).needed(), 2);
    }

    #[test]
    fn pieces_stay_whole_and_every_part_gets_one() {
        let pieces = |sizes: &[usize]| -> Vec<Vec<usize>> {
            let numbered = sizes.iter().enumerate();
            numbered.map(|(at, &size)| vec![at; size]).collect()
        };
        let parts = |of: &[usize], sizes| assigned(&pieces(of), sizes);
        // Single photos are assigned in their order: test, val, train.
        let single = [vec![3, 4, 5], vec![2], vec![0, 1]];
        assert_eq!(parts(&[1; 6], (2, 1)), Some(single));
        // The second piece has no room in test, and the third fills it.
        let skipped = [vec![1, 1, 1, 4], vec![3], vec![0, 2]];
        assert_eq!(parts(&[1, 3, 1, 1, 1], (2, 1)), Some(skipped));
        // None has room, so test and val get the smallest ones.
        let least = [vec![0, 0, 0], vec![2, 2], vec![1, 1]];
        assert_eq!(parts(&[3, 2, 2], (1, 1)), Some(least));
        // Train has nothing to spare, but test has.
        let spared = [vec![0; 9], vec![1], vec![2, 3]];
        assert_eq!(parts(&[9, 1, 1, 1], (3, 2)), Some(spared));
        assert_eq!(parts(&[9, 1], (1, 1)), None);
        assert_eq!(parts(&[9, 1], (0, 1)), Some([vec![0; 9], vec![1], vec![]]));
    }

    #[test]
    fn shares_that_leave_nothing_are_refused() {
        for (val, test) in [(0.0, 0.1), (0.5, 0.5), (0.1, -0.1), (f64::NAN, 0.1)] {
            let options = SplitOptions { val, test, seed: 0 };
            let error = options.validate().unwrap_err();
            assert_eq!(crate::error::exit_code(&error), 2);
        }
        assert!(SplitOptions::default().validate().is_ok());
    }
}
