//! What a folder means: classes, parts under many names, files of labels, and what is doubtful.

use std::collections::BTreeMap;

use flowers::cli::data::SourceArgs;
use flowers::data::{Folder, Layout, Part, ScanOptions};
use flowers::error::Result;
use flowers::progress::Silent;

use super::{Set, refused};

/// Two photos of each of the classes a and b in every part, all of them different.
fn split(parts: &[&str]) -> Set {
    let set = Set::new();
    for (place, part) in parts.iter().enumerate() {
        for (n, class) in ["a", "b"].iter().enumerate() {
            for photo in 0..2 {
                let content = (place * 10 + n * 2 + photo) as u32;
                set.photo(format!("{part}/{class}/{photo}.png"), content);
            }
        }
    }
    set
}

/// How many photos each part has.
fn counts(folder: &Folder) -> BTreeMap<Option<Part>, usize> {
    let mut counts = BTreeMap::new();
    for photo in folder.photos.iter() {
        *counts.entry(photo.part).or_default() += 1;
    }
    counts
}

#[track_caller]
fn is_split(set: &Set, parts: &[Part]) {
    let folder = set.scan().unwrap();
    assert_eq!(folder.labels.names(), ["a", "b"]);
    let expected = parts.iter().map(|&part| (Some(part), 4)).collect();
    assert_eq!(counts(&folder), expected);
}

#[test]
fn parts_are_known_by_many_names() {
    let (train, val, test) = (Part::Train, Part::Val, Part::Test);
    for names in [
        ["train", "val", "test"],
        ["Train", "valid", "TEST"],
        ["train", "validation", "test"],
        ["training", "dev", "testing"],
        ["seg_train", "seg_val", "seg_test"],
        ["training_set", "validation_set", "test_set"],
        ["trainset", "valset", "testset"],
        ["train_images", "val_images", "test_images"],
        ["01_train", "02_valid", "03_test"],
        ["TrainData", "ValData", "TestData"],
        ["训练集", "验证集", "测试集"],
    ] {
        is_split(&split(&names), &[train, val, test]);
        is_split(&split(&[names[0], names[2]]), &[train, test]);
        is_split(&split(&names[..2]), &[train, val]);
    }
    // Nothing but their folders says that these are parts.
    is_split(&split(&["mytrainfolder", "xtest"]), &[train, test]);
    // Parts of each class.
    let set = Set::new();
    for (n, name) in ["a/train", "a/test", "b/train", "b/test"]
        .iter()
        .enumerate()
    {
        for photo in 0..2 {
            set.photo(format!("{name}/{photo}.png"), (n * 2 + photo) as u32);
        }
    }
    is_split(&set, &[train, test]);
    // An archive that wraps each part in a folder of its name.
    let set = split(&["seg_train/seg_train", "seg_test/seg_test"]);
    is_split(&set, &[train, test]);
}

#[test]
fn parts_that_nobody_can_tell_are_refused() {
    let words = [
        "share subfolders (a, b)",
        "--train-dir",
        "--test-dir",
        "first",
    ];
    refused(split(&["first", "second"]).scan(), 3, &words);
    refused(split(&["photo", "sketch"]).scan(), 3, &["which is which"]);
    refused(split(&["trainval", "test"]).scan(), 3, &["--test-dir"]);

    let set = split(&["seg_train", "seg_test"]);
    set.photo("seg_pred/1.png", 90);
    let words = ["mixes two layouts", "seg_pred", "--train-dir", "seg_train"];
    refused(set.scan(), 3, &words);

    let flat = Set::new();
    flat.photo("trainset/1.png", 1);
    flat.photo("testset/1.png", 2);
    refused(
        flat.scan(),
        3,
        &["no class folders", "trainset", "CSV file"],
    );
}

#[test]
fn folders_in_classes_are_no_parts() {
    let set = Set::new();
    for (n, name) in ["a/2023", "a/2024", "b/2024", "b/other"].iter().enumerate() {
        set.photo(format!("{name}/1.png"), n as u32);
    }
    let folder = set.scan().unwrap();
    assert_eq!(folder.labels.names(), ["a", "b"]);
    assert_eq!(folder.layout, Layout::Classes);

    let set = split(&["first", "second"]);
    set.photo("first/1.png", 50);
    assert_eq!(set.scan().unwrap().labels.names(), ["first", "second"]);
}

#[test]
fn parts_with_differing_classes_are_refused_by_name() {
    for (train, test) in [("train", "test"), ("seg_train", "seg_test")] {
        let set = Set::new();
        set.photo(format!("{train}/daisy/1.png"), 1);
        set.photo(format!("{train}/rose/1.png"), 2);
        set.photo(format!("{test}/daisy/1.png"), 3);
        set.photo(format!("{test}/violet/1.png"), 4);
        refused(
            set.scan(),
            3,
            &[
                "compared with train",
                "test lacks rose",
                "test also has violet",
            ],
        );
    }
}

#[test]
fn doubtful_layouts_are_refused() {
    let set = Set::new();
    set.photo("train/daisy/1.png", 1);
    set.photo("extra/1.png", 2);
    refused(set.scan(), 3, &["mixes two layouts", "train", "extra"]);

    let set = Set::new();
    set.photo("val/daisy/1.png", 1);
    set.photo("valid/daisy/1.png", 2);
    refused(set.scan(), 3, &["val and valid"]);
}

#[test]
fn a_class_may_be_called_train() {
    let set = Set::new();
    set.photo("train/1.png", 1);
    set.photo("plane/1.png", 2);
    let folder = set.scan().unwrap();
    assert_eq!(folder.labels.names(), ["plane", "train"]);
}

