//! `flowers predict`: answers for files and folders, text and JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use flowers::image::Preprocessing;
use serde_json::{Value, json};

use crate::known::{self, CLASSES};
use crate::support::{Said, copy, flowers, model, photos, run};

/// `flowers predict` of the known model.
fn predict(files: &[&Path], options: &[&str]) -> Said {
    let model = model();
    let arguments = [Path::new("predict"), &model].into_iter();
    run(arguments
        .chain(files.iter().copied())
        .chain(options.iter().map(Path::new)))
}

fn photo(name: &str) -> PathBuf {
    photos().join(name)
}

/// The confidence of every class, by file.
fn confidences(said: &Said) -> BTreeMap<String, BTreeMap<String, f64>> {
    let answers = said.json().into_iter();
    let of = |guess: &Value| {
        let class = guess["class"].as_str().unwrap().to_owned();
        (class, guess["confidence"].as_f64().unwrap())
    };
    answers
        .map(|answer| {
            let guesses = answer["top_predictions"].as_array().unwrap();
            let file = answer["file"].as_str().unwrap().to_owned();
            (file, guesses.iter().map(of).collect())
        })
        .collect()
}

#[test]
fn text_is_a_line_a_file() {
    let (rose, tulips) = (photo("rose/rose-0002.jpg"), photo("tulip"));
    let said = predict(&[&rose, &tulips], &[]).done();
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert_eq!(lines.len(), 13);
    let files = (1..=12).map(|n| tulips.join(format!("tulip-{n:04}.jpg")));
    for (line, file) in lines.iter().zip(std::iter::once(rose).chain(files)) {
        let rest = line.strip_prefix(&format!("{}: ", file.display())).unwrap();
        let (first, others) = rest.split_once("  (").unwrap();
        let others = others.strip_suffix(')').unwrap().split(", ");
        let mut shares = std::iter::once(first).chain(others).map(|guess| {
            let (class, share) = guess.split_once(' ').unwrap();
            assert!(["rose", "sunflower", "tulip"].contains(&class), "{line}");
            share.parse::<f64>().unwrap()
        });
        let (a, b, c) = (shares.next(), shares.next(), shares.next());
        assert!(a >= b && b >= c && shares.next().is_none(), "{line}");
        let sum: f64 = [a, b, c].into_iter().flatten().sum();
        assert!((sum - 1.0).abs() < 0.002, "{line}");
    }
    let precision = said.stderr.lines().next().unwrap();
    let precision = precision.strip_prefix("precision: ").unwrap();
    let precision = precision.strip_suffix(" with fused kernels").unwrap();
    let (precision, backend) = precision.split_once(" by ").unwrap();
    assert!(["float32", "bfloat16"].contains(&precision), "{precision}");
    assert!(["onednn", "torchscript"].contains(&backend), "{backend}");
}

#[test]
fn json_is_an_object_a_line() {
    let said = predict(&[photos()], &["--json"]).done();
    let answers = said.json();
    assert_eq!(answers.len(), 36);
    for answer in &answers {
        let keys: Vec<&String> = answer.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["file", "class", "confidence", "top_predictions"]);
        let first = json!({"class": answer["class"], "confidence": answer["confidence"]});
        assert_eq!(answer["top_predictions"][0], first);
    }
    for guesses in confidences(&said).values() {
        assert!((guesses.values().sum::<f64>() - 1.0).abs() < 1e-9);
    }
}

#[test]
fn top_k_is_how_many_classes_are_named() {
    let rose = photo("rose/rose-0002.jpg");
    for (k, named) in [("2", 2), ("99", 3)] {
        let said = predict(&[&rose], &["--json", "--top-k", k]).done();
        let guesses = said.json()[0]["top_predictions"].clone();
        assert_eq!(guesses.as_array().unwrap().len(), named);
    }
    let said = predict(&[&rose], &["--top-k", "1"]).done();
    assert!(!said.stdout.contains('('), "{}", said.stdout);
}

#[test]
fn a_table_has_a_row_a_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(photo("rose/rose-0001.jpg"), folder.path().join("a, b.jpg")).unwrap();
    fs::write(folder.path().join("z.jpg"), b"").unwrap();
    let said = predict(&[folder.path()], &["--csv", "--top-k", "2"]);
    said.failed(3, &["1 of 2 files"]);
    let mut table = csv::Reader::from_reader(said.stdout.as_bytes());
    let head = [
        "file",
        "label",
        "confidence",
        "label_2",
        "confidence_2",
        "error",
        "warnings",
    ];
    assert_eq!(table.headers().unwrap(), &head[..]);
    let rows: Vec<csv::StringRecord> = table.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 2);
    assert!(rows[0][0].ends_with("a, b.jpg"), "{:?}", rows[0]);
    assert!(CLASSES.contains(&&rows[0][1]));
    let shares = [2, 4].map(|at| rows[0][at].parse::<f64>().unwrap());
    assert!(shares[0] >= shares[1] && shares[0] + shares[1] <= 1.000_002);
    assert_eq!(&rows[0][5], "");
    assert_eq!(&rows[1][1], "");
    assert!(rows[1][5].starts_with("the file is empty"), "{:?}", rows[1]);
    predict(&[folder.path()], &["--csv", "--json"]).misused(&["--csv"]);
    let wide = predict(&[&photo("rose/rose-0001.jpg")], &["--csv", "--top-k", "99"]).done();
    assert_eq!(wide.stdout.lines().next().unwrap().split(',').count(), 9);
}

