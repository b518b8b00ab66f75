//! The sample set: complete, reproducible, without duplicates, and told apart by shape alone.

use std::collections::HashSet;
use std::path::Path;

use flowers::error::exit_code;
use flowers::progress::{Progress, Silent};
use flowers::sample::{KINDS, SampleSet, draw, write};
use image::RgbImage;
use rayon::prelude::*;

const SMALL: SampleSet = SampleSet {
    classes: 10,
    per_class: 3,
    size: 64,
    seed: 7,
};

/// Path below `dir` and bytes of every file.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = walkdir::WalkDir::new(dir)
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| {
            let name = entry.path().strip_prefix(dir).unwrap();
            let bytes = std::fs::read(entry.path()).unwrap();
            (name.to_str().unwrap().to_owned(), bytes)
        })
        .collect();
    files.sort();
    files
}

#[test]
fn a_set_is_complete_and_decodes_to_its_size() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("new/set");
    write(&SMALL, &dir, &Silent).unwrap();
    let files = files(&dir);
    let mut expected: Vec<String> = KINDS
        .iter()
        .flat_map(|kind| (1..=3).map(|i| format!("{0}/{0}-000{i}.jpg", kind.name)))
        .collect();
    expected.sort();
    let names: Vec<_> = files.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names, expected);
    for (name, bytes) in &files {
        assert_eq!(
            image::guess_format(bytes).unwrap(),
            image::ImageFormat::Jpeg
        );
        let picture = image::load_from_memory(bytes).unwrap();
        assert_eq!((picture.width(), picture.height()), (64, 64), "{name}");
    }
    let siblings = std::fs::read_dir(dir.parent().unwrap()).unwrap().count();
    assert_eq!(siblings, 1, "nothing temporary is left");
    let distinct: HashSet<_> = files.iter().map(|(_, bytes)| bytes).collect();
    assert_eq!(distinct.len(), files.len(), "no two files are the same");
}

#[test]
fn the_seed_decides_every_byte() {
    let parent = tempfile::tempdir().unwrap();
    let [first, again, other] = ["first", "again", "other"].map(|name| parent.path().join(name));
    let set = SampleSet {
        per_class: 1,
        ..SMALL
    };
    write(&set, &first, &Silent).unwrap();
    write(&set, &again, &Silent).unwrap();
    write(&SampleSet { seed: 8, ..set }, &other, &Silent).unwrap();
    let (first, again, other) = (files(&first), files(&again), files(&other));
    assert_eq!(first, again);
    assert!(
        first
            .iter()
            .zip(&other)
            .all(|(a, b)| a.0 == b.0 && a.1 != b.1)
    );
}

/// A larger set only adds pictures: those of a smaller one stay.
#[test]
fn a_picture_does_not_depend_on_the_set_around_it() {
    let parent = tempfile::tempdir().unwrap();
    let [small, large] = ["small", "large"].map(|name| parent.path().join(name));
    let few = SampleSet {
        classes: 2,
        per_class: 1,
        ..SMALL
    };
    write(&few, &small, &Silent).unwrap();
    write(
        &SampleSet {
            classes: 3,
            per_class: 2,
            ..SMALL
        },
        &large,
        &Silent,
    )
    .unwrap();
    let large = files(&large);
    assert_eq!(large.len(), 6);
    assert!(files(&small).iter().all(|file| large.contains(file)));
}

#[test]
fn a_folder_that_holds_anything_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join("kept.txt");
    std::fs::write(&kept, "mine").unwrap();
    for taken in [dir.path(), &kept] {
        let refused = write(&SMALL, taken, &Silent).unwrap_err();
        assert_eq!(exit_code(&refused), 2);
        let message = format!("{refused:#}");
        assert!(message.contains("choose a new folder"), "{message}");
        assert!(message.contains(taken.to_str().unwrap()), "{message}");
    }
    assert_eq!(files(dir.path()), [("kept.txt".into(), b"mine".to_vec())]);
}

#[test]
fn an_empty_folder_is_filled() {
    let dir = tempfile::tempdir().unwrap();
    let set = SampleSet {
        classes: 2,
        per_class: 1,
        ..SMALL
    };
    write(&set, dir.path(), &Silent).unwrap();
    assert_eq!(files(dir.path()).len(), 2);
}

#[test]
fn numbers_out_of_range_are_refused_with_the_range() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("set");
    for (set, range) in [
        (
            SampleSet {
                classes: 1,
                ..SMALL
            },
            "from 2 to 10",
        ),
        (
            SampleSet {
                classes: 11,
                ..SMALL
            },
            "from 2 to 10",
        ),
        (
            SampleSet {
                per_class: 0,
                ..SMALL
            },
            "from 1 to",
        ),
        (SampleSet { size: 31, ..SMALL }, "from 32 to 2048"),
        (
            SampleSet {
                size: 2049,
                ..SMALL
            },
            "from 32 to 2048",
        ),
    ] {
        let refused = write(&set, &dir, &Silent).unwrap_err();
        assert_eq!(exit_code(&refused), 2);
        assert!(refused.to_string().contains(range), "{refused}");
    }
    assert!(!dir.exists());
}

