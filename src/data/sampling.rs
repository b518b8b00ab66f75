//! Samples of a data set that have their share of every class.

use std::collections::BTreeMap;

use super::content::sha256;
use super::photo::Photo;

/// A stratified sample: at most `count` of the indices, the same share of each class. The choice
/// depends on the photos' content alone.
pub fn stratified(photos: &[Photo], indices: &[usize], count: usize) -> Vec<usize> {
    let mut classes: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for &index in indices {
        classes.entry(photos[index].class).or_default().push(index);
    }
    let mut ranked: Vec<(f64, usize)> = Vec::with_capacity(indices.len());
    for mut class in classes.into_values() {
        class.sort_by_cached_key(|&index| sha256(&[b"sample", &photos[index].hash]));
        let size = class.len() as f64;
        let ranks = class.into_iter().enumerate();
        ranked.extend(ranks.map(|(rank, index)| ((rank as f64 + 0.5) / size, index)));
    }
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    ranked
        .into_iter()
        .take(count)
        .map(|(_, index)| index)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_its_share_of_every_class() {
        let photo =
            |content: u8| Photo::fake(content, usize::from(content.is_multiple_of(4)), None);
        let photos: Vec<Photo> = (0..40).map(photo).collect();
        let all: Vec<usize> = (0..40).collect();
        let sample = stratified(&photos, &all, 20);
        let rare = sample.iter().filter(|&&index| photos[index].class == 1);
        assert_eq!((sample.len(), rare.count()), (20, 5));
        assert_eq!(sample[..8], stratified(&photos, &all, 8));
        let mut backwards = all.clone();
        backwards.reverse();
        assert_eq!(sample, stratified(&photos, &backwards, 20));
        let mut whole = stratified(&photos, &all, 99);
        whole.sort_unstable();
        assert_eq!(whole, all);
    }
}
