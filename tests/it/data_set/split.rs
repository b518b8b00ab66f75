//! The split: shares, duplicates, given parts, the manifest, and properties on random sets.

use std::collections::{BTreeMap, BTreeSet};

use flowers::cli::data::{MaxBad, SplitArgs};
use flowers::commands::data;
use flowers::commands::output::Output;
use flowers::data::distinct::Why;
use flowers::data::{
    Folder, Layout, Part, Photo, Skipped, Source, Split, SplitManifest, SplitOptions,
};
use flowers::error::Result;
use flowers::labels::Labels;
use flowers::progress::Silent;
use proptest::prelude::*;
use serde_json::Value;

use super::{Set, refused};

fn split(set: &Set) -> (Folder, Result<Split>) {
    let folder = set.scan().unwrap();
    let split = Split::make(&folder, &SplitOptions::default());
    (folder, split)
}

fn names(folder: &Folder, places: &[usize]) -> BTreeSet<String> {
    let name = |&place: &usize| folder.shown(&folder.photos[place].path);
    places.iter().map(name).collect()
}

#[test]
fn given_parts_are_kept_and_val_is_cut_from_train() {
    let set = Set::new();
    for content in 0..20 {
        set.photo(format!("train/a/{content}.png"), content);
        set.photo(format!("train/b/{content}.png"), 100 + content);
    }
    set.photo("test/a/1.png", 50);
    set.photo("test/b/1.png", 150);
    let (folder, made) = split(&set);
    let made = made.unwrap();
    assert_eq!((made.train.len(), made.val.len()), (34, 6));
    let test = names(&folder, &made.test);
    assert_eq!(
        test,
        ["test/a/1.png", "test/b/1.png"].map(String::from).into()
    );
    assert!(
        names(&folder, &made.val)
            .iter()
            .all(|name| name.starts_with("train/"))
    );
}

#[test]
fn a_train_part_alone_is_cut_into_all_three() {
    let set = Set::new();
    for content in 0..10 {
        set.photo(format!("train/a/{content}.png"), content);
        set.photo(format!("train/b/{content}.png"), 100 + content);
    }
    let made = split(&set).1.unwrap();
    assert_eq!(
        (made.train.len(), made.val.len(), made.test.len()),
        (14, 2, 4)
    );
}

#[test]
fn a_photo_in_train_and_test_is_only_tested_on() {
    let set = Set::new();
    for content in 0..4 {
        set.photo(format!("train/a/{content}.png"), content);
        set.photo(format!("train/b/{content}.png"), 100 + content);
    }
    set.photo("test/a/same.png", 3);
    set.photo("test/b/1.png", 150);
    let (folder, made) = split(&set);
    let made = made.unwrap();
    assert!(names(&folder, &made.test).contains("test/a/same.png"));
    assert!(!names(&folder, &made.train).contains("train/a/3.png"));
    assert!(!names(&folder, &made.val).contains("train/a/3.png"));
    let warnings = made.warnings(&folder);
    assert_eq!(
        warnings,
        ["1 left out because val or test has the same file: train/a/3.png"]
    );
}

#[test]
fn duplicates_are_used_once_and_conflicts_never() {
    let set = Set::small();
    set.photo("daisy/z copy.png", 1);
    set.photo("rose/4 too.png", 0);
    let (folder, made) = split(&set);
    let made = made.unwrap();
    let used: BTreeSet<String> = Part::ALL
        .into_iter()
        .flat_map(|part| names(&folder, made.part(part)))
        .collect();
    assert_eq!(used.len(), 9);
    assert!(used.contains("daisy/1.png"));
    assert!(!used.contains("daisy/0.png") && !used.contains("rose/4 too.png"));
    assert_eq!(made.left_out.len(), 3);
    assert_eq!(made.warnings(&folder).len(), 2);
}

#[test]
fn sets_that_cannot_be_split_say_why() {
    let set = Set::small();
    set.photo("violet/1.png", 60);
    set.photo("violet/2.png", 61);
    refused(split(&set).1, 3, &["violet (2)", "needs 3", "add photos"]);

    let set = Set::new();
    for content in 0..4 {
        set.photo(format!("rose/{content}.png"), content);
    }
    refused(split(&set).1, 3, &["only one class, rose"]);

    let set = Set::new();
    set.photo("test/a/1.png", 1);
    set.photo("test/b/1.png", 2);
    refused(split(&set).1, 3, &["no photos to train on"]);
}

