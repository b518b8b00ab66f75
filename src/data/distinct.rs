//! Exact duplicates: which copy of a photo is used, and which ones are left out and why.

use std::collections::BTreeMap;

use super::content::Hash;
use super::photo::{Part, Photo};

/// A photo that no part of the split uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeftOut {
    /// Index into the folder's photos.
    pub photo: usize,
    pub why: Why,
}

/// `of` and `with` are indices into the folder's photos.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The same bytes in the same class and part.
    Duplicate { of: usize },
    /// The same bytes in a part that is evaluated: training on them would be cheating.
    Leak { into: usize },
    /// The same bytes in another class: nobody knows which label is right, so no copy is used.
    Conflict { with: usize },
    /// Not listed in the split manifest that is followed.
    Unlisted,
}

/// The photos of a folder, identical ones counted once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distinct {
    /// Indices into the folder's photos, ascending.
    pub kept: Vec<usize>,
    /// Ascending.
    pub left_out: Vec<LeftOut>,
}

impl Distinct {
    /// Keeps one photo of each content: of copies in several parts the one in test, else the one
    /// in val; of several there the first by path. Copies with differing classes are all left out.
    pub fn of(photos: &[Photo]) -> Self {
        let mut copies: BTreeMap<&Hash, Vec<usize>> = BTreeMap::new();
        for (index, photo) in photos.iter().enumerate() {
            copies.entry(&photo.hash).or_default().push(index);
        }
        let mut kept = Vec::new();
        let mut left_out = Vec::new();
        for group in copies.values() {
            resolve(photos, group, &mut kept, &mut left_out);
        }
        kept.sort_unstable();
        left_out.sort_unstable_by_key(|out| out.photo);
        Self { kept, left_out }
    }

    /// Photos kept per class and part: `counts[class]` holds train, val, test, and those whose
    /// part is still open.
    pub fn counts(&self, photos: &[Photo], classes: usize) -> Vec<[usize; 4]> {
        let mut counts = vec![[0; 4]; classes];
        for &index in &self.kept {
            let photo = &photos[index];
            counts[photo.class][photo.part.map_or(3, |part| part as usize)] += 1;
        }
        counts
    }

    /// The parts that the folder's layout gives photos to.
    pub fn has(&self, photos: &[Photo], part: Part) -> bool {
        self.kept
            .iter()
            .any(|&index| photos[index].part == Some(part))
    }
}

fn resolve(photos: &[Photo], group: &[usize], kept: &mut Vec<usize>, left_out: &mut Vec<LeftOut>) {
    let other_class = |index: usize| {
        group
            .iter()
            .copied()
            .find(|&other| photos[other].class != photos[index].class)
    };
    let Some(&keeper) = group
        .iter()
        .max_by_key(|&&index| (photos[index].part, std::cmp::Reverse(index)))
    else {
        return;
    };
    for &photo in group {
        let why = if let Some(with) = other_class(photo) {
            Why::Conflict { with }
        } else if photo == keeper {
            kept.push(photo);
            continue;
        } else if photos[photo].part == photos[keeper].part {
            Why::Duplicate { of: keeper }
        } else {
            Why::Leak { into: keeper }
        };
        left_out.push(LeftOut { photo, why });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn photo(content: u8, class: usize, part: Option<Part>) -> Photo {
        Photo::fake(content, class, part)
    }

    #[test]
    fn the_first_of_equal_copies_is_kept() {
        let photos = [photo(2, 0, None), photo(1, 0, None), photo(2, 0, None)];
        let distinct = Distinct::of(&photos);
        assert_eq!(distinct.kept, [0, 1]);
        let why = Why::Duplicate { of: 0 };
        assert_eq!(distinct.left_out, [LeftOut { photo: 2, why }]);
    }

    #[test]
    fn a_copy_in_train_yields_to_the_one_in_test() {
        let photos = [
            photo(1, 0, Some(Part::Train)),
            photo(1, 0, Some(Part::Test)),
            photo(1, 0, Some(Part::Val)),
        ];
        let distinct = Distinct::of(&photos);
        assert_eq!(distinct.kept, [1]);
        let why = Why::Leak { into: 1 };
        assert!(distinct.left_out.iter().all(|out| out.why == why));
    }

    #[test]
    fn copies_with_two_labels_are_all_left_out() {
        let photos = [photo(1, 0, None), photo(1, 1, None), photo(3, 1, None)];
        let distinct = Distinct::of(&photos);
        assert_eq!(distinct.kept, [2]);
        assert_eq!(distinct.left_out[0].why, Why::Conflict { with: 1 });
        assert_eq!(distinct.left_out[1].why, Why::Conflict { with: 0 });
        assert_eq!(distinct.counts(&photos, 2), [[0; 4], [0, 0, 0, 1]]);
    }
}
