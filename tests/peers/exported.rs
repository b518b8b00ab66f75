//! The runtimes that exports are for: ONNX Runtime, PyTorch, LiteRT, MediaPipe, TensorFlow, Keras and
//! coremltools.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use flowers::bundle::Bundle;
use flowers::data::{Folder, ScanOptions};
use flowers::export::onnx::OPSETS;
use flowers::export::{self, Input, Options, Weights};
use flowers::graph::Op;
use flowers::image::{Limits, decode};
use flowers::inference::{self, Images, Precision};
use flowers::metrics::softmax;
use flowers::models::ARCHITECTURES;
use flowers::progress::Silent;
use flowers::weights::{StateDict, Tensor, Values, safetensors};

use crate::needs;
use crate::networks::{SIZE, bundle, int8, kinds, pictures, side};

/// Architectures whose exports are made in every way that there is.
const OLDEST: [&str; 3] = ["resnet18", "mobilenet_v2", "efficientnet_lite0"];

/// Scores of the model by the kind of export that should give them.
type Expected = BTreeMap<&'static str, Vec<f32>>;

/// A script beside the golden values, run by a Python.
fn script(python: &OsStr, name: &str) -> Command {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut command = Command::new(python);
    command.arg(scripts.join(name));
    command
}

/// Runs a script to its end, which says what it found.
fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    print!("{text}");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{stderr}");
}

/// Runs the exports of a folder in ONNX Runtime, PyTorch and LiteRT.
fn run_torch(folder: &Path) {
    run(script(&needs::python(), "exported.py").arg(folder));
}

const EXPORTED_TENSORFLOW: &str = "exported_tensorflow.py";

/// Runs the exports of the folders of a folder in TensorFlow, the newest Keras and coremltools.
fn run_newest_tensorflow(folder: &Path) {
    run(script(&needs::tensorflow(), EXPORTED_TENSORFLOW).arg(folder));
}

/// As [`run_newest_tensorflow`], and in the oldest Keras.
fn run_tensorflow(folder: &Path) {
    run_newest_tensorflow(folder);
    let mut oldest = script(&needs::tensorflow(), EXPORTED_TENSORFLOW);
    oldest.env("PYTHONPATH", needs::oldest_keras());
    run(oldest.arg("--keras-only").arg(folder));
}

/// Runs the .tflite files of a folder in MediaPipe, which may hang.
fn run_mediapipe(folder: &Path) {
    let mut limited = Command::new("timeout");
    limited.arg("300").arg(needs::mediapipe());
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    run(limited
        .arg(scripts.join("mediapipe_classifier.py"))
        .arg(folder));
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
    let labels = bundle.manifest.labels.names().join("\n");
    fs::write(folder.join("labels.txt"), labels).unwrap();
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
            "float" | "int8" | "normalised" => Input::Float,
            _ => Input::Image,
        },
        softmax: !["float", "image", "int8", "int8image"].contains(&kind),
        weights: match kind {
            "half" => Weights::Float16,
            _ => Weights::Float32,
        },
        trainable: kind == "trainable",
        ..Options::default()
    }
}

/// Class probabilities, row-major with a column for each class.
fn probabilities(logits: &[f32], classes: usize) -> Vec<f32> {
    let rows = logits.chunks(classes).flat_map(softmax);
    rows.map(|p| p as f32).collect()
}

fn write(folder: &Path, format: &str, bundle: &Bundle, options: &Options, name: &str) {
    let format = export::find(format).unwrap();
    let exported = format.encode(bundle, options).unwrap();
    let written = format.write(exported, &folder.join(name), false, |_| Ok(()));
    written.unwrap();
}