#[test]
fn a_picture_comes_from_standard_input() {
    let rose = photo("rose/rose-0002.jpg");
    let piped = |bytes: &[u8]| {
        let mut command = flowers();
        command.args([OsStr::new("predict"), model().as_os_str()]);
        command.args(["-", "--json"]);
        let pipe = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = pipe.stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(bytes).unwrap();
        Said::of(child.wait_with_output().unwrap())
    };
    let said = piped(&fs::read(&rose).unwrap()).done();
    let mut expected = predict(&[&rose], &["--json"]).done().json().remove(0);
    expected["file"] = json!("-");
    assert_eq!(said.json()[0], expected);
    let said = piped(b"a rose is a rose");
    said.failed(3, &["1 of 1 files"]);
    assert!(said.json()[0]["error"].as_str().unwrap().contains("text"));
}

/// A terminal as standard error, and results in a file.
#[test]
#[cfg(target_os = "linux")]
fn the_way_through_a_folder_is_shown_beside_results_that_go_elsewhere() {
    let mut terminal = terminal();
    let mut command = flowers();
    command.args([OsStr::new("predict"), model().as_os_str()]);
    command.arg(photos()).env("TERM", "xterm");
    command.stdout(Stdio::piped()).stderr(terminal.1);
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut answers = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut answers)
        .unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(answers.lines().count(), 36);
    let mut shown = Vec::new();
    // The end of a terminal that nobody has open any more is an error.
    terminal.0.read_to_end(&mut shown).ok();
    let shown = String::from_utf8_lossy(&shown);
    assert!(
        shown.contains("predicting") && shown.contains("/36"),
        "{shown}"
    );
}

/// A pseudo-terminal of 120 columns: the side to read from, and the program's.
#[cfg(target_os = "linux")]
fn terminal() -> (fs::File, fs::File) {
    use std::os::fd::FromRawFd;
    let (mut ours, mut theirs) = (0, 0);
    let size = libc::winsize {
        ws_row: 40,
        ws_col: 120,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the pointers are valid or null as the function allows, and the descriptors it opens
    // are owned by the files alone.
    unsafe {
        let null = std::ptr::null_mut();
        let opened = libc::openpty(&mut ours, &mut theirs, null, std::ptr::null(), &size);
        assert_eq!(opened, 0);
        (fs::File::from_raw_fd(ours), fs::File::from_raw_fd(theirs))
    }
}

#[test]
fn an_unreadable_file_does_not_keep_the_others_from_an_answer() {
    let folder = tempfile::tempdir().unwrap();
    copy(&photo("rose"), folder.path());
    let whole = fs::read(photo("rose/rose-0001.jpg")).unwrap();
    fs::write(folder.path().join("a.jpg"), b"").unwrap();
    fs::write(folder.path().join("rose-0001.jpg"), &whole[..500]).unwrap();
    fs::write(folder.path().join("z.txt"), b"a rose is a rose").unwrap();
    fs::write(folder.path().join(".hidden"), b"passed over").unwrap();
    let gone = folder.path().join("gone.jpg");

    let said = predict(&[folder.path(), &gone], &["--json"]);
    said.failed(3, &["3 of 14 files can't be read"]);
    let note = "files that are not pictures, skipped: 1\n";
    assert!(said.stderr.contains(note), "{}", said.stderr);
    let answers = said.json();
    assert_eq!(answers.len(), 14);
    for (place, name, why) in [
        (0, "a.jpg", "empty"),
        (1, "rose-0001.jpg", "broken JPEG"),
        (13, "gone.jpg", "No such file"),
    ] {
        let answer = answers[place].as_object().unwrap();
        let keys: Vec<&String> = answer.keys().collect();
        assert_eq!(keys, ["file", "error"]);
        assert!(
            answer["file"].as_str().unwrap().ends_with(name),
            "{answer:?}"
        );
        assert!(
            answer["error"].as_str().unwrap().contains(why),
            "{answer:?}"
        );
    }
    let answered = answers
        .iter()
        .filter(|answer| answer.get("class").is_some());
    assert_eq!(answered.count(), 11);

    let said = predict(&[folder.path(), &gone], &[]);
    said.failed(3, &["3 of 14 files"]);
    assert_eq!(said.stdout.lines().count(), 14);
    assert!(
        said.stdout.contains("gone.jpg: error: can't be read"),
        "{}",
        said.stdout
    );

    let text = folder.path().join("z.txt");
    predict(&[&text], &[]).failed(3, &["1 of 1 files"]);
    let none = tempfile::tempdir().unwrap();
    predict(&[none.path()], &[]).failed(3, &["there are no pictures in"]);
}

#[test]
fn a_photo_that_is_cut_and_closed_is_answered_with_a_warning() {
    let faults = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/faults");
    let (half, whole) = (
        faults.join("small_half_with_eoi.jpg"),
        faults.join("small_noeoi_trailer.jpg"),
    );
    let said = predict(&[&half, &whole], &["--json"]).done();
    let answers = said.json();
    let warning = answers[0]["warnings"][0].as_str().unwrap();
    assert!(warning.contains("the end of the picture is missing"));
    assert!(answers[1].get("warnings").is_none());
    assert!(
        said.stderr.contains("small_half_with_eoi.jpg: the end"),
        "{}",
        said.stderr
    );
}

#[test]
fn files_beside_the_pictures_of_a_folder_are_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    copy(&photo("rose"), folder.path());
    fs::write(folder.path().join("IMG_1.AAE"), b"<?xml").unwrap();
    fs::write(folder.path().join("notes.txt"), b"a rose is a rose").unwrap();
    fs::create_dir(folder.path().join("@eaDir")).unwrap();
    fs::write(folder.path().join("@eaDir/rose.jpg"), b"thumbnail").unwrap();
    let said = predict(&[folder.path()], &[]).done();
    assert_eq!(said.stdout.lines().count(), 12);
    let note = "files that are not pictures, skipped: 2\n";
    assert!(said.stderr.contains(note), "{}", said.stderr);
}

