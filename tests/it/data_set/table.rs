//! Files of labels: what their columns mean, and how the files in them are found.

use flowers::data::check::check;
use flowers::data::{Folder, Part, ScanOptions, Source};
use flowers::error::Result;
use flowers::progress::Silent;

use super::{Set, refused};

/// Four photos.
fn photos() -> Set {
    let set = Set::new();
    for content in 0..4 {
        set.photo(format!("{content}.png"), content);
    }
    set
}

fn scanned(set: &Set, table: &str) -> Result<Folder> {
    let table = set.file("labels.csv", table.as_bytes());
    Folder::scan(&Source::from(&*table), &ScanOptions::default(), &Silent)
}

#[test]
fn a_csv_file_is_a_data_set() {
    let set = photos();
    let folder = scanned(&set, "file,label\n0.png,a\n1.png,b\n").unwrap();
    assert_eq!(folder.labels.names(), ["a", "b"]);
    assert_eq!(folder.root, set.root());
    let bad = "file,label\nlabels.csv,a\n";
    let line = refused(scanned(&set, bad), 3, &["1 of 1 photos", "--labels"]);
    assert!(!line.contains("--max-bad"), "nothing is left: {line}");
}

#[test]
fn a_split_under_another_name_is_not_ignored() {
    let set = photos();
    let table = "file,label,partition\n0.png,a,train\n1.png,b,train\n2.png,a,test\n";
    let words = ["labels.csv", "the column partition", "rename it to split"];
    refused(scanned(&set, table), 3, &words);
    let table = "file,label,source\n0.png,a,train\n1.png,b,train\n";
    assert!(scanned(&set, table).is_ok(), "one part is no split");
}

#[test]
fn columns_of_several_known_names_go_by_the_recommended_one() {
    let set = photos();
    let table = "image,file,class,label\n7,0.png,1,rose\n8,1.png,2,tulip\n";
    let folder = scanned(&set, table).unwrap();
    assert_eq!(folder.labels.names(), ["rose", "tulip"]);
}

#[test]
fn a_photo_without_a_part_is_one_to_train_on_where_others_have_parts() {
    let set = photos();
    let table = "file,label,split\n0.png,a,\n1.png,b,train\n2.png,a,test\n3.png,b,test\n";
    let folder = scanned(&set, table).unwrap();
    assert_eq!(folder.photos[0].part, Some(Part::Train));
    let report = check(&folder, 0.01);
    for class in report.classes {
        assert_eq!(class.distinct, class.train + class.val + class.test);
    }
}

#[test]
fn names_of_files_may_be_composed_otherwise() {
    let set = Set::new();
    set.photo("caf\u{e9} 1.png", 1);
    set.photo("sub/cafe\u{301} 2.png", 2);
    let table = "file,label\ncafe\u{301} 1.png,a\nsub\\caf\u{e9} 2.png,b\n";
    let table = set.file("labels.csv", table.as_bytes());
    let folder = Folder::index(&Source::from(&*table), &ScanOptions::default(), &Silent).unwrap();
    assert_eq!(folder.photos.len(), 2, "{:?}", folder.unreadable);
}
