//! `flowers eval`, on a model that takes everything for a rose: each of its figures is known.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use flowers::bundle::Bundle;
use flowers::weights::Values;
use resvg::usvg::roxmltree::Document;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Said, copy, model, names, photos, run, start, trained, wait_until};

const TESTED_ROSES: u64 = 2;

/// A folder with a model, `rose.safetensors`, that is sure of roses.
fn roses() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (mut bundle, _) = Bundle::read(&model()).unwrap();
    let bias = bundle.weights.get_mut("classifier.1.bias").unwrap();
    bias.values = Values::F32(vec![1000.0, 0.0, 0.0]);
    bundle
        .write(&folder.path().join("rose.safetensors"))
        .unwrap();
    folder
}

/// `flowers eval` of the model in a folder.
fn eval(folder: &TempDir, data: &Path, options: &[&str]) -> Said {
    let model = folder.path().join("rose.safetensors");
    let arguments = [Path::new("eval"), &model, data];
    run(arguments.into_iter().chain(options.iter().map(Path::new)))
}

/// A data set of one's own in the folder.
fn set(folder: &TempDir) -> PathBuf {
    let set = folder.path().join("set");
    copy(photos(), &set);
    set
}

#[test]
fn the_report_as_text() {
    let text = eval(&roses(), photos(), &[]).done().stdout;
    let table = "              precision    recall  f1-score   support

        rose     0.3333    1.0000    0.5000         2
   sunflower     0.0000    0.0000    0.0000         2
       tulip     0.0000    0.0000    0.0000         2

    accuracy                         0.3333         6
   macro avg     0.1111    0.3333    0.1667         6
weighted avg     0.1111    0.3333    0.1667         6
";
    assert!(text.starts_with(table), "{text}");
    assert!(text.contains("accuracy 0.3333 (95% interval 0.0968 to 0.7000, 6 photos)"));
    assert!(text.contains("calibration error 0.6667"), "{text}");
}

#[test]
fn the_report_as_json() {
    let said = eval(&roses(), photos(), &["--json"]).done();
    let [object] = &said.json()[..] else {
        panic!("one line: {}", said.stdout);
    };
    let keys: Vec<&String> = object.as_object().unwrap().keys().collect();
    let promised = [
        "accuracy",
        "accuracy_interval",
        "top3_accuracy",
        "loss",
        "macro_f1",
        "weighted_f1",
        "ece",
        "n",
        "trained_on",
        "per_class",
        "confusion",
        "labels",
    ];
    assert_eq!(keys, promised);
    let number = |key: &str| object[key].as_f64().unwrap();
    for (key, expected) in [
        ("accuracy", 1.0 / 3.0),
        ("top3_accuracy", 1.0),
        ("macro_f1", 0.5 / 3.0),
        ("weighted_f1", 0.5 / 3.0),
        ("ece", 2.0 / 3.0),
        ("n", 6.0),
    ] {
        assert!(
            (number(key) - expected).abs() < 1e-9,
            "{key}: {}",
            number(key)
        );
    }
    assert_eq!(object["labels"], json!(["rose", "sunflower", "tulip"]));
    let row = [TESTED_ROSES, 0, 0];
    assert_eq!(object["confusion"], json!([row, row, row]));
    assert_eq!(object["per_class"][0]["recall"], 1.0);
}

#[test]
fn each_part_can_be_measured() {
    let folder = roses();
    for (part, n, trained_on) in [
        ("train", 24, 24),
        ("val", 6, 0),
        ("test", 6, 0),
        ("all", 36, 24),
    ] {
        let said = eval(&folder, photos(), &["--json", "--split", part]).done();
        let measured = &said.json()[0];
        assert_eq!(measured["n"], n, "{part}");
        assert_eq!(measured["trained_on"], trained_on, "{part}");
    }
}

#[test]
fn what_was_trained_on_is_no_test_and_said_to_be_none() {
    let folder = roses();
    for (part, words) in [
        ("train", "trained on all 24 of these photos"),
        (
            "all",
            "trained on 24 of these 36 photos, and its best epoch was chosen on 6 more",
        ),
        ("val", "best epoch was chosen on all 6 of these photos"),
    ] {
        let report = folder.path().join(part);
        let options = ["--split", part, "--report", report.to_str().unwrap()];
        let said = eval(&folder, photos(), &options).done();
        assert!(said.stdout.contains(words), "{}", said.stdout);
        let html = fs::read_to_string(report.join("report.html")).unwrap();
        assert!(html.contains(words), "{part}");
    }
    let said = eval(&folder, photos(), &[]).done();
    assert!(!said.stdout.contains("trained on"), "{}", said.stdout);
}