pub fn every_architecture_and_opset_is_answered_alike() {
    for architecture in kinds() {
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
            let first = match (kind.starts_with("int8"), has_layer_norms(&float)) {
                (_, true) => 17,
                (true, false) => 13,
                (false, false) => 11,
            };
            // All of them for one of each of the oldest kinds, for the others the ends.
            let all = OLDEST.contains(&name);
            let ends = [first, *OPSETS.end()];
            for opset in OPSETS.filter(|n| *n >= first && (all || ends.contains(n))) {
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
        write_tflite(folder.path(), &float, &quantized);
        let file = format!("{name}-softmax.triton");
        let triton = options("softmax");
        write(folder.path(), "triton", &float, &triton, &file);
        if !name.starts_with("efficientnet_lite") {
            // torchvision has no EfficientNet-Lite.
            let file = format!("{name}-float.pth");
            write(folder.path(), "pth", &float, &Options::default(), &file);
        }
        run_torch(folder.path());
    }
}

fn has_layer_norms(bundle: &Bundle) -> bool {
    let graph = bundle.manifest.graph().unwrap();
    let mut nodes = graph.nodes().iter();
    nodes.any(|node| matches!(node.op, Op::LayerNorm(_)))
}

/// The first of each other family, in the opset that is written unless another is asked for.
pub fn other_families_are_answered_alike_in_onnx_runtime() {
    let mut families: BTreeSet<&str> = kinds().map(|kind| kind.family).collect();
    let others = ARCHITECTURES.iter();
    let first = others.filter(|architecture| families.insert(architecture.family));
    for name in first.map(|architecture| architecture.name) {
        let folder = tempfile::tempdir().unwrap();
        let float = bundle(name);
        let pixels = pictures(2, side(name));
        let mut scores = float_scores(&float, &pixels);
        let can_be_int8 = !["vit_b_16", "dinov2_vits14"].contains(&name);
        let quantized = can_be_int8.then(|| int8(&float));
        if let Some(quantized) = &quantized {
            scores.insert("int8image", logits(quantized, Precision::Int8, &pixels));
            let file = format!("{name}-int8image.onnx");
            write(
                folder.path(),
                "onnx",
                quantized,
                &options("int8image"),
                &file,
            );
        }
        write_expected(folder.path(), &float, &pixels, scores);
        let file = format!("{name}-image.onnx");
        write(folder.path(), "onnx", &float, &options("image"), &file);
        run_torch(folder.path());
    }
}

fn write_tflite(folder: &Path, float: &Bundle, int8: &Bundle) {
    let name = &float.manifest.architecture;
    for (kind, of) in [("softmax", float), ("half", float), ("int8softmax", int8)] {
        let file = format!("{name}-{kind}.tflite");
        write(folder, "tflite", of, &options(kind), &file);
    }
}

pub fn mediapipe_classifies_alike() {
    // Their operators are those of TensorFlow Lite, which runs all kinds elsewhere.
    for architecture in kinds().take(5) {
        let folder = tempfile::tempdir().unwrap();
        let float = bundle(architecture.name);
        let quantized = int8(&float);
        let pixels = pictures(4, SIZE);
        let mut scores = float_scores(&float, &pixels);
        let integers = logits(&quantized, Precision::Int8, &pixels);
        scores.insert("int8softmax", probabilities(&integers, 10));
        write_expected(folder.path(), &float, &pixels, scores);
        write_tflite(folder.path(), &float, &quantized);
        run_mediapipe(folder.path());
    }
}

/// The formats of TensorFlow, Keras and Core ML, by their suffixes and kinds.
const TENSORFLOW: [(&str, &str, &[&str]); 4] = [
    ("saved-model", "saved-model", &["softmax", "normalised"]),
    ("keras", "keras", &["softmax", "normalised", "trainable"]),
    ("keras-h5", "h5", &["softmax", "normalised", "trainable"]),
    ("coreml", "mlpackage", &["softmax", "half"]),
];

/// Writes all kinds of a model's exports, or those of pictures in float32.
fn write_tensorflow(folder: &Path, bundle: &Bundle, pixels: &[u8], all: bool) {
    fs::create_dir_all(folder).unwrap();
    write_expected(folder, bundle, pixels, float_scores(bundle, pixels));
    let name = &bundle.manifest.architecture;
    for (format, suffix, kinds) in TENSORFLOW {
        for kind in kinds.iter().filter(|kind| all || **kind == "softmax") {
            let file = format!("{name}-{kind}.{suffix}");
            write(folder, format, bundle, &options(kind), &file);
        }
    }
}

pub fn tensorflow_keras_and_coremltools_answer_alike() {
    let folder = tempfile::tempdir().unwrap();
    let [first, others] = ["first", "others"].map(|part| folder.path().join(part));
    for architecture in kinds() {
        let name = architecture.name;
        // One of each family in all kinds.
        let is_first = OLDEST.contains(&name);
        let own = if is_first { &first } else { &others };
        let pixels = pictures(4, SIZE);
        write_tensorflow(&own.join(name), &bundle(name), &pixels, is_first);
    }
    run_tensorflow(&first);
    run_newest_tensorflow(&others);
}

/// As [`compare_on_photos`], for the formats of TensorFlow.
pub fn compare_tensorflow_on_photos(model: &Path, photos: &Path) {
    let (bundle, _) = Bundle::read(model).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("model");
    write_tensorflow(&own, &bundle, &pixels(&bundle, photos), true);
    run_newest_tensorflow(folder.path());
}

/// What a model sees of every photo of a folder.
fn pixels(bundle: &Bundle, photos: &Path) -> Vec<u8> {
    let folder = Folder::scan(&photos.into(), &ScanOptions::default(), &Silent).unwrap();
    let seen = folder.photos.iter().map(|photo| {
        let picture = decode::read(&photo.path, &Limits::default()).unwrap();
        bundle.manifest.preprocessing.fit(&picture).into_raw()
    });
    seen.collect::<Vec<_>>().concat()
}

/// Holds the exports of a trained model against it on every photo of a folder.
pub fn compare_on_photos(model: &Path, photos: &Path) {
    let (bundle, _) = Bundle::read(model).unwrap();
    let pixels = pixels(&bundle, photos);
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
    run_torch(folder.path());
}

/// Compares the exports of any model: `FLOWERS_MODEL` and `FLOWERS_PHOTOS`.
pub fn a_model_of_ones_own_is_answered_alike() {
    let [model, photos] = needs::own_model();
    compare_on_photos(&model, &photos);
}