#[test]
fn names_stay_on_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().join("two\nlines of roses.jpg");
    fs::copy(photo("rose/rose-0001.jpg"), &name).unwrap();
    fs::write(folder.path().join("not\na rose.jpg"), b"").unwrap();
    for options in [&[][..], &["--json"]] {
        let said = predict(&[folder.path()], options);
        said.failed(3, &["1 of 2"]);
        assert_eq!(said.stdout.lines().count(), 2, "{}", said.stdout);
    }
}

#[test]
fn the_company_of_other_pictures_changes_no_answer() {
    let all = confidences(&predict(&[photos()], &["--json"]).done());
    for name in ["rose/rose-0001.jpg", "tulip/tulip-0012.jpg"] {
        let alone = confidences(&predict(&[&photo(name)], &["--json"]).done());
        for (file, guesses) in alone {
            for (class, confidence) in guesses {
                let apart = (confidence - all[&file][&class]).abs();
                assert!(apart < 1e-5, "{file} {class}: {apart}");
            }
        }
    }
}

/// The whole chain from the file to the confidence, held against sums over its pixels, which
/// another decoder rounds otherwise.
#[test]
fn every_photo_has_a_clear_answer() {
    let answers = confidences(&predict(&[photos()], &["--json", "--precision", "float32"]).done());
    assert_eq!(answers.len(), 36);
    let preprocessing = Preprocessing::imagenet(known::SIZE);
    let mut taken_for = BTreeSet::new();
    for (file, guesses) in answers {
        let picture = preprocessing.fit(&image::open(&file).unwrap().to_rgb8());
        let logits = known::logits(&picture);
        let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
        for (class, logit) in CLASSES.iter().zip(logits) {
            let apart = (guesses[*class] - logit.exp() / sum).abs();
            assert!(apart < 0.01, "{file} {class}: {apart}");
        }
        let mut sorted = logits;
        sorted.sort_by(f64::total_cmp);
        assert!(sorted[2] - sorted[1] > 0.3, "{file}: {logits:?}");
        taken_for.insert(logits.iter().position(|logit| *logit == sorted[2]));
    }
    assert_eq!(taken_for.len(), 3);
}

#[test]
fn predictions_add_up_to_the_evaluation() {
    let id = |name: &str| CLASSES.iter().position(|class| *class == name).unwrap();
    let model = model();
    let mut confusion = [[0u64; 3]; 3];
    let options = ["--json", "--precision", "float32"].map(Path::new);
    let arguments = [Path::new("predict"), &model, photos()];
    for answer in run(arguments.into_iter().chain(options)).done().json() {
        let path = PathBuf::from(answer["file"].as_str().unwrap());
        let actual = path.parent().unwrap().file_name().unwrap();
        let predicted = answer["class"].as_str().unwrap();
        confusion[id(actual.to_str().unwrap())][id(predicted)] += 1;
    }
    let options = ["--split", "all", "--json"].map(Path::new);
    let said = run([Path::new("eval"), &model, photos()]
        .into_iter()
        .chain(options))
    .done();
    assert_eq!(said.json()[0]["confusion"], json!(confusion));
    let predicted = |class: usize| confusion.iter().map(|row| row[class]).sum::<u64>();
    assert!(
        (0..3).filter(|&class| predicted(class) > 0).count() > 1,
        "{confusion:?}"
    );
}
