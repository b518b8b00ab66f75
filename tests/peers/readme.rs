//! The README's example of ONNX Runtime, run as it stands there.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use image::{Rgb, RgbImage, imageops};

use crate::needs::python;
use crate::support::{model, photos, run};

const README: &str = include_str!("../../README.md");

/// By how much a probability may differ: Pillow decodes and resizes, and another runtime computes.
const TOLERANCE: f64 = 0.02;

/// A wide photo whose sides are of another colour, so that what is cropped matters.
fn wide(photo: &Path, place: &Path) {
    let photo = image::open(photo).unwrap().to_rgb8();
    let mut wide = RgbImage::from_pixel(360, 160, Rgb([230, 30, 40]));
    let middle = imageops::resize(&photo, 200, 160, imageops::FilterType::Triangle);
    imageops::replace(&mut wide, &middle, 80, 0);
    wide.save(place).unwrap();
}

pub fn the_onnx_example_answers_as_predict() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).into_os_string();
    let export = README
        .lines()
        .find(|line| line.starts_with("flowers export") && line.contains("--input image"));
    let words = export.unwrap().split_whitespace().skip(1);
    run(words.map(|word| match word {
        "run/model.safetensors" => model().into_os_string(),
        "model.onnx" => file("model.onnx"),
        word => word.into(),
    }))
    .done();

    let (_, example) = README.split_once("```python\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    for kind in ["rose", "tulip", "sunflower"] {
        let photo = photos().join(kind).join(format!("{kind}-0001.jpg"));
        wide(&photo, Path::new(&file("rose.jpg")));
        let mut command = Command::new(python());
        command.args(["-c", example]).current_dir(folder.path());
        let output = command.output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{stderr}");
        let said = String::from_utf8(output.stdout).unwrap();
        let (label, score) = said.trim().split_once(' ').unwrap();
        let score: f64 = score.parse().unwrap();

        let options = ["predict", "--json", "--precision", "float32"].map(OsString::from);
        let files = [model().into_os_string(), file("rose.jpg")];
        let answer = run(options.into_iter().chain(files)).done().json()[0].clone();
        let expected = answer["confidence"].as_f64().unwrap();
        assert_eq!(answer["class"], label, "{said}");
        assert!((score - expected).abs() < TOLERANCE, "{said}: {answer}");
    }
}