/// The photos of a training are known by content: in other folders, and among other photos.
#[test]
fn trained_photos_are_recognised_elsewhere() {
    let folder = roses();
    let set = set(&folder);
    let picture = image::RgbImage::from_pixel(40, 40, image::Rgb([9, 99, 9]));
    picture.save(set.join("rose/extra.png")).unwrap();
    fs::remove_dir_all(set.join("tulip")).unwrap();
    let options = ["--split", "all", "--json"];
    let said = eval(&folder, &set, &options).done();
    assert_eq!(said.json()[0]["trained_on"], Value::Null);

    let split = trained().join("split.json");
    let given = ["--split-manifest", split.to_str().unwrap()];
    let said = eval(&folder, &set, &[&options[..], &given].concat()).done();
    assert_eq!(said.json()[0]["trained_on"], 16);
    // As a run has it: beside the model.
    fs::copy(&split, folder.path().join("split.json")).unwrap();
    let said = eval(&folder, &set, &options).done();
    assert_eq!(said.json()[0]["trained_on"], 16);
    assert_eq!(said.json()[0]["n"], 25);
}

#[test]
fn a_finished_run_is_measured_as_it_was_at_its_end() {
    let path = trained().join("model.safetensors");
    let said = run([Path::new("eval"), &path, photos(), Path::new("--json")]).done();
    let metrics = fs::read(trained().join("metrics.json")).unwrap();
    let mut metrics: Value = serde_json::from_slice(&metrics).unwrap();
    let mut measured = said.json().remove(0);
    for key in ["loss", "ece"] {
        let take = |object: &mut Value| object[key].take().as_f64().unwrap();
        assert!(
            (take(&mut metrics) - take(&mut measured)).abs() < 1e-6,
            "{key}"
        );
    }
    assert_eq!(measured, metrics);
}

#[test]
fn a_missed_threshold_is_an_error_after_the_whole_report() {
    let folder = roses();
    let whole = eval(&folder, photos(), &[]).done().stdout;
    let said = eval(
        &folder,
        photos(),
        &["--min-accuracy", "0.34", "--min-macro-f1", "0.1"],
    );
    said.failed(1, &["accuracy 0.3333 is below 0.3400"]);
    let gates = said.stdout.strip_prefix(&whole).unwrap();
    let expected = "FAILED: accuracy 0.3333, required 0.3400\n\
                    passed: macro_f1 0.1667, required 0.1000\n";
    assert_eq!(gates, expected);
    let said = eval(&folder, photos(), &["--min-accuracy", "0.34", "--json"]);
    said.failed(1, &["below"]);
    assert_eq!(said.json().len(), 1);
    eval(&folder, photos(), &["--min-accuracy", "0.33"]).done();
    let said = eval(&folder, photos(), &["--min-macro-f1", "0.17"]);
    said.failed(1, &["macro_f1 0.1667 is below 0.1700"]);
    eval(&folder, photos(), &["--min-accuracy", "90"]).failed(2, &["--min-accuracy 90"]);
}

#[test]
fn a_baseline_bounds_the_regression() {
    let folder = roses();
    let earlier = folder.path().join("earlier.json");
    let earlier_text = earlier.to_str().unwrap();
    let mut metrics = eval(&folder, photos(), &["--json"]).done().json().remove(0);
    metrics["accuracy"] = json!(0.35);
    fs::write(&earlier, metrics.to_string()).unwrap();
    let options = ["--baseline", earlier_text];
    let line = eval(&folder, photos(), &options).failed(1, &["accuracy_regression", "0.3400"]);
    assert!(!line.contains("macro_f1"), "{line}");
    let options = ["--baseline", earlier_text, "--max-regression", "0.02"];
    let said = eval(&folder, photos(), &options).done();
    assert!(
        said.stdout
            .contains("passed: accuracy_regression 0.3333, required 0.3300")
    );

    metrics["labels"] = json!(["aster", "sunflower", "tulip"]);
    metrics["per_class"][0]["class"] = json!("aster");
    fs::write(&earlier, metrics.to_string()).unwrap();
    let words = [
        "different classes",
        "only in the baseline: aster",
        "only in the model: rose",
    ];
    eval(&folder, photos(), &options).failed(3, &words);
    fs::write(&earlier, b"{}").unwrap();
    eval(&folder, photos(), &options).failed(3, &["earlier.json", "not an evaluation"]);
}