#[test]
fn a_manifest_finds_renamed_photos() {
    let set = Set::small();
    let (_, made) = split(&set);
    let made = made.unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let path = elsewhere.path().join("split.json");
    made.manifest.write(&path).unwrap();
    std::fs::rename(set.path("daisy/0.png"), set.path("daisy/zebra.png")).unwrap();
    std::fs::rename(set.path("rose/3.png"), set.path("rose/inner/3.png")).unwrap();
    set.photo("daisy/new.png", 500);
    set.photo("daisy/copy.png", 4);
    let folder = set.scan().unwrap();
    let loaded = Split::load(&path, &folder).unwrap();
    assert_eq!(loaded.manifest, made.manifest);
    for part in Part::ALL {
        let hashes = |entries: &[flowers::data::manifest::Entry]| -> Vec<[u8; 32]> {
            entries.iter().map(|entry| entry.sha256).collect()
        };
        let found: Vec<[u8; 32]> = loaded
            .part(part)
            .iter()
            .map(|&place| folder.photos[place].hash)
            .collect();
        assert_eq!(found, hashes(made.manifest.part(part)));
    }
    let unlisted = loaded
        .left_out
        .iter()
        .filter(|out| out.why == Why::Unlisted);
    assert_eq!(unlisted.count(), 1);
    assert_eq!(loaded.left_out.len(), 2);
}

#[test]
fn a_manifest_that_does_not_fit_is_refused() {
    let set = Set::small();
    let elsewhere = tempfile::tempdir().unwrap();
    let path = elsewhere.path().join("split.json");
    let (_, made) = split(&set);
    made.unwrap().manifest.write(&path).unwrap();

    std::fs::remove_file(set.path("rose/2.png")).unwrap();
    let load = |set: &Set| Split::load(&path, &set.scan().unwrap());
    refused(
        load(&set),
        3,
        &["split.json", "1 of its photos", "rose/2.png"],
    );

    let other = Set::small();
    std::fs::rename(other.root().join("rose"), other.root().join("tulip")).unwrap();
    refused(load(&other), 3, &["lacks rose", "also has tulip"]);
}

#[test]
fn a_broken_or_newer_manifest_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("split.json");
    let read = |text: &str| {
        std::fs::write(&path, text).unwrap();
        SplitManifest::read(&path)
    };
    refused(
        read("{\"schema\": 1,"),
        3,
        &["split.json", "not a split manifest"],
    );
    refused(read("{\"schema\": 1}"), 3, &["missing field"]);
    refused(read("[]"), 3, &["not a split manifest"]);
    refused(
        read("{\"schema\": 2, \"new\": 0}"),
        3,
        &["schema 2", "update flowers"],
    );
    let entry = r#"{"sha256": "12", "class": "a", "file": "a/1"}"#;
    let text = format!(
        r#"{{"schema": 1, "seed": 0, "fractions": {{"val": 0.1, "test": 0.1}},
            "labels": ["a"], "train": [{entry}], "val": [], "test": []}}"#
    );
    refused(read(&text), 3, &["not a SHA-256"]);
    refused(
        SplitManifest::read(&folder.path().join("none")),
        3,
        &["none"],
    );
}

#[test]
fn the_command_writes_the_manifest_and_never_over_a_file() {
    let set = Set::small();
    let elsewhere = tempfile::tempdir().unwrap();
    let run = |out: &str, json| {
        let args = SplitArgs {
            source: set.arguments(),
            out: elsewhere.path().join(out),
            val: 0.2,
            test: 0.2,
            seed: 3,
            bad: MaxBad { max_bad: 0.01 },
            json,
        };
        let mut sink = Vec::new();
        let result = data::split(&args, &mut Output::to(&mut sink, json), &Silent);
        (result, String::from_utf8(sink).unwrap())
    };
    let (result, text) = run("split.json", false);
    result.unwrap();
    assert!(
        text.starts_with("class  train  val  test\ndaisy      3    1     1\n"),
        "{text}"
    );
    assert!(text.contains("total      6    2     2\n"), "{text}");
    let path = elsewhere.path().join("split.json");
    let before = std::fs::read(&path).unwrap();
    assert_eq!(SplitManifest::read(&path).unwrap().seed, 3);

    refused(run("split.json", false).0, 2, &["already exists", "--out"]);
    assert_eq!(std::fs::read(&path).unwrap(), before);

    let (result, text) = run("again.json", true);
    result.unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["classes"][0]["train"], 3);
    assert_eq!(
        json["sha256"],
        SplitManifest::read(&path).unwrap().sha256().unwrap()
    );
    assert_eq!(
        std::fs::read(elsewhere.path().join("again.json")).unwrap(),
        before
    );

    refused(
        run("no/such/folder/split.json", false).0,
        4,
        &["can't write"],
    );
    assert_eq!(set.scan().unwrap().photos.len(), 10);
    assert_eq!(std::fs::read_dir(set.root()).unwrap().count(), 2);
}

/// A folder of `(content, class)` photos that exists in memory only; `salt` changes their names
/// and so their order.
fn in_memory(photos: &[(u16, usize)], classes: usize, salt: u64) -> Folder {
    let mut photos: Vec<Photo> = photos
        .iter()
        .enumerate()
        .map(|(place, &(content, class))| {
            let mut hash = [0; 32];
            hash[..2].copy_from_slice(&content.to_le_bytes());
            let name = (place as u64 + 1).wrapping_mul(salt | 1) % 1_000_003;
            Photo {
                path: format!("/set/{class}/{name}.jpg").into(),
                class,
                hash,
                part: None,
                width: 64,
                height: 64,
                fingerprint: None,
            }
        })
        .collect();
    photos.sort_by(|a, b| a.path.cmp(&b.path));
    Folder {
        source: Source::Folder("/set".into()),
        root: "/set".into(),
        layout: Layout::Classes,
        labels: Labels::new((0..classes).map(|class| class.to_string())).unwrap(),
        photos: photos.into(),
        unreadable: Vec::new(),
        damaged: Vec::new(),
        loose: Vec::new(),
        skipped: Skipped::default(),
        advice: None,
    }
}

