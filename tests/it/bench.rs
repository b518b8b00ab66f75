//! `flowers bench`: what it reports, and what it refuses. Nothing here depends on a time.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{Said, model, run};

/// Small enough to take no time.
const QUICK: [&str; 5] = ["bench", "--seconds", "0.01", "--threads", "1"];

fn bench(options: &[&str]) -> Said {
    run(QUICK.iter().chain(options))
}

/// The one JSON list of a run.
#[track_caller]
fn figures(options: &[&str]) -> Vec<Value> {
    let mut lines = bench(&[options, &["--json"]].concat()).done().json();
    assert_eq!(lines.len(), 1);
    let Value::Array(figures) = lines.remove(0) else {
        panic!("a list is wanted");
    };
    figures
}

fn texts<'a>(figures: &'a [Value], field: &str) -> Vec<&'a str> {
    figures
        .iter()
        .map(|figure| figure[field].as_str().unwrap())
        .collect()
}

fn numbers(figures: &[Value], field: &str) -> Vec<f64> {
    figures
        .iter()
        .map(|figure| figure[field].as_f64().unwrap())
        .collect()
}

#[test]
fn a_model_is_timed_in_every_precision_and_batch() {
    let path = model();
    let path = path.to_str().unwrap();
    let list = ["--precision", "float32,bfloat16", "--batch", "3,1"];
    let figures = figures(&[&[path], &list[..]].concat());
    assert_eq!(
        texts(&figures, "precision"),
        ["float32", "float32", "bfloat16", "bfloat16"]
    );
    assert_eq!(numbers(&figures, "batch"), [3.0, 1.0, 3.0, 1.0]);
    assert_eq!(numbers(&figures, "threads"), [1.0; 4]);
    assert_eq!(texts(&figures, "device"), ["cpu"; 4]);
    assert_eq!(texts(&figures, "model"), [path; 4]);
    for figure in &figures {
        assert!(figure["native"].as_bool().is_some(), "{figure}");
        let [speed, p50, p99, load] = ["images_per_second", "p50_ms", "p99_ms", "load_ms"]
            .map(|field| figure[field].as_f64().unwrap());
        assert!(p50 > 0.0 && p99 >= p50 && load > 0.0, "{figure}");
        let batch = figure["batch"].as_f64().unwrap();
        assert!((speed * p50 / (1e3 * batch) - 1.0).abs() < 1e-6, "{figure}");
        if cfg!(target_os = "linux") {
            let [now, most] =
                ["resident_mb", "peak_mb"].map(|field| figure[field].as_f64().unwrap());
            assert!(now > 1.0 && most >= now, "{figure}");
        }
    }
}

#[test]
fn an_architecture_needs_no_model() {
    let small = ["--arch", "resnet18", "--image-size", "32", "--classes", "4"];
    let plain = ["--kernels", "plain", "--batch", "2"];
    let figures = figures(&[&small[..], &plain].concat());
    assert_eq!(texts(&figures, "model"), ["resnet18"]);
    assert_eq!(texts(&figures, "kernels"), ["plain"]);

    let text = bench(&[&small[..], &["--precision", "float32"]].concat());
    let text = text.done().stdout;
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("precision"), "{text}");
    let batches = lines[1..4]
        .iter()
        .map(|line| line.split_whitespace().nth(3));
    assert_eq!(
        batches.collect::<Vec<_>>(),
        [Some("1"), Some("8"), Some("32")]
    );
    let [about] = lines[4..] else {
        panic!("{text}");
    };
    assert!(
        about.starts_with("resnet18 on cpu, threads: 1; by "),
        "{text}"
    );
}

#[test]
fn what_is_imitated_is_said_to_be() {
    let path = model();
    let options = [
        "--precision",
        "bfloat16",
        "--kernels",
        "plain",
        "--batch",
        "1",
    ];
    let said = bench(&[&[path.to_str().unwrap()], &options[..]].concat()).done();
    assert!(said.stderr.contains("no bfloat16"), "{}", said.stderr);
}

#[test]
fn what_can_not_be_timed_is_named() {
    let known = ["no architecture \"petunia\"", "resnet18"];
    bench(&["--arch", "petunia"]).failed(2, &known);
    let no_int8 = ["resnet18", "not int8", "flowers quantize"];
    bench(&["--arch", "resnet18", "--precision", "int8"]).failed(2, &no_int8);
    bench(&["no-such-model"]).failed(3, &["no-such-model"]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    fs::write(&path, "these are no weights").unwrap();
    bench(&[path.to_str().unwrap()]).failed(3, &["notes.txt"]);
}

#[test]
fn senseless_arguments_show_the_usage() {
    let path = model();
    let path = Path::new(&path).to_str().unwrap();
    bench(&[]).misused(&["MODEL"]);
    bench(&[path, "--arch", "resnet18"]).misused(&["--arch"]);
    bench(&[path, "--classes", "3"]).misused(&["--classes"]);
    bench(&[path, "--batch", "0"]).misused(&["--batch"]);
    bench(&[path, "--batch", "1,none"]).misused(&["--batch", "none"]);
    bench(&[path, "--precision", "float64"]).misused(&["float64", "bfloat16"]);
    run(["bench", path, "--seconds", "0"]).misused(&["--seconds", "at most 3600"]);
}