#[test]
fn a_folder_too_many_names_the_one_that_was_meant() {
    for place in ["photos", "archive/photos"] {
        let set = Set::new();
        set.photo(format!("{place}/daisy/1.png"), 1);
        set.photo(format!("{place}/rose/1.png"), 2);
        let folder = set.scan().unwrap();
        let split = flowers::data::Split::make(&folder, &Default::default());
        let meant = format!("did you mean {}/{place}", set.root().display());
        refused(split, 3, &["only one class", "daisy, rose", &meant]);
    }
    let set = split(&["photos/train", "photos/test"]);
    assert!(set.index().advice.unwrap().contains("test, train"));

    // Beside it is a folder of something else.
    let set = split(&["images"]);
    set.file("meta/classes.txt", b"a b");
    let made = flowers::data::Split::make(&set.scan().unwrap(), &Default::default());
    refused(
        made,
        3,
        &["meta (0)", "did you mean", "images, which holds a, b"],
    );
}

fn scanned(arguments: &SourceArgs) -> Result<Folder> {
    Folder::scan(&arguments.named()?, &ScanOptions::default(), &Silent)
}

#[test]
fn parts_are_given_by_their_folders() {
    let set = split(&["first", "second/wrapped"]);
    let arguments = SourceArgs {
        train_dir: Some(set.path("second")),
        test_dir: Some(set.path("first")),
        ..SourceArgs::default()
    };
    let folder = scanned(&arguments).unwrap();
    let both = BTreeMap::from([(Some(Part::Train), 4), (Some(Part::Test), 4)]);
    assert_eq!(counts(&folder), both);
    assert_eq!(folder.root, set.root());
    assert_eq!(set.names(&folder)[0], "first/a/0.png");

    let nowhere = SourceArgs {
        train_dir: Some(set.root().join("gone")),
        ..SourceArgs::default()
    };
    refused(scanned(&nowhere), 3, &["there is no folder", "gone"]);
    refused(scanned(&SourceArgs::default()), 2, &["DATA", "--train-dir"]);
}

#[test]
fn photos_beside_a_table_say_what_is_expected() {
    let set = Set::new();
    set.photo("1.png", 1);
    set.file("labels.csv", b"id,breed\n1,pug\n");
    let words = [
        "photos but no class folders",
        "labels.csv",
        "file, label",
        "id, breed",
    ];
    refused(set.scan(), 3, &words);

    let set = Set::new();
    set.photo("images/1.png", 1);
    set.file("labels.csv", b"file,label\n");
    assert!(
        set.index()
            .advice
            .unwrap()
            .contains("give that file as DATA")
    );
}

#[test]
fn a_file_of_labels_is_a_layout() {
    let set = Set::new();
    for content in 0..4 {
        set.photo(format!("images/{content}.png"), content);
    }
    set.photo("images/unlisted.png", 9);
    let labelled = |rows: &str| {
        let table = set.file("labels.csv", format!("file,label,split\n{rows}").as_bytes());
        SourceArgs {
            labels: Some(table),
            ..SourceArgs::default()
        }
    };
    let rows = "images/0.png,tulip,train\nimages/1.png,rose,train\nimages\\2.png,rose,test\n";
    let folder = scanned(&labelled(rows)).unwrap();
    assert_eq!(folder.labels.names(), ["rose", "tulip"]);
    assert_eq!(
        set.names(&folder),
        ["images/0.png", "images/1.png", "images/2.png"]
    );
    assert_eq!(folder.photos[0].class, 1);
    let split = BTreeMap::from([(Some(Part::Train), 2), (Some(Part::Test), 1)]);
    assert_eq!(counts(&folder), split);

    // Some without a part, one that isn't there, and one that is listed twice.
    let rows = "images/0.png,a,test\nimages/1.png,a,\nimages/1.png,a,\nimages/7.png,b,\n";
    let folder = scanned(&labelled(rows)).unwrap();
    let split = BTreeMap::from([(Some(Part::Train), 1), (Some(Part::Test), 1)]);
    assert_eq!(counts(&folder), split);
    assert!(folder.unreadable[0].reason.contains("No such file"));

    let elsewhere = SourceArgs {
        data: Some(set.path("images")),
        ..labelled("0.png,a,\n1.png,b,\n")
    };
    assert_eq!(scanned(&elsewhere).unwrap().photos.len(), 2);
    let misplaced = labelled("0.png,a,\n1.png,b,\n");
    refused(
        scanned(&misplaced),
        3,
        &["none of the 2 files", "0.png", "DATA"],
    );
    refused(
        scanned(&labelled("0.png,,\n")),
        3,
        &["labels.csv: line 2", "label"],
    );
}

#[test]
fn names_of_classes_that_look_the_same_are_one_class() {
    let set = Set::new();
    set.photo("train/caf\u{e9}/1.png", 1);
    set.photo("train/cafe\u{301}/2.png", 2);
    set.photo("train/rose/1.png", 3);
    set.photo("test/cafe\u{301}/1.png", 4);
    set.photo("test/rose/1.png", 5);
    let folder = set.scan().unwrap();
    assert_eq!(folder.labels.names(), ["caf\u{e9}", "rose"]);
    assert_eq!(folder.photos.len(), 5);

    let table = "file,label\ntrain/rose/1.png,caf\u{e9}\ntest/rose/1.png,cafe\u{301}\n";
    let arguments = SourceArgs {
        labels: Some(set.file("labels.csv", table.as_bytes())),
        ..SourceArgs::default()
    };
    assert_eq!(scanned(&arguments).unwrap().labels.names(), ["caf\u{e9}"]);

    let set = Set::new();
    set.photo("Rose/1.png", 1);
    set.photo("rose/1.png", 2);
    assert!(set.index().lookalikes().unwrap().contains("Rose and rose"));
}
