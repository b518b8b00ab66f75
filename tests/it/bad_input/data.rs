//! Data set folders that can't be trained on, and odd ones that can.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use tempfile::TempDir;

use crate::support::{copy, crc, model, names, photos, run, train, train_arguments};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/images");

/// The sample photos in a folder of one's own.
fn spoilt(spoil: impl FnOnce(&Path)) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(photos(), &folder.path().join("set"));
    spoil(&folder.path().join("set"));
    folder
}

/// Training on the folder's `set` must fail like this and leave no run behind.
#[track_caller]
fn refused(folder: &TempDir, words: &[&str]) {
    let out = folder.path().join("run");
    train(&folder.path().join("set"), &out, &[]).failed(3, words);
    assert!(!out.exists(), "a failed start leaves nothing");
}

/// Keeps the first `n` photos of a class.
fn keep(class: &Path, n: usize) {
    for name in names(class).iter().skip(n) {
        fs::remove_file(class.join(name)).unwrap();
    }
}

#[test]
fn sets_without_enough_photos() {
    let empty = tempfile::tempdir().unwrap();
    fs::create_dir(empty.path().join("set")).unwrap();
    refused(&empty, &["no class folders in", "/set", "<class>/"]);

    let nowhere = tempfile::tempdir().unwrap();
    refused(&nowhere, &["there is no folder", "set"]);

    let hollow = spoilt(|set| {
        for class in ["rose", "sunflower", "tulip"] {
            keep(&set.join(class), 0);
        }
    });
    refused(&hollow, &["no photos in"]);

    let one = spoilt(|set| {
        fs::remove_dir_all(set.join("rose")).unwrap();
        fs::remove_dir_all(set.join("tulip")).unwrap();
    });
    refused(&one, &["only one class", "sunflower"]);

    let two = spoilt(|set| keep(&set.join("tulip"), 2));
    refused(&two, &["tulip", "2"]);
}

#[test]
fn broken_files_are_named_counted_and_fatal_above_the_limit() {
    let folder = spoilt(|set| {
        let photo = fs::read(set.join("rose/rose-0001.jpg")).unwrap();
        fs::write(set.join("rose/empty.jpg"), b"").unwrap();
        fs::write(set.join("rose/short.jpg"), &photo[..photo.len() / 2]).unwrap();
        fs::write(set.join("tulip/notes.jpg"), b"a rose is a rose").unwrap();
        fs::write(set.join("tulip/huge.png"), huge_png()).unwrap();
        fs::write(set.join("tulip/IMG_1.HEIC"), b"\0\0\0\x18ftypheic\0\0\0\0").unwrap();
        fs::write(set.join("tulip/sixth.jpg"), b"one too many").unwrap();
    });
    let reasons = [
        "6 of 42 photos",
        "empty.jpg (the file is empty",
        "short.jpg (broken JPEG",
        "IMG_1.HEIC (a HEIC photo",
        "huge.png (60000x60000 pixels",
        " and 1 more",
        "--max-bad",
    ];
    refused(&folder, &reasons);

    let set = folder.path().join("set");
    fs::remove_file(set.join("tulip/sixth.jpg")).unwrap();
    fs::write(set.join("tulip/notes.txt"), b"no picture, and none says so").unwrap();
    let out = folder.path().join("run");
    let said = train(&set, &out, &["--epochs", "1"]).done();
    let warning = "warning: skipped 5 unreadable photos";
    assert!(said.stderr.contains(warning), "{}", said.stderr);
    assert!(
        said.stderr.contains("24 photos for training"),
        "{}",
        said.stderr
    );
}

#[test]
fn training_tells_of_photos_that_are_damaged_or_outside_the_classes() {
    let folder = spoilt(|set| {
        let half = Path::new(GOLDEN).with_file_name("faults/small_half_with_eoi.jpg");
        fs::copy(half, set.join("rose/half.jpg")).unwrap();
        fs::copy(set.join("rose/rose-0001.jpg"), set.join("cover.jpg")).unwrap();
    });
    let set = folder.path().join("set");
    let said = train(&set, &folder.path().join("run"), &["--epochs", "1"]).done();
    for words in [
        "damaged photos, used as far as they can be decoded: 1, e.g. rose/half.jpg (the end",
        "photos outside the class folders, not used: 1, e.g. cover.jpg",
        "`flowers data check ",
    ] {
        assert!(said.stderr.contains(words), "{}", said.stderr);
    }
}