/// Contents of each part, class by class.
fn contents(folder: &Folder, split: &Split) -> BTreeMap<[u8; 32], (Part, usize)> {
    let mut contents = BTreeMap::new();
    for part in Part::ALL {
        for &place in split.part(part) {
            let photo = &folder.photos[place];
            let before = contents.insert(photo.hash, (part, photo.class));
            assert_eq!(before, None, "a content is in the split twice");
        }
    }
    contents
}

/// Photos of three classes in which contents repeat, within a class and (rarely) across.
fn photos() -> impl Strategy<Value = Vec<(u16, usize)>> {
    let class = |class: usize| {
        let content = (0u16..150).prop_map(move |content| content + 140 * class as u16);
        prop::collection::vec((content, Just(class)), 12..60)
    };
    (class(0), class(1), class(2)).prop_map(|(a, b, c)| [a, b, c].concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_split_is_disjoint_complete_and_stratified(
        photos in photos(), seed: u64, val in 0.05..0.4, test in 0.05..0.4,
    ) {
        let folder = in_memory(&photos, 3, seed);
        let options = SplitOptions { val, test, seed };
        let Ok(split) = Split::make(&folder, &options) else {
            return Err(TestCaseError::reject("a class became too small"));
        };
        let contents = contents(&folder, &split);
        let used = split.train.len() + split.val.len() + split.test.len();
        prop_assert_eq!(used + split.left_out.len(), folder.photos.len());
        let mut classes: BTreeMap<u16, BTreeSet<usize>> = BTreeMap::new();
        for &(content, class) in &photos {
            classes.entry(content).or_default().insert(class);
        }
        let clear = classes.values().filter(|classes| classes.len() == 1);
        prop_assert_eq!(clear.count(), contents.len());
        for class in 0..3 {
            let count = |wanted: Part| {
                let found = contents.values().filter(|&&found| found == (wanted, class));
                found.count() as f64
            };
            let [train, in_val, in_test] = Part::ALL.map(count);
            let n = train + in_val + in_test;
            prop_assert!(train >= 1.0 && in_val >= 1.0 && in_test >= 1.0);
            prop_assert!((in_val - n * val).abs() <= 1.0, "{} of {}", in_val, n);
            prop_assert!((in_test - n * test).abs() <= 1.0, "{} of {}", in_test, n);
        }
    }

    #[test]
    fn names_and_order_change_nothing(photos in photos(), salt: u64, seed: u64) {
        let options = SplitOptions { seed, ..SplitOptions::default() };
        let mut reversed = photos.clone();
        reversed.reverse();
        let folders = [in_memory(&photos, 3, 1), in_memory(&reversed, 3, salt)];
        let [a, b] = folders.each_ref().map(|folder| Split::make(folder, &options));
        let (Ok(a), Ok(b)) = (a, b) else {
            return Err(TestCaseError::reject("a class became too small"));
        };
        prop_assert_eq!(contents(&folders[0], &a), contents(&folders[1], &b));
        let hashes = |folder: &Folder, split: &Split| -> Vec<[u8; 32]> {
            split.train.iter().map(|&place| folder.photos[place].hash).collect()
        };
        prop_assert_eq!(hashes(&folders[0], &a), hashes(&folders[1], &b));
    }

    #[test]
    fn a_new_photo_moves_at_most_one_over_each_border(photos in photos(), seed: u64) {
        let options = SplitOptions { seed, ..SplitOptions::default() };
        let more = [photos.clone(), vec![(9999, 1)]].concat();
        let folders = [in_memory(&photos, 3, 1), in_memory(&more, 3, 1)];
        let [before, after] = folders.each_ref().map(|folder| Split::make(folder, &options));
        let (Ok(before), Ok(after)) = (before, after) else {
            return Err(TestCaseError::reject("a class became too small"));
        };
        let before = contents(&folders[0], &before);
        let after = contents(&folders[1], &after);
        let moved = before.iter().filter(|&(hash, part)| after[hash] != *part).count();
        prop_assert!(moved <= 2, "{} moved", moved);
    }

    #[test]
    fn seeds_differ(seed in 0u64..1000) {
        let photos: Vec<(u16, usize)> = (0..120).map(|n| (n, usize::from(n % 2))).collect();
        let folder = in_memory(&photos, 2, 1);
        let of = |seed| {
            let options = SplitOptions { seed, ..SplitOptions::default() };
            contents(&folder, &Split::make(&folder, &options).unwrap())
        };
        prop_assert_eq!(of(seed), of(seed));
        prop_assert_ne!(of(seed), of(seed + 1));
    }
}
