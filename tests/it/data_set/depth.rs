//! What a scan finds at which depth, and what becomes of a photo that only its loading finds out.

use std::path::Path;
use std::sync::Arc;

use flowers::data::loader::epoch_order;
use flowers::data::{
    Batch, Depth, Folder, Loader, ScanOptions, Transform, Undecodable, Unreadable,
};
use flowers::error::Result;
use flowers::image::Preprocessing;
use flowers::progress::Silent;

use super::{Set, refused};

fn headers(set: &Set) -> Folder {
    let options = ScanOptions {
        depth: Depth::Headers,
        ..ScanOptions::default()
    };
    Folder::index(&set.source(), &options, &Silent).unwrap()
}

fn unreadable(folder: &Folder) -> Vec<String> {
    let files = folder.unreadable.iter();
    files.map(|file| folder.shown(&file.path)).collect()
}

#[test]
fn headers_tell_of_what_is_cut_and_decoding_of_what_is_damaged() {
    let set = Set::small();
    let faults = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/faults");
    let half = std::fs::read(faults.join("small_half_with_eoi.jpg")).unwrap();
    set.file("rose/closed.jpg", &half);
    set.file("rose/cut.jpg", &half[..half.len() - 2]);
    let png = std::fs::read(set.path("rose/1.png")).unwrap();
    set.file("rose/cut.png", &png[..png.len() / 2]);
    set.file("rose/text.png", b"not a picture");
    set.corrupt("rose/corrupt.png", 7);
    let (quick, thorough) = (headers(&set), set.index());
    assert_eq!(
        unreadable(&quick),
        ["rose/cut.jpg", "rose/cut.png", "rose/text.png"]
    );
    assert_eq!(
        unreadable(&thorough),
        [
            "rose/corrupt.png",
            "rose/cut.jpg",
            "rose/cut.png",
            "rose/text.png"
        ]
    );
    assert_eq!(quick.damaged, []);
    assert_eq!(thorough.damaged.len(), 1);
    for photo in thorough.photos.iter() {
        let mut same = quick.photos.iter().filter(|other| other.path == photo.path);
        let same = same.next().unwrap();
        assert_eq!((same.width, same.height), (photo.width, photo.height));
        assert_eq!(same.hash, photo.hash);
        assert!(photo.fingerprint.is_some());
    }
}

fn load(folder: &Folder, order: &[usize], workers: usize) -> Result<(Vec<Batch>, Vec<Unreadable>)> {
    let transform = Transform::plain(&Preprocessing::imagenet(24));
    let (photos, order) = (Arc::clone(&folder.photos), order.to_vec());
    let undecodable = Arc::new(Undecodable::allowing(2, |_| {}));
    let loader = Loader::new(photos, order, 3, transform, workers)?.tolerating(&undecodable);
    let batches = loader.collect::<Result<_>>()?;
    Ok((batches, undecodable.found()))
}

#[test]
fn an_undecodable_photo_is_left_out_of_its_batch_and_counted() {
    let set = Set::small();
    let sound = headers(&set);
    let order = epoch_order(10, 1, 1);
    let (expected, none) = load(&sound, &order, 1).unwrap();
    assert_eq!(none, []);

    let bad = [order[1], order[9]];
    for index in bad {
        let name = sound.shown(&sound.photos[index].path);
        set.corrupt(&name, 50 + index as u32);
    }
    let folder = headers(&set);
    for workers in 1..=3 {
        let (batches, found) = load(&folder, &order, workers).unwrap();
        assert_eq!(batches.len(), 4, "the last one is empty");
        let sizes: Vec<usize> = batches.iter().map(|batch| batch.labels.len()).collect();
        assert_eq!(sizes, [2, 3, 3, 0]);
        assert!(batches[1..3] == expected[1..3]);
        assert_eq!(batches[0].indices, [order[0], order[2]]);
        let picture = 3 * 24 * 24;
        assert_eq!(batches[0].pixels[..picture], expected[0].pixels[..picture]);
        assert_eq!(
            batches[0].pixels[picture..],
            expected[0].pixels[2 * picture..]
        );
        assert_eq!(batches[0].labels[1], expected[0].labels[2]);
        let mut paths = bad.map(|index| folder.photos[index].path.clone());
        paths.sort();
        assert!(found.iter().map(|file| &file.path).eq(&paths));
        let (rest, _) = load(&folder, &order[6..], workers).unwrap();
        assert!(batches[2..] == rest, "resumed in the middle");
    }
}

#[test]
fn one_photo_too_many_is_named_whatever_the_number_of_workers() {
    let set = Set::small();
    for name in ["daisy/1.png", "daisy/4.png", "rose/0.png", "rose/3.png"] {
        set.corrupt(name, 9);
    }
    let folder = headers(&set);
    let order: Vec<usize> = (0..10).collect();
    for workers in [1, 4] {
        let words = [
            "rose/0.png",
            "broken PNG",
            "exceeds the 2 undecodable photos that are tolerated",
            "--max-bad",
        ];
        refused(load(&folder, &order, workers), 3, &words);
    }
    let strict = Loader::new(
        Arc::clone(&folder.photos),
        order,
        3,
        Transform::plain(&Preprocessing::imagenet(24)),
        2,
    );
    let strict: Result<Vec<Batch>> = strict.unwrap().collect();
    refused(strict, 3, &["daisy/1.png", "broken PNG"]);
}

#[test]
fn the_photos_that_may_turn_out_bad_are_those_that_the_scan_has_left() {
    let set = Set::small();
    assert_eq!(headers(&set).tolerated(0.01), 5);
    set.file("rose/text.png", b"not a picture");
    assert_eq!(headers(&set).tolerated(0.01), 4);
    assert_eq!(headers(&set).tolerated(0.0), 0);
}
