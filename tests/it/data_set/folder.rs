//! Layouts, hidden and unreadable files, strange names.

use std::sync::atomic::{AtomicU64, Ordering};

use flowers::data::folder::Layout;
use flowers::data::{Folder, Part, ScanOptions};
use flowers::image::Limits;
use flowers::progress::{Progress, Silent};

use super::{Set, refused};

#[test]
fn classes_are_the_sorted_folders_and_photos_are_sorted_by_path() {
    let set = Set::new();
    set.photo("tulip/b.png", 1);
    set.photo("tulip/nested/deep/a.png", 2);
    set.photo("Rose/2.png", 3);
    set.sized("Rose/10.png", 4, 30, 70);
    let folder = set.scan().unwrap();
    assert_eq!(folder.labels.names(), ["Rose", "tulip"]);
    assert_eq!(folder.layout, Layout::Classes);
    let names = set.names(&folder);
    assert_eq!(
        names,
        [
            "Rose/10.png",
            "Rose/2.png",
            "tulip/b.png",
            "tulip/nested/deep/a.png"
        ]
    );
    let first = &folder.photos[0];
    assert_eq!((first.class, first.part), (0, None));
    assert_eq!((first.width, first.height), (30, 70));
    assert_eq!(folder.photos[3].class, 1);
}

#[test]
fn parts_are_known_by_all_their_names() {
    for (train, val) in [
        ("train", "val"),
        ("Train", "valid"),
        ("train", "validation"),
    ] {
        let set = Set::new();
        for (place, part) in [train, val, "test"].iter().enumerate() {
            set.photo(format!("{part}/a/1.png"), place as u32);
            set.photo(format!("{part}/b/1.png"), 10 + place as u32);
        }
        let folder = set.scan().unwrap();
        assert_eq!(folder.labels.names(), ["a", "b"]);
        for part in Part::ALL {
            let photos = folder.photos.iter();
            assert_eq!(photos.filter(|photo| photo.part == Some(part)).count(), 2);
        }
    }
}

#[test]
fn leftovers_are_passed_over_and_loose_files_noted() {
    let set = Set::small();
    for name in [
        ".DS_Store",
        "daisy/.DS_Store",
        "daisy/Thumbs.db",
        "rose/desktop.ini",
    ] {
        set.file(name, b"leftover");
    }
    set.file(".git/config", b"[core]");
    set.file("__MACOSX/daisy/._1.png", b"fork");
    set.file("daisy/.thumbs/1.png", b"thumb");
    set.file("README.md", b"about");
    let folder = set.scan().unwrap();
    assert_eq!(folder.photos.len(), 10);
    assert_eq!(folder.labels.names(), ["daisy", "rose"]);
    assert!(folder.unreadable.is_empty());
    assert_eq!(folder.loose, [set.path("README.md")]);
}

#[test]
fn unreadable_files_are_listed_with_the_reason() {
    let set = Set::small();
    let good = std::fs::read(set.path("daisy/0.png")).unwrap();
    set.file("daisy/empty.jpg", b"");
    set.file("daisy/labels.csv", b"file,class\n");
    set.file("rose/text.jpg", b"not a picture at all");
    set.file("rose/cut.png", &good[..good.len() / 2]);
    let folder = set.index();
    let bad: Vec<String> = folder
        .unreadable
        .iter()
        .map(|file| folder.shown(&file.path))
        .collect();
    assert_eq!(
        bad,
        [
            "daisy/empty.jpg",
            "daisy/labels.csv",
            "rose/cut.png",
            "rose/text.jpg"
        ]
    );
    assert!(folder.unreadable.iter().all(|file| !file.reason.is_empty()));
    assert_eq!(folder.photos.len(), 10);
}

#[test]
fn too_many_unreadable_files_are_an_error_and_few_are_not() {
    let set = Set::small();
    set.file("rose/broken\n.jpg", b"nothing");
    refused(
        set.scan(),
        3,
        &[
            "1 of 11 files",
            "9.1%",
            "rose/broken\\n.jpg",
            "flowers data check",
            "--max-bad",
        ],
    );
    let options = ScanOptions {
        max_bad: 0.1,
        ..ScanOptions::default()
    };
    let folder = Folder::scan(set.root(), &options, &Silent).unwrap();
    assert_eq!((folder.photos.len(), folder.unreadable.len()), (10, 1));
}

#[test]
fn nothing_but_unreadable_files_is_an_error_whatever_is_put_up_with() {
    let set = Set::new();
    set.file("a/x.jpg", b"?");
    let options = ScanOptions {
        max_bad: 1.0,
        ..ScanOptions::default()
    };
    refused(
        Folder::scan(set.root(), &options, &Silent),
        3,
        &["1 of 1 files", "a/x.jpg"],
    );
}

