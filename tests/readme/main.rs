//! What the README tells people to type. What needs a missing peer is counted as ignored.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]
// Shared with the other tests, which use all of it.
#![allow(dead_code)]

#[path = "../it/support.rs"]
mod support;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use clap::Parser;
use flowers::cli::Cli;
use image::{Rgb, RgbImage, imageops};
use libtest_mimic::{Arguments, Trial};

use support::{model, photos, run};

const README: &str = include_str!("../../README.md");

/// By how much a probability may differ: Pillow's resizing and another runtime.
const TOLERANCE: f64 = 0.02;

fn main() -> ExitCode {
    let python = python();
    if python.is_none() {
        eprintln!("skipped: Python has no onnxruntime, numpy and PIL; FLOWERS_PYTHON may name one");
    }
    let trial = |name: &str, test: fn()| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    };
    let trials = vec![
        trial("every_command_is_understood", every_command_is_understood),
        trial("every_file_is_there", every_file_is_there),
        trial(
            "the_onnx_example_answers_as_predict",
            the_onnx_example_answers_as_predict,
        )
        .with_ignored_flag(python.is_none()),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Python with what the example imports.
fn python() -> Option<OsString> {
    let python = std::env::var_os("FLOWERS_PYTHON").unwrap_or("python3".into());
    let imports = ["-c", "import json, numpy, onnxruntime, PIL"];
    let mut command = Command::new(&python);
    let quiet = command.args(imports).stderr(Stdio::null()).status();
    quiet.is_ok_and(|status| status.success()).then_some(python)
}

/// The blocks of code in a language, without their fences.
fn blocks(language: &str) -> Vec<&'static str> {
    let opened = README.split("```").skip(1).step_by(2);
    let blocks = opened.filter_map(|block| block.strip_prefix(&format!("{language}\n")));
    blocks.collect()
}

/// Command lines of `flowers`, without pipes, redirections and comments.
fn commands() -> Vec<Vec<&'static str>> {
    let shell = blocks("sh").into_iter().flat_map(str::lines);
    let console = blocks("console").into_iter().flat_map(str::lines);
    let typed = console.filter_map(|line| line.strip_prefix("$ "));
    let lines = shell
        .chain(typed)
        .filter(|line| line.starts_with("flowers "));
    let plain = |line: &'static str| {
        let words = line.split_whitespace();
        words
            .take_while(|word| !word.starts_with(['#', '|', '>', '&']))
            .collect()
    };
    lines.map(plain).collect()
}

fn every_command_is_understood() {
    let commands = commands();
    assert!(commands.len() > 12, "{commands:?}");
    for command in commands {
        if let Err(error) = Cli::try_parse_from(&command) {
            panic!("{}\n{error}", command.join(" "));
        }
    }
}

fn every_file_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let within = |open: &str, close: char| -> Vec<&str> {
        let rests = README.split(open).skip(1);
        rests
            .map(|rest| rest.split(close).next().unwrap())
            .collect()
    };
    let (links, pictures) = (within("](", ')'), within("src=\"", '"'));
    assert!(links.len() > 2 && pictures.len() > 2);
    let mut files = [links, pictures].concat();
    files.retain(|target| !target.starts_with(['#', 'h']));
    for file in files {
        assert!(root.join(file).exists(), "{file}");
    }
}

/// A wide photo whose sides are of other colours, so that what is cut off matters.
fn wide(photo: &Path, place: &Path) {
    let photo = image::open(photo).unwrap().to_rgb8();
    let mut wide = RgbImage::from_pixel(360, 160, Rgb([230, 30, 40]));
    let middle = imageops::resize(&photo, 200, 160, imageops::FilterType::Triangle);
    imageops::replace(&mut wide, &middle, 80, 0);
    wide.save(place).unwrap();
}

fn the_onnx_example_answers_as_predict() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let model = model();
    let command = commands().into_iter().find(|command| {
        let wanted = ["export", "onnx", "image", "model.onnx"];
        wanted.iter().all(|word| command.contains(word))
    });
    let command = command.expect("the export that the example reads");
    let arguments = command[1..].iter().map(|word| match *word {
        "run/model.safetensors" => model.clone().into_os_string(),
        "model.onnx" => file("model.onnx").into(),
        word => word.into(),
    });
    run(arguments).done();

    let examples = blocks("python");
    let [example] = examples.as_slice() else {
        panic!("{} examples", examples.len());
    };
    for kind in ["rose", "tulip", "sunflower"] {
        let photo: PathBuf = photos().join(kind).join(format!("{kind}-0001.jpg"));
        wide(&photo, &file("rose.jpg"));
        let said = Command::new(python().unwrap())
            .args(["-c", example])
            .current_dir(folder.path())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success(), "{stderr}");
        let said = String::from_utf8(said.stdout).unwrap();
        let (label, score) = said.trim().split_once(' ').unwrap();
        let score: f64 = score.parse().unwrap();

        let path = file("rose.jpg");
        let arguments = ["predict", "--json", "--precision", "float32"].map(OsString::from);
        let files = [model.clone().into_os_string(), path.into_os_string()];
        let answer = run(arguments.into_iter().chain(files)).done().json()[0].clone();
        let guesses = answer["top_predictions"].as_array().unwrap();
        let same = guesses
            .iter()
            .find(|guess| guess["class"] == label)
            .unwrap();
        let expected = same["confidence"].as_f64().unwrap();
        assert!((score - expected).abs() < TOLERANCE, "{said}: {answer}");
        let first = answer["confidence"].as_f64().unwrap();
        assert!(expected > first - TOLERANCE, "{said}: {answer}");
    }
    fs::remove_file(file("rose.jpg")).unwrap();
}
