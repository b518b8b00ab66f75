//! Photos that look the same in files that differ: found, reported, and kept in one part.

use std::collections::BTreeSet;

use flowers::data::check::{Report, check};
use flowers::data::{Part, Split, SplitOptions, similar};
use image::imageops::{FilterType, resize};

use super::{Set, scene};

impl Set {
    /// A photo of 240 x 200 pixels, and a thumbnail of it that is a JPEG.
    fn with_thumbnail(&self, name: &str, thumbnail: &str, content: u32) {
        let photo = scene(content, 240, 200);
        photo.save(self.path(name)).unwrap();
        let small = resize(&photo, 96, 80, FilterType::Lanczos3);
        small.save(self.path(thumbnail)).unwrap();
    }
}

fn files(report: &Report, kind: &str) -> Vec<String> {
    let mut findings = report.findings.iter();
    let found = findings.find(|finding| finding.kind == kind);
    found.map_or_else(Vec::new, |finding| finding.files.clone())
}

#[test]
fn thumbnails_in_other_parts_and_classes_are_reported_with_their_originals() {
    let set = Set::new();
    for content in 0..4 {
        set.photo(format!("train/a/{content}.png"), content);
        set.photo(format!("train/b/{content}.png"), 10 + content);
        set.photo(format!("test/a/{content}.png"), 20 + content);
        set.photo(format!("test/b/{content}.png"), 30 + content);
    }
    set.with_thumbnail("test/a/leak.png", "train/a/leak_small.jpg", 50);
    set.with_thumbnail("test/b/odd.png", "test/a/odd_small.jpg", 51);
    set.with_thumbnail("train/b/twin.png", "train/b/twin_small.jpg", 52);
    let folder = set.index();
    let report = check(&folder, 0.01);
    assert!(report.trainable);
    let leaks = files(&report, "near-leak");
    assert_eq!(leaks, ["train/a/leak_small.jpg ~ test/a/leak.png"]);
    let conflicts = files(&report, "near-conflict");
    assert_eq!(conflicts, ["test/b/odd.png ~ test/a/odd_small.jpg"]);
    let copies = files(&report, "near-duplicate");
    assert_eq!(copies, ["train/b/twin_small.jpg ~ train/b/twin.png"]);

    let split = Split::make(&folder, &SplitOptions::default()).unwrap();
    let warnings = split.warnings(&folder).join("\n");
    assert!(
        warnings.contains("1 training photo looks the same"),
        "{warnings}"
    );
    assert!(warnings.contains("leak_small.jpg ~ "), "{warnings}");
}

#[test]
fn photos_that_look_the_same_are_in_one_part() {
    let set = Set::new();
    for content in 0..12 {
        for (class, first) in [("a", 0), ("b", 100)] {
            let name = format!("{class}/{content}");
            set.with_thumbnail(
                &format!("{name}.png"),
                &format!("{name}.jpg"),
                first + content,
            );
        }
    }
    let folder = set.scan().unwrap();
    for seed in 0..4 {
        let options = SplitOptions {
            seed,
            ..SplitOptions::default()
        };
        let split = Split::make(&folder, &options).unwrap();
        for class in 0..2 {
            assert_eq!(split.counts(&folder, class), [18, 2, 4], "whole pairs");
        }
        for part in Part::ALL {
            let stem = |place: &usize| folder.photos[*place].path.with_extension("");
            let stems: BTreeSet<_> = split.part(part).iter().map(stem).collect();
            assert_eq!(2 * stems.len(), split.part(part).len());
        }
        assert_eq!(split.warnings(&folder), [""; 0]);
    }
}

#[test]
fn a_class_of_one_look_is_cut_by_the_shares_all_the_same() {
    let set = Set::new();
    for (class, content) in [("a", 0), ("b", 100)] {
        let photo = scene(content, 240, 200);
        for step in 0..10 {
            let smaller = resize(&photo, 96 + 6 * step, 80 + 5 * step, FilterType::Lanczos3);
            smaller
                .save(set.path(format!("{class}/{step}.png")))
                .unwrap();
        }
    }
    let folder = set.scan().unwrap();
    let options = SplitOptions {
        val: 0.3,
        test: 0.1,
        seed: 0,
    };
    let split = Split::make(&folder, &options).unwrap();
    assert_eq!(
        [0, 1].map(|class| split.counts(&folder, class)),
        [[6, 3, 1]; 2]
    );
}

#[test]
fn drawn_pictures_are_told_apart() {
    use flowers::data::{Folder, ScanOptions};
    use flowers::progress::Silent;
    use flowers::sample::{SampleSet, write};
    let place = tempfile::tempdir().unwrap();
    let set = SampleSet {
        classes: 10,
        per_class: 20,
        size: 64,
        seed: 0,
    };
    let root = place.path().join("drawn");
    write(&set, &root, &Silent).unwrap();
    let folder = Folder::scan(&(*root).into(), &ScanOptions::default(), &Silent).unwrap();
    let all: Vec<usize> = (0..folder.photos.len()).collect();
    assert_eq!(similar::groups(&folder.photos, &all), [[0; 0]; 0]);
}