/// The header of a picture of 60000 x 60000 pixels, and nothing else.
fn huge_png() -> Vec<u8> {
    let mut encoded = Vec::new();
    let encoder = image::codecs::png::PngEncoder::new(&mut encoded);
    let white = image::RgbImage::from_pixel(1, 1, image::Rgb([255; 3]));
    white.write_with_encoder(encoder).unwrap();
    let side = 60_000u32.to_be_bytes();
    encoded[16..24].copy_from_slice(&[side, side].concat());
    // The checksum of the header, so that nothing but its size is wrong.
    let crc = crc(&encoded[12..29], 0xedb8_8320).to_be_bytes();
    encoded[29..33].copy_from_slice(&crc);
    encoded
}

#[test]
fn every_kind_of_picture_is_trained_on_and_predicted() {
    let odd = [
        "cmyk.jpg",
        "ycck.jpg",
        "cmyk.tiff",
        "rgb16.png",
        "grey16.png",
        "float.tiff",
        "palette.png",
        "rgba.png",
        "animated.gif",
        "animated.webp",
    ];
    let folder = spoilt(|set| {
        for name in odd {
            fs::copy(Path::new(GOLDEN).join(name), set.join("rose").join(name)).unwrap();
        }
    });
    let set = folder.path().join("set");
    let said = train(&set, &folder.path().join("run"), &["--epochs", "1"]).done();
    assert!(!said.stderr.contains("unreadable"), "{}", said.stderr);

    let mut arguments = vec!["predict".into(), model(), "--json".into()];
    arguments.extend(odd.map(|name| set.join("rose").join(name)));
    let answers = run(arguments).done().json();
    assert_eq!(answers.len(), odd.len());
    for answer in answers {
        assert!(answer["confidence"].as_f64().unwrap() > 0.0, "{answer}");
    }
}

#[test]
fn names_may_hold_any_bytes() {
    let bytes = |name: &'static [u8]| OsStr::from_bytes(name);
    let parent = tempfile::tempdir().unwrap();
    let set = parent.path().join(bytes(b"my \xff\nset"));
    copy(photos(), &set);
    let rose = set.join("a rose\nis a rose");
    fs::rename(set.join("rose"), &rose).unwrap();
    let odd = rose.join(bytes(b"\xfe\xff \n.jpg"));
    fs::rename(rose.join("rose-0001.jpg"), &odd).unwrap();

    let out = parent.path().join(bytes(b"run \xff\n"));
    let options = ["--epochs", "1", "--recipe", "two-phase"];
    let said = train(&set, &out, &options).done();
    assert!(
        said.stdout.contains("a rose\\nis a rose"),
        "{}",
        said.stdout
    );
    assert!(said.stdout.contains("run \u{fffd}\\n/model.safetensors"));

    let again = run([OsStr::new("train"), OsStr::new("--resume"), out.as_os_str()]).done();
    assert_eq!(again.stdout.lines().last(), said.stdout.lines().last());

    let model = out.join("model.safetensors");
    let said = run([OsStr::new("predict"), model.as_os_str(), odd.as_os_str()]).done();
    assert_eq!(said.stdout.lines().count(), 1, "{}", said.stdout);
    assert!(
        said.stdout.contains("\u{fffd}\u{fffd} \\n.jpg: "),
        "{}",
        said.stdout
    );
    run([OsStr::new("eval"), model.as_os_str(), set.as_os_str()]).done();

    let class = set.join(bytes(b"tulip\xff"));
    fs::rename(set.join("tulip"), &class).unwrap();
    let out = parent.path().join("refused");
    train(&set, &out, &[]).failed(3, &["class folder", "tulip\\xFF", "rename"]);
    assert!(!out.exists());
}

#[test]
fn a_class_has_one_name_however_it_is_composed() {
    let (composed, decomposed) = ("\u{e9}glantine", "e\u{301}glantine");
    let named = |name: &str| spoilt(|set| fs::rename(set.join("rose"), set.join(name)).unwrap());
    let (ours, theirs) = (named(decomposed), named(composed));
    let out = ours.path().join("run");
    let model = out.join("model.safetensors");
    train(&ours.path().join("set"), &out, &["--epochs", "1"]).done();
    let eval = |folder: &TempDir| {
        let set = folder.path().join("set");
        let arguments = ["eval".into(), model.clone(), set, "--json".into()];
        run(arguments).done().json().remove(0)
    };
    let measured = eval(&theirs);
    assert!(
        measured["labels"]
            .as_array()
            .unwrap()
            .contains(&composed.into())
    );
    assert_eq!(measured, eval(&ours));
}