#[cfg(unix)]
#[test]
fn a_link_to_an_empty_folder_is_followed() {
    let parent = tempfile::tempdir().unwrap();
    let (folder, link) = (parent.path().join("folder"), parent.path().join("link"));
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(&folder, &link).unwrap();
    let set = SampleSet {
        classes: 2,
        per_class: 1,
        ..SMALL
    };
    write(&set, &link, &Silent).unwrap();
    assert_eq!(files(&folder).len(), 2);
    assert!(link.is_symlink());
}

#[test]
fn a_folder_without_a_name_is_refused() {
    for dir in ["/", "..", "."] {
        let refused = write(&SMALL, Path::new(dir), &Silent).unwrap_err();
        assert_eq!(exit_code(&refused), 2, "{dir}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(60))]
    #[test]
    fn every_picture_has_its_size_and_is_no_flat_field(
        kind in 0..KINDS.len(),
        seed: u64,
        index in 0..1_000_000usize,
        size in 1..72u32,
    ) {
        let picture = draw(&KINDS[kind], seed, index, size);
        proptest::prop_assert_eq!(picture.dimensions(), (size, size));
        let shades: HashSet<_> = picture.pixels().map(|pixel| pixel.0).collect();
        proptest::prop_assert!(shades.len() as u32 >= size);
    }
}

/// Stands in for an interruption: the folder is filled by someone else while pictures are drawn.
struct Meddler<'a>(&'a Path);

impl Progress for Meddler<'_> {
    fn begin(&self, _what: &str, _total: u64) {
        std::fs::create_dir(self.0).unwrap();
        std::fs::write(self.0.join("theirs"), "theirs").unwrap();
    }
    fn advance(&self, _units: u64) {}
    fn finish(&self) {}
}

#[test]
fn a_set_that_can_not_be_put_in_place_leaves_nothing_behind() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("set");
    let set = SampleSet {
        classes: 2,
        per_class: 1,
        ..SMALL
    };
    let failed = write(&set, &dir, &Meddler(&dir)).unwrap_err();
    assert_eq!(exit_code(&failed), 4);
    assert_eq!(
        files(parent.path()),
        [("set/theirs".into(), b"theirs".to_vec())]
    );
    assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 1);
}

/// Shares of the 8x8x8 cells of RGB space, in 0..=1 and summing to 1.
fn histogram(picture: &RgbImage) -> Vec<f32> {
    let mut cells = vec![0.0; 512];
    let share = 1.0 / (picture.width() * picture.height()) as f32;
    for pixel in picture.pixels() {
        let [r, g, b] = pixel.0.map(|value| usize::from(value >> 5));
        cells[r * 64 + g * 8 + b] += share;
    }
    cells
}

fn nearest<'a>(
    histogram: &[f32],
    references: impl Iterator<Item = (usize, &'a Vec<f32>)>,
) -> usize {
    let distance = |other: &[f32]| -> f32 {
        histogram
            .iter()
            .zip(other)
            .map(|(a, b)| (a.sqrt() - b.sqrt()).powi(2))
            .sum()
    };
    references
        .min_by(|a, b| distance(a.1).total_cmp(&distance(b.1)))
        .unwrap()
        .0
}

/// Colour alone must not tell the kinds apart: neither the nearest class mean of the colour
/// histograms nor the nearest single histogram reaches 75%. Chance is 10%.
#[test]
fn a_colour_histogram_can_not_classify_the_kinds() {
    const TRAIN: usize = 20;
    const TEST: usize = 10;
    let histograms: Vec<Vec<Vec<f32>>> = KINDS
        .par_iter()
        .map(|kind| {
            (0..TRAIN + TEST)
                .map(|i| histogram(&draw(kind, 0, i, 96)))
                .collect()
        })
        .collect();
    let means: Vec<Vec<f32>> = histograms
        .iter()
        .map(|of_kind| {
            let sum = |cell| of_kind[..TRAIN].iter().map(|h| h[cell]).sum::<f32>();
            (0..512).map(|cell| sum(cell) / TRAIN as f32).collect()
        })
        .collect();
    let (mut by_mean, mut by_neighbour) = (0, 0);
    for (class, of_kind) in histograms.iter().enumerate() {
        for histogram in &of_kind[TRAIN..] {
            by_mean += usize::from(nearest(histogram, means.iter().enumerate()) == class);
            let neighbours = histograms
                .iter()
                .enumerate()
                .flat_map(|(class, all)| all[..TRAIN].iter().map(move |h| (class, h)));
            by_neighbour += usize::from(nearest(histogram, neighbours) == class);
        }
    }
    for (what, right) in [("class mean", by_mean), ("neighbour", by_neighbour)] {
        let accuracy = right as f32 / (TEST * KINDS.len()) as f32;
        println!("nearest {what}: {accuracy:.3}");
        assert!(accuracy < 0.75, "nearest {what}: {accuracy}");
    }
}
