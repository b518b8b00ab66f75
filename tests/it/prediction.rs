//! `flowers predict`: answers for files and folders, text and JSON.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use flowers::bundle::Bundle;
use flowers::weights::Values;
use serde_json::{Value, json};

use crate::support::{Said, copy, model, photos, run};

/// `flowers predict` of the trained model.
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
    let precision = said.stderr.strip_prefix("precision: ").unwrap();
    let precision = precision.strip_suffix(" with fused kernels\n");
    assert!(
        matches!(precision, Some("float32" | "bfloat16")),
        "{precision:?}"
    );
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
    said.failed(3, &["4 of 15 files can't be read"]);
    let answers = said.json();
    assert_eq!(answers.len(), 15);
    for (place, name, why) in [
        (0, "a.jpg", "empty"),
        (1, "rose-0001.jpg", "broken JPEG"),
        (13, "z.txt", "not a picture but text"),
        (14, "gone.jpg", "No such file"),
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
    said.failed(3, &["4 of 15 files"]);
    assert_eq!(said.stdout.lines().count(), 15);
    assert!(
        said.stdout.contains("gone.jpg: error: can't be read"),
        "{}",
        said.stdout
    );

    let none = tempfile::tempdir().unwrap();
    predict(&[none.path()], &[]).failed(3, &["there are no files in"]);
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

/// The trained model with its biases shifted so that its answers vary: of each class, the mean
/// logarithm of the confidence over all photos becomes 0.
pub(crate) fn undecided(folder: &Path) -> PathBuf {
    let (mut bundle, _) = Bundle::read(&model()).unwrap();
    let answers = confidences(&predict(&[photos()], &["--json"]).done());
    let mean = |class: &String| {
        let logs = answers.values().map(|guesses| guesses[class].ln());
        logs.sum::<f64>() / answers.len() as f64
    };
    let means: Vec<f64> = bundle.manifest.labels.names().iter().map(mean).collect();
    let bias = bundle.weights.get_mut("classifier.1.bias").unwrap();
    let values = bias.as_f32().unwrap().iter().zip(means);
    bias.values = Values::F32(values.map(|(bias, mean)| bias - mean as f32).collect());
    let path = folder.join("undecided.safetensors");
    bundle.write(&path).unwrap();
    path
}

#[test]
fn predictions_add_up_to_the_evaluation() {
    let classes = ["rose", "sunflower", "tulip"];
    let id = |name: &str| classes.iter().position(|class| *class == name).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let model = undecided(folder.path());
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