#[test]
fn junit_files_hold_gates_and_classes() {
    let folder = roses();
    let path = folder.path().join("eval.xml");
    let options = ["--junit", path.to_str().unwrap(), "--min-accuracy", "0.9"];
    let options = [&options[..], &["--min-macro-f1", "0.1"]].concat();
    eval(&folder, photos(), &options).failed(1, &["below 0.9"]);
    let text = fs::read_to_string(&path).unwrap();
    let document = Document::parse(&text).unwrap();
    let cases: Vec<(&str, &str, bool)> = document
        .descendants()
        .filter(|node| node.has_tag_name("testcase"))
        .map(|case| {
            let failed = case.children().any(|child| child.has_tag_name("failure"));
            let attribute = |name| case.attribute(name).unwrap_or_default();
            (attribute("classname"), attribute("name"), failed)
        })
        .collect();
    let expected = [
        ("gates", "accuracy", true),
        ("gates", "macro_f1", false),
        ("classes", "rose", false),
        ("classes", "sunflower", false),
        ("classes", "tulip", false),
    ];
    assert_eq!(cases, expected);
}

#[test]
fn reports_go_to_a_folder_of_their_own() {
    let folder = roses();
    let report = folder.path().join("new/report");
    let options = ["--report", report.to_str().unwrap(), "--json"];
    let said = eval(&folder, photos(), &options).done();
    let expected = ["confusion_matrix.png", "metrics.json", "report.html"];
    assert_eq!(names(&report), expected);
    let metrics = fs::read(report.join("metrics.json")).unwrap();
    let metrics: Value = serde_json::from_slice(&metrics).unwrap();
    assert_eq!(metrics, said.json()[0]);
    let html = fs::read_to_string(report.join("report.html")).unwrap();
    // The mistakes are shown, each with its picture.
    assert!(html.matches("data:image/").count() >= 4, "thumbnails");
    assert!(html.contains("tulip"));
}

#[test]
fn classes_are_matched_by_name() {
    let folder = roses();
    let set = set(&folder);
    fs::remove_dir_all(set.join("sunflower")).unwrap();
    let said = eval(&folder, &set, &["--split", "all", "--json"]).done();
    let expected = json!([[12, 0, 0], [0, 0, 0], [12, 0, 0]]);
    assert_eq!(said.json()[0]["confusion"], expected);

    fs::rename(set.join("tulip"), set.join("weed\n1")).unwrap();
    let words = ["does not know: weed\\n1", "rose, sunflower, tulip"];
    eval(&folder, &set, &["--split", "all"]).failed(3, &words);
}

#[test]
fn another_folder_is_not_taken_for_the_one_trained_on() {
    let folder = roses();
    let set = set(&folder);
    eval(&folder, &set, &[]).done();
    let extra = set.join("rose/extra.png");
    let picture = image::RgbImage::from_pixel(40, 40, image::Rgb([9, 99, 9]));
    picture.save(extra).unwrap();
    let words = ["--split-manifest", "--split all"];
    eval(&folder, &set, &[]).failed(3, &words);
    eval(&folder, &set, &["--split", "train"]).failed(3, &words);

    let said = eval(&folder, &set, &["--split", "all", "--json"]).done();
    assert_eq!(said.json()[0]["n"], 37);
    let split = trained().join("split.json");
    let manifest = ["--split-manifest", split.to_str().unwrap(), "--json"];
    let said = eval(&folder, &set, &manifest).done();
    assert_eq!(said.json()[0]["n"], 6);
    fs::remove_file(set.join("tulip/tulip-0002.jpg")).unwrap();
    eval(&folder, &set, &manifest).failed(3, &["1 of its photos are missing", "tulip-0002.jpg"]);
}

