//! Photos of class folders, hidden and unreadable files, strange names.

use std::sync::atomic::{AtomicU64, Ordering};

use flowers::data::{Folder, Layout, ScanOptions};
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
fn leftovers_are_skipped_and_loose_files_noted() {
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
    for name in ["#recycle", "$RECYCLE.BIN", "System Volume Information"] {
        set.photo(format!("{name}/rose/1.png"), 60);
    }
    set.photo("lost+found/1.png", 61);
    set.photo("rose/@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg", 62);
    set.photo("rose/deep/@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg", 63);
    set.file("README.md", b"about");
    set.photo("stray.png", 64);
    let folder = set.scan().unwrap();
    assert_eq!(folder.photos.len(), 10);
    assert_eq!(folder.labels.names(), ["daisy", "rose"]);
    assert!(folder.unreadable.is_empty());
    assert_eq!(folder.loose, [set.path("stray.png")]);
    assert_eq!(folder.skipped.others, [set.path("README.md")]);
    assert_eq!(folder.skipped.hidden.len(), 13);
}

#[test]
fn unreadable_files_are_listed_with_the_reason() {
    let set = Set::small();
    let good = std::fs::read(set.path("daisy/0.png")).unwrap();
    set.file("daisy/empty.jpg", b"");
    set.file("daisy/phone", b"\0\0\0\x18ftypheic\0\0\0\0");
    set.file("daisy/labels.csv", b"file,class\n");
    set.file("daisy/IMG_1.AAE", b"<?xml");
    set.file("rose/really-a-photo.txt", &good);
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
            "daisy/phone",
            "rose/cut.png",
            "rose/text.jpg"
        ]
    );
    assert!(folder.unreadable.iter().all(|file| !file.reason.is_empty()));
    assert_eq!(folder.photos.len(), 11);
    let skipped = &folder.skipped.others;
    let expected = ["daisy/IMG_1.AAE", "daisy/labels.csv"];
    assert_eq!(*skipped, expected.map(|name| set.path(name)));
}

#[test]
fn five_unreadable_photos_are_tolerated_and_more_are_an_error() {
    let set = Set::small();
    for n in 0..5 {
        set.file(format!("rose/broken\n{n}.jpg"), b"nothing");
    }
    let folder = set.scan().unwrap();
    assert_eq!((folder.photos.len(), folder.unreadable.len()), (10, 5));
    let strict = ScanOptions {
        max_bad: 0.0,
        ..ScanOptions::default()
    };
    refused(set.scan_with(&strict), 3, &["5 of 15 photos", "at most 0"]);

    set.file("rose/one more.jpg", b"nothing");
    refused(
        set.scan(),
        3,
        &[
            "6 of 16 photos",
            "at most 5",
            "rose/broken\\n0.jpg",
            "flowers data check",
            "--max-bad",
        ],
    );
    let lenient = ScanOptions {
        max_bad: 0.4,
        ..ScanOptions::default()
    };
    assert_eq!(set.scan_with(&lenient).unwrap().unreadable.len(), 6);
}

#[test]
fn nothing_but_unreadable_files_is_an_error_whatever_is_tolerated() {
    let set = Set::new();
    set.file("a/x.jpg", b"?");
    let options = ScanOptions {
        max_bad: 1.0,
        ..ScanOptions::default()
    };
    refused(
        set.scan_with(&options),
        3,
        &["1 of 1 photos", "at most 0", "a/x.jpg"],
    );
}

#[test]
fn files_beyond_the_limits_are_unreadable() {
    let set = Set::small();
    let options = ScanOptions {
        limits: Limits {
            max_bytes: 10,
            ..Limits::default()
        },
        ..ScanOptions::default()
    };
    let folder = Folder::index(&set.source(), &options, &Silent).unwrap();
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
    symlink(set.path("nowhere.txt"), set.path("daisy/dangling.txt")).unwrap();
    symlink(set.path("nowhere"), set.path("README")).unwrap();
    symlink(set.root(), set.path("rose/all")).unwrap();
    let folder = set.index();
    let names = set.names(&folder);
    assert_eq!(folder.labels.names(), ["daisy", "rose", "violet"]);
    assert!(names.contains(&"rose/link.png".to_owned()));
    assert!(names.contains(&"violet/1.png".to_owned()));
    assert_eq!(names.len(), 12);
    assert_eq!(folder.unreadable.len(), 1);
    assert!(folder.unreadable[0].reason.contains("broken symbolic link"));
    let others = ["README", "daisy/dangling.txt"].map(|name| set.root().join(name));
    assert_eq!(
        (folder.skipped.others, folder.loose),
        (others.into(), vec![])
    );
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
    refused(set.scan(), 3, &["no photos", "class folders are empty"]);
    set.file("rose/1.npy", b"array");
    set.file("rose/2.npy", b"array");
    refused(set.scan(), 3, &["none of its 2 files is an image"]);
    let gone = set.root().join("gone");
    refused(
        Folder::scan(&(*gone).into(), &ScanOptions::default(), &Silent),
        3,
        &["there is no folder", "gone"],
    );
    let file = set.file("file", b"");
    refused(
        Folder::scan(&(*file).into(), &ScanOptions::default(), &Silent),
        3,
        &["is not a folder"],
    );
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
    Folder::index(&set.source(), &ScanOptions::default(), &counter).unwrap();
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
