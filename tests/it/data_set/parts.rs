//! Parts under odd names and in odd places: found, or refused by name, but never trained on.

use flowers::cli::data::SourceArgs;
use flowers::data::check::check;
use flowers::data::{Folder, Part, ScanOptions};
use flowers::error::Result;
use flowers::progress::Silent;

use super::{Set, refused};

/// A photo of its own in each of the folders.
fn filled(folders: &[&str]) -> Set {
    let set = Set::new();
    for (n, folder) in folders.iter().enumerate() {
        set.photo(format!("{folder}/{n}.png"), n as u32);
    }
    set
}

const BY_CLASS: [&str; 4] = ["a/train", "a/test", "b/train", "b/test"];

fn given(part: Part, set: &Set, folder: &str) -> Result<Folder> {
    let path = Some(set.root().join(folder));
    let arguments = match part {
        Part::Train => SourceArgs {
            train_dir: path,
            ..SourceArgs::default()
        },
        _ => SourceArgs {
            test_dir: path,
            ..SourceArgs::default()
        },
    };
    Folder::scan(&arguments.named()?, &ScanOptions::default(), &Silent)
}

#[test]
fn parts_of_classes_may_be_named_after_them() {
    for [train, test] in [["a_train", "a_test"], ["train_images", "test_images"]] {
        let folders = [
            format!("a/{train}"),
            format!("a/{test}"),
            format!("b/{train}"),
            format!("b/{test}"),
        ];
        let folder = filled(&folders.each_ref().map(|name| &**name))
            .scan()
            .unwrap();
        let count = |part| {
            folder
                .photos
                .iter()
                .filter(move |photo| photo.part == Some(part))
        };
        assert_eq!(folder.labels.names(), ["a", "b"]);
        assert_eq!(count(Part::Train).count(), 2);
        assert_eq!(count(Part::Test).count(), 2);
    }
}

#[test]
fn what_is_in_no_part_of_a_split_class_is_refused() {
    for stray in ["a/cover.png", "b/originals/1.png", "c/1.png"] {
        let set = filled(&BY_CLASS);
        set.photo(stray, 50);
        let named = stray.trim_end_matches("/1.png");
        let words = ["split into parts", "a/train", named, "move them"];
        refused(set.scan(), 3, &words);
    }
    let set = filled(&BY_CLASS);
    set.file("c/notes.txt", b"empty");
    refused(set.scan(), 3, &["outside of them: c;"]);
    set.file("a/notes.txt", b"no photo");
    std::fs::remove_dir_all(set.root().join("c")).unwrap();
    assert_eq!(set.scan().unwrap().skipped.others.len(), 1);
}

#[test]
fn a_part_that_has_parts_is_refused() {
    let set = filled(&["train/a", "train/b", "test/a", "test/b"]);
    let words = [
        "is itself split into parts (train, test)",
        "as DATA",
        "--train-dir",
    ];
    refused(given(Part::Train, &set, ""), 3, &words);
    refused(given(Part::Test, &set, ""), 3, &["--test-dir"]);
    assert_eq!(given(Part::Train, &set, "train").unwrap().photos.len(), 2);
    let set = filled(&BY_CLASS);
    refused(
        given(Part::Train, &set, ""),
        3,
        &["are themselves split into parts", "as DATA"],
    );
    set.photo("a/cover.png", 50);
    refused(given(Part::Train, &set, ""), 3, &["a/cover.png"]);
}

#[test]
fn parts_whose_names_hint_at_them_are_not_classes() {
    let set = filled(&[
        "mytrain/a",
        "mytrain/b",
        "mytrain/c",
        "mytest/a",
        "mytest/b",
    ]);
    refused(set.scan(), 3, &["differ in their classes", "test lacks c"]);
    let set = filled(&["mytrain/a", "mytrain/b", "mytest/a", "mytest/b"]);
    set.photo("mytrain/overview.png", 50);
    let folder = set.scan().unwrap();
    assert_eq!(folder.labels.names(), ["a", "b"]);
    assert_eq!(folder.loose, [set.path("mytrain/overview.png")]);

    let set = filled(&["set1/a", "set1/b", "set1/c", "set2/a", "set2/b"]);
    refused(set.scan(), 3, &["share subfolders (a, b)", "--train-dir"]);
    let set = filled(&["seg_train/seg_train/a", "seg_train/seg_train/b", "seg_pred"]);
    refused(set.scan(), 3, &["mixes two layouts", "seg_pred"]);

    // Classes whose photos are in folders, of which some have the same name.
    let set = filled(&["a/2023", "a/2024", "b/2024", "b/2025"]);
    assert_eq!(set.scan().unwrap().labels.names(), ["a", "b"]);
}

#[test]
fn classes_may_have_names_with_the_words_of_parts() {
    for classes in [
        ["freight_train", "passenger_train"],
        ["crash test", "train station"],
    ] {
        let folder = filled(&classes).scan().unwrap();
        assert_eq!(folder.labels.names(), classes);
        assert!(folder.photos.iter().all(|photo| photo.part.is_none()));
    }
    refused(
        filled(&["train_a", "train_images"]).scan(),
        3,
        &["same part"],
    );
}

#[test]
fn a_part_without_photos_is_not_cut_from_another() {
    let set = filled(&["train/a", "train/b"]);
    for class in ["a", "b"] {
        set.file(format!("test/{class}/broken.jpg"), b"?");
    }
    let words = ["the test part", "no usable photos", "leave the part out"];
    refused(set.scan(), 3, &words);
    assert!(!check(&set.index(), 0.5).trainable);

    let set = Set::new();
    for folder in ["train", "test"] {
        std::fs::create_dir(set.root().join(folder)).unwrap();
    }
    let place = format!("{}/train/<class>/", set.root().display());
    refused(set.scan(), 3, &["no class folders", &place]);
}

#[test]
fn what_lies_around_a_wrapped_part_is_listed() {
    let set = filled(&[
        "train/inner/a",
        "train/inner/b",
        "test/inner/a",
        "test/inner/b",
    ]);
    set.file("train/notes.txt", b"about");
    let folder = set.scan().unwrap();
    assert_eq!(folder.skipped.others, [set.path("train/notes.txt")]);
}
