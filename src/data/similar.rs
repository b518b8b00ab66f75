//! Near-duplicates: photos that look the same in files that differ, as thumbnails and copies that
//! were encoded again do.

use std::collections::{BTreeMap, HashMap};

use super::folder::Folder;
use super::photo::Photo;

/// The photos among `indices` that resemble others, in groups: each photo resembles another one of
/// its group. Groups and their photos are in ascending order. A photo without a fingerprint resembles
/// no other.
///
/// A photo is compared with those in its own and the neighbouring cells of a grid, not with all.
pub fn groups(photos: &[Photo], indices: &[usize]) -> Vec<Vec<usize>> {
    let mut cells: HashMap<[i16; 4], Vec<usize>> = HashMap::new();
    let mut forest = Forest::new(indices.len());
    for (at, &index) in indices.iter().enumerate() {
        let Some(fingerprint) = &photos[index].fingerprint else {
            continue;
        };
        let resembles = |other: usize| {
            let other = photos[indices[other]].fingerprint.as_ref();
            other.is_some_and(|other| fingerprint.resembles(other))
        };
        let cell = fingerprint.cell();
        for neighbour in neighbours(cell) {
            for &other in cells.get(&neighbour).into_iter().flatten() {
                if resembles(other) {
                    forest.join(at, other);
                }
            }
        }
        cells.entry(cell).or_default().push(at);
    }
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (at, &index) in indices.iter().enumerate() {
        groups.entry(forest.root(at)).or_default().push(index);
    }
    let mut groups: Vec<Vec<usize>> = groups
        .into_values()
        .filter(|group| group.len() > 1)
        .collect();
    groups.iter_mut().for_each(|group| group.sort_unstable());
    groups.sort_unstable();
    groups
}

/// Two photos that look the same, for people to read.
pub fn pair(folder: &Folder, (one, other): (usize, usize)) -> String {
    let name = |index: usize| folder.shown(&folder.photos[index].path);
    format!("{} ~ {}", name(one), name(other))
}

/// A cell and the 80 around it.
fn neighbours(cell: [i16; 4]) -> impl Iterator<Item = [i16; 4]> {
    (0..81).map(move |n: i16| {
        let [a, b, c, d] = cell;
        [
            a + n % 3 - 1,
            b + n / 3 % 3 - 1,
            c + n / 9 % 3 - 1,
            d + n / 27 - 1,
        ]
    })
}

/// Disjoint sets, each a tree of indices.
struct Forest(Vec<usize>);

impl Forest {
    fn new(size: usize) -> Self {
        Self((0..size).collect())
    }

    fn root(&mut self, mut at: usize) -> usize {
        while self.0[at] != at {
            self.0[at] = self.0[self.0[at]];
            at = self.0[at];
        }
        at
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b);
    }
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};

    use super::*;
    use crate::image::fingerprint::Fingerprint;

    /// Left and right halves of a picture in two shades of grey.
    fn photo(left: u8, right: u8) -> Photo {
        let shade = |x: u32, _| Rgb([if x < 4 { left } else { right }; 3]);
        Photo {
            fingerprint: Some(Fingerprint::of(&RgbImage::from_fn(8, 8, shade))),
            ..Photo::fake(left, 0, None)
        }
    }

    #[test]
    fn photos_are_grouped_directly_or_through_others() {
        let photos = [
            photo(10, 200),
            photo(200, 10),
            photo(14, 200),
            photo(10, 150),
            photo(18, 200),
            photo(200, 12),
        ];
        let resemble = |a: usize, b: usize| groups(&photos, &[a, b]) == [[a.min(b), a.max(b)]];
        assert!(resemble(0, 2) && resemble(2, 4) && !resemble(0, 4));
        let all = [5, 4, 3, 2, 1, 0];
        assert_eq!(groups(&photos, &all), [vec![0, 2, 4], vec![1, 5]]);
        assert_eq!(groups(&photos, &[0, 1, 3, 4]), [[0; 0]; 0]);
    }

    #[test]
    fn the_grid_finds_what_comparing_all_pairs_finds() {
        // Close enough to each other that cells have to be crossed.
        let shades = (0..150u32).map(|n| ((n * 37) % 100 + 20, (n * n * 13) % 120 + 130));
        let photos: Vec<Photo> = shades.map(|(a, b)| photo(a as u8, b as u8)).collect();
        let all: Vec<usize> = (0..photos.len()).collect();
        let mut forest = Forest::new(photos.len());
        for a in &all {
            for b in 0..*a {
                let [a_print, b_print] = [*a, b].map(|at| photos[at].fingerprint.as_ref().unwrap());
                if a_print.resembles(b_print) {
                    forest.join(*a, b);
                }
            }
        }
        let found = groups(&photos, &all);
        for group in &found {
            assert!(
                group
                    .iter()
                    .all(|&index| forest.root(index) == forest.root(group[0]))
            );
        }
        let roots: std::collections::BTreeSet<usize> =
            all.iter().map(|&at| forest.root(at)).collect();
        let single = photos.len() - found.iter().map(Vec::len).sum::<usize>();
        assert_eq!(found.len() + single, roots.len());
        assert!(found.len() > 1);
    }
}