#[test]
fn photos_that_were_renamed_are_found_by_the_split_beside_the_model() {
    let folder = roses();
    let set = set(&folder);
    fs::rename(set.join("rose/rose-0001.jpg"), set.join("rose/first.jpg")).unwrap();
    fs::rename(
        set.join("tulip/tulip-0002.jpg"),
        set.join("tulip/second.jpg"),
    )
    .unwrap();
    let run_of = |model: &Path| run([Path::new("eval"), model, &set, Path::new("--json")]);
    let said = run_of(&trained().join("model.safetensors")).done();
    assert_eq!(said.json()[0]["n"], 6);
    assert_eq!(said.json()[0]["trained_on"], 0);
    // Nothing is beside this one.
    run_of(&folder.path().join("rose.safetensors")).failed(3, &["--split-manifest"]);
}

#[test]
fn a_test_part_of_its_own_needs_no_split() {
    let folder = roses();
    let parts = folder.path().join("parts");
    for class in ["rose", "sunflower", "tulip"] {
        for part in ["train", "test"] {
            copy(&photos().join(class), &parts.join(part).join(class));
        }
    }
    for name in names(&parts.join("train/rose")).iter().skip(8) {
        for class in ["rose", "sunflower", "tulip"] {
            let name = name.replace("rose", class);
            fs::remove_file(parts.join("train").join(class).join(name)).unwrap();
        }
    }
    for number in 1..=8 {
        for class in ["rose", "sunflower", "tulip"] {
            let name = format!("test/{class}/{class}-{number:04}.jpg");
            fs::remove_file(parts.join(name)).unwrap();
        }
    }
    let said = eval(&folder, &parts, &["--json"]).done();
    assert_eq!(said.json()[0]["n"], 12);
    let warning = "not trained on this split";
    assert!(said.stderr.contains(warning), "{}", said.stderr);
    eval(&folder, &parts, &["--split", "val"]).failed(3, &["--split all"]);
}

#[test]
fn a_report_belongs_to_one_process_at_a_time() {
    let folder = roses();
    let (report, stderr) = (folder.path().join("report"), folder.path().join("stderr"));
    let model = folder.path().join("rose.safetensors");
    let mut arguments: Vec<OsString> = vec!["eval".into(), model.into(), photos().into()];
    arguments.extend(["--report".into(), report.clone().into()]);
    let mut first = start(&arguments, &stderr);
    wait_until("a lock", || report.join("run.lock").exists());
    let process = first.id().to_string();
    let signal = |name: &str| {
        let sent = Command::new("kill").args([name, &process]).status();
        assert!(sent.unwrap().success());
    };
    signal("-STOP");
    run(&arguments).failed(4, &["report is in use by process"]);
    signal("-CONT");
    assert!(first.wait().unwrap().success());
    assert!(report.join("report.html").exists() && !report.join("run.lock").exists());
}

#[test]
fn a_photo_that_only_decoding_finds_to_be_broken_is_left_out_and_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let set = set(&folder);
    let mut png = Vec::new();
    let encoder = image::codecs::png::PngEncoder::new(&mut png);
    let white = image::RgbImage::from_pixel(64, 64, image::Rgb([255; 3]));
    white.write_with_encoder(encoder).unwrap();
    let pixels = png.windows(4).position(|kind| kind == b"IDAT").unwrap();
    png[pixels + 12] ^= 1;
    fs::write(set.join("rose/broken.png"), png).unwrap();
    // The run holds the split of its training, so that no photo is decoded to find it.
    let model = trained().join("model.safetensors");
    let eval = |options: &[&str]| {
        let arguments = [Path::new("eval"), &model, &set];
        let options = [&["--split", "all"], options].concat();
        run(arguments.into_iter().chain(options.iter().map(Path::new)))
    };
    let report = folder.path().join("report");
    let said = eval(&["--report", report.to_str().unwrap(), "--json"]).done();
    assert_eq!(said.json()[0]["n"], 36);
    let warning = "warning: skipped a photo that can't be decoded, ";
    assert_eq!(said.stderr.matches(warning).count(), 1, "{}", said.stderr);
    assert!(
        said.stderr.contains("rose/broken.png (broken PNG"),
        "{}",
        said.stderr
    );
    let html = fs::read_to_string(report.join("report.html")).unwrap();
    assert!(html.contains("rose/broken.png"));
    eval(&["--max-bad", "0"]).failed(3, &["rose/broken.png", "broken PNG", "--max-bad"]);
}