#[test]
fn files_beyond_the_limits_are_unreadable() {
    let set = Set::small();
    let limits = Limits {
        max_bytes: 10,
        ..Limits::default()
    };
    let folder = Folder::index(set.root(), &limits, &Silent).unwrap();
    assert_eq!((folder.photos.len(), folder.unreadable.len()), (0, 10));
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_loops_are_not() {
    use std::os::unix::fs::symlink;
    let set = Set::small();
    let elsewhere = Set::new();
    symlink(elsewhere.photo("x.png", 77), set.path("rose/link.png")).unwrap();
    elsewhere.photo("violet/1.png", 78);
    symlink(
        elsewhere.path("violet/1.png").parent().unwrap(),
        set.path("violet"),
    )
    .unwrap();
    symlink(set.path("rose"), set.path("rose/loop")).unwrap();
    symlink(set.path("nowhere.png"), set.path("daisy/dangling.png")).unwrap();
    let folder = set.index();
    let names = set.names(&folder);
    assert_eq!(folder.labels.names(), ["daisy", "rose", "violet"]);
    assert!(names.contains(&"rose/link.png".to_owned()));
    assert!(names.contains(&"violet/1.png".to_owned()));
    assert_eq!(names.len(), 12);
    assert_eq!(folder.unreadable.len(), 1);
    assert!(folder.unreadable[0].reason.contains("leads nowhere"));
}

#[cfg(unix)]
#[test]
fn a_pipe_does_not_block_the_scan() {
    let set = Set::small();
    let pipe = set.path("rose/pipe.jpg");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    let folder = set.index();
    assert!(folder.unreadable[0].reason.contains("not a regular file"));
}

#[cfg(unix)]
#[test]
fn file_names_may_be_any_bytes_and_class_names_must_be_utf8() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;
    let set = Set::small();
    set.photo(
        Path::new("rose").join(OsStr::from_bytes(b"caf\xe9 1.png")),
        50,
    );
    set.photo("rose/two words\nand a line.png", 51);
    let folder = set.scan().unwrap();
    let names = set.names(&folder);
    assert_eq!(names.len(), 12);
    assert!(names.contains(&"rose/two words\\nand a line.png".to_owned()));

    set.photo(
        Path::new(OsStr::from_bytes(b"\xe9glantine")).join("1.png"),
        52,
    );
    refused(set.scan(), 3, &["\\xE9glantine", "rename the folder"]);
}

#[test]
fn what_is_no_data_set_is_one_clear_line() {
    let set = Set::new();
    refused(set.scan(), 3, &["no class folders", "<class>"]);
    std::fs::create_dir(set.root().join("rose")).unwrap();
    refused(set.scan(), 3, &["no photos"]);
    let gone = set.root().join("gone");
    refused(
        Folder::scan(&gone, &ScanOptions::default(), &Silent),
        3,
        &["there is no folder", "gone"],
    );
    let file = set.file("file", b"");
    refused(
        Folder::scan(&file, &ScanOptions::default(), &Silent),
        3,
        &["is no folder"],
    );
}

#[test]
fn parts_with_differing_classes_are_refused_by_name() {
    let set = Set::new();
    set.photo("train/daisy/1.png", 1);
    set.photo("train/rose/1.png", 2);
    set.photo("test/daisy/1.png", 3);
    set.photo("test/violet/1.png", 4);
    refused(
        set.scan(),
        3,
        &[
            "compared with train",
            "test lacks rose",
            "test has violet besides",
        ],
    );
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

#[derive(Default)]
struct Counter {
    total: AtomicU64,
    done: AtomicU64,
}

impl Progress for Counter {
    fn begin(&self, _what: &str, total: u64) {
        self.total.store(total, Ordering::Relaxed);
    }
    fn advance(&self, units: u64) {
        self.done.fetch_add(units, Ordering::Relaxed);
    }
    fn finish(&self) {}
}

#[test]
fn progress_counts_every_file() {
    let set = Set::small();
    set.file("rose/bad.jpg", b"bad");
    let counter = Counter::default();
    Folder::index(set.root(), &Limits::default(), &counter).unwrap();
    assert_eq!(counter.total.into_inner(), 11);
    assert_eq!(counter.done.into_inner(), 11);
}

#[test]
fn the_index_does_not_depend_on_the_number_of_threads() {
    let set = Set::small();
    set.file("rose/bad.jpg", b"bad");
    let index = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| set.index())
    };
    let (one, four) = (index(1), index(4));
    assert_eq!(one.photos, four.photos);
    assert_eq!(one.unreadable, four.unreadable);
}