#[test]
fn parts_of_any_name_are_trained_evaluated_and_resumed() {
    let folder = spoilt(|set| {
        for class in ["rose", "sunflower", "tulip"] {
            let (here, there) = (set.join("a").join(class), set.join("b").join(class));
            fs::create_dir_all(&here).unwrap();
            fs::create_dir_all(&there).unwrap();
            for (place, name) in names(&set.join(class)).iter().enumerate() {
                let to = if place % 4 == 0 { &there } else { &here };
                fs::rename(set.join(class).join(name), to.join(name)).unwrap();
            }
            fs::remove_dir(set.join(class)).unwrap();
        }
    });
    refused(&folder, &["which is which", "--train-dir", "--test-dir"]);
    let path = |name: &str| folder.path().join(name).into_os_string();
    let parts = || {
        let [train, test] = ["--train-dir", "--test-dir"].map(OsString::from);
        [train, path("set/a"), test, path("set/b")]
    };
    let mut arguments = train_arguments(
        Path::new("set"),
        Path::new(&path("run")),
        &["--epochs", "1"],
    );
    arguments.splice(1..2, parts());
    let said = run(arguments).done();
    let counts = "24 photos for training, 3 for validation, 9 for testing";
    assert!(said.stderr.contains(counts), "{}", said.stderr);
    let again = run(["train".into(), "--resume".into(), path("run")]).done();
    assert_eq!(again.stdout.lines().last(), said.stdout.lines().last());
    let command = |verb: &[OsString]| run([verb, &parts()].concat()).done();
    let said = command(&["eval".into(), path("run/model.safetensors")]);
    assert!(said.stdout.contains("9 photos"), "{}", said.stdout);
    let checked = command(&["data".into(), "check".into()]);
    assert!(
        checked.stdout.contains("train  val  test"),
        "{}",
        checked.stdout
    );
}

#[test]
fn a_file_of_labels_is_trained_on_and_evaluated() {
    let folder = spoilt(|set| {
        let mut table = String::from("file,label\n");
        fs::create_dir(set.join("images")).unwrap();
        for class in ["rose", "sunflower", "tulip"] {
            for name in names(&set.join(class)) {
                fs::rename(set.join(class).join(&name), set.join("images").join(&name)).unwrap();
                table.push_str(&format!("images/{name},{class}\n"));
            }
            fs::remove_dir(set.join(class)).unwrap();
        }
        fs::write(set.join("labels.csv"), table).unwrap();
    });
    refused(
        &folder,
        &["only one class, images", "labels.csv", "file, label"],
    );
    let path = |name: &str| folder.path().join(name).into_os_string();
    let labels = [OsString::from("--labels"), path("set/labels.csv")];
    let mut arguments = train_arguments(
        Path::new("set"),
        Path::new(&path("run")),
        &["--epochs", "1"],
    );
    arguments.splice(1..2, labels.clone());
    let said = run(arguments).done();
    assert!(
        said.stderr.contains("24 photos for training"),
        "{}",
        said.stderr
    );
    let model = path("run/model.safetensors");
    let said = run([&["eval".into(), model], &labels[..]].concat()).done();
    assert!(said.stdout.contains("6 photos"), "{}", said.stdout);
    let split = ["--out".into(), path("split.json")];
    let verb = ["data".into(), "split".into(), path("set")];
    run([&verb, &labels[..], &split].concat()).done();
}

#[test]
fn a_photo_that_goes_while_it_is_needed() {
    let folder = spoilt(|_| {});
    let set = folder.path().join("set");
    let out = folder.path().join("run");
    train(&set, &out, &["--epochs", "1"]).done();
    fs::write(set.join("tulip/tulip-0003.jpg"), b"").unwrap();
    let run_of = |arguments: &[&OsStr]| run(arguments);
    let resume = [OsStr::new("train"), OsStr::new("--resume"), out.as_os_str()];
    run_of(&resume).failed(3, &["tulip-0003.jpg", "empty"]);
}
