//! The runtimes that exports are for: ONNX Runtime, PyTorch and torchvision.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use flowers::bundle::Bundle;
use flowers::data::{Folder, ScanOptions};
use flowers::export::onnx::OPSETS;
use flowers::export::{self, Input, Options, Weights};
use flowers::image::{Limits, decode};
use flowers::inference::{self, Images, Precision};
use flowers::metrics::softmax;
use flowers::models::ARCHITECTURES;
use flowers::progress::Silent;
use flowers::weights::{StateDict, Tensor, Values, safetensors};

use crate::needs;
use crate::networks::{SIZE, bundle, int8, pictures};

/// Scores of the model by the kind of export that should give them.
type Expected = BTreeMap<&'static str, Vec<f32>>;

/// Runs the exports of a folder in their runtimes.
fn run(folder: &Path) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/exported.py");
    let output = Command::new(needs::python())
        .arg(script)
        .arg(folder)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    print!("{text}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{stderr}");
}

/// An input of the network and what the model makes of it.
fn write_expected(folder: &Path, bundle: &Bundle, pixels: &[u8], scores: Expected) {
    let size = bundle.manifest.preprocessing.crop as usize;
    let n = pixels.len() / (3 * size * size);
    let planes = bundle.manifest.preprocessing.planes(pixels);
    let mut tensors = StateDict::from([
        ("planes".into(), Tensor::f32([n, 3, size, size], planes)),
        (
            "pixels".into(),
            Tensor {
                shape: vec![n, size, size, 3],
                values: Values::U8(pixels.to_vec()),
            },
        ),
    ]);
    for (kind, scores) in scores {
        let scores = Tensor::f32([n, scores.len() / n], scores);
        tensors.insert(kind.into(), scores);
    }
    safetensors::write(
        &folder.join("expected.safetensors"),
        &tensors,
        &BTreeMap::new(),
    )
    .unwrap();
}

fn logits(bundle: &Bundle, precision: Precision, pixels: &[u8]) -> Vec<f32> {
    let options = inference::Options {
        precision,
        ..inference::Options::cpu()
    };
    let backend = inference::load_bundle(bundle.clone(), &options).unwrap();
    backend.logits(Images::Rgb8(pixels)).unwrap()
}

fn float_scores(bundle: &Bundle, pixels: &[u8]) -> Expected {
    let logits = logits(bundle, Precision::Float32, pixels);
    let probabilities = probabilities(&logits, bundle.manifest.labels.len());
    BTreeMap::from([
        ("float", logits.clone()),
        ("image", logits),
        ("half", probabilities.clone()),
        ("softmax", probabilities),
    ])
}

fn options(kind: &str) -> Options {
    Options {
        input: match kind {
            "float" | "int8" => Input::Float,
            _ => Input::Image,
        },
        softmax: ["softmax", "half", "int8softmax"].contains(&kind),
        weights: match kind {
            "half" => Weights::Float16,
            _ => Weights::Float32,
        },
        ..Options::default()
    }
}

/// Class probabilities, row-major with a column for each class.
fn probabilities(logits: &[f32], classes: usize) -> Vec<f32> {
    let rows = logits.chunks(classes).flat_map(softmax);
    rows.map(|p| p as f32).collect()
}

fn write(folder: &Path, format: &str, bundle: &Bundle, options: &Options, name: &str) {
    let exported = export::find(format).unwrap().encode(bundle, options);
    let written = exported.unwrap().write_checked(&folder.join(name), |_| Ok(()));
    written.unwrap();
}

pub fn every_architecture_and_opset_is_answered_alike() {
    for architecture in ARCHITECTURES {
        let name = architecture.name;
        let folder = tempfile::tempdir().unwrap();
        let float = bundle(name);
        let quantized = int8(&float);
        let pixels = pictures(4, SIZE);
        let mut scores = float_scores(&float, &pixels);
        let integers = logits(&quantized, Precision::Int8, &pixels);
        scores.insert("int8", integers.clone());
        scores.insert("int8image", integers.clone());
        scores.insert("int8softmax", probabilities(&integers, 10));
        write_expected(folder.path(), &float, &pixels, scores);
        for kind in ["float", "image", "softmax", "int8", "int8image"] {
            let of = if kind.starts_with("int8") {
                &quantized
            } else {
                &float
            };
            for opset in OPSETS.filter(|opset| !kind.starts_with("int8") || *opset >= 13) {
                let options = Options {
                    opset,
                    ..options(kind)
                };
                let file = format!("{name}-{kind}-{opset}.onnx");
                write(folder.path(), "onnx", of, &options, &file);
            }
            let file = format!("{name}-{kind}.pt");
            write(folder.path(), "torchscript", of, &options(kind), &file);
        }
        for (kind, of) in [
            ("softmax", &float),
            ("half", &float),
            ("int8softmax", &quantized),
        ] {
            let file = format!("{name}-{kind}.tflite");
            write(folder.path(), "tflite", of, &options(kind), &file);
        }
        if !name.starts_with("efficientnet") {
            // torchvision has no EfficientNet-Lite.
            let file = format!("{name}-float.pth");
            write(folder.path(), "pth", &float, &Options::default(), &file);
        }
        run(folder.path());
    }
}

/// Holds the exports of a trained model against it on every photo of a folder.
pub fn compare_on_photos(model: &Path, photos: &Path) {
    let (bundle, _) = Bundle::read(model).unwrap();
    let folder = Folder::scan(&photos.into(), &ScanOptions::default(), &Silent).unwrap();
    let mut pixels = Vec::new();
    for photo in &*folder.photos {
        let picture = decode::read(&photo.path, &Limits::default()).unwrap();
        pixels.extend(bundle.manifest.preprocessing.fit(&picture).into_raw());
    }
    let folder = tempfile::tempdir().unwrap();
    let is_int8 = bundle.manifest.quantization.is_some();
    let scores = match is_int8 {
        true => {
            let logits = logits(&bundle, Precision::Int8, &pixels);
            let probabilities = probabilities(&logits, bundle.manifest.labels.len());
            BTreeMap::from([
                ("int8", logits.clone()),
                ("int8image", logits),
                ("int8softmax", probabilities),
            ])
        }
        false => float_scores(&bundle, &pixels),
    };
    let name = &bundle.manifest.architecture;
    for kind in scores.keys() {
        let formats: &[(&str, &str)] = match *kind {
            "softmax" => &[
                ("onnx", "onnx"),
                ("torchscript", "pt"),
                ("tflite", "tflite"),
            ],
            "half" | "int8softmax" => &[("tflite", "tflite")],
            _ => &[("onnx", "onnx"), ("torchscript", "pt")],
        };
        for (format, suffix) in formats {
            let file = format!("{name}-{kind}.{suffix}");
            write(folder.path(), format, &bundle, &options(kind), &file);
        }
    }
    write_expected(folder.path(), &bundle, &pixels, scores);
    run(folder.path());
}

/// Compares the exports of any model: `FLOWERS_MODEL` and `FLOWERS_PHOTOS`.
pub fn a_model_of_ones_own_is_answered_alike() {
    let [model, photos] = needs::own_model();
    compare_on_photos(&model, &photos);
}
