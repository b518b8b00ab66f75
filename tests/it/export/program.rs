//! `flowers export` from the command line.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use flowers::weights::safetensors;

use super::{bundle, int8};
use crate::support::{Said, limited, model, names, photos, run};

fn arguments(model: &Path, format: &str, out: &Path, options: &[&str]) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["export".into(), model.into()];
    arguments.extend(["--format".into(), format.into(), "--out".into(), out.into()]);
    arguments.extend(options.iter().map(OsString::from));
    arguments
}

fn export(model: &Path, format: &str, out: &Path, options: &[&str]) -> Said {
    run(arguments(model, format, out, options))
}

#[test]
fn every_format_is_written_and_verified() {
    let folder = tempfile::tempdir().unwrap();
    for (format, words) in [
        ("onnx", "ONNX interpreter, same label on 16 of 16"),
        ("torchscript", "libtorch, same label on 16 of 16"),
        (
            "tflite",
            "flowers (not run by LiteRT), same label on 16 of 16",
        ),
        ("safetensors", "parameters are bit for bit the same"),
        ("pth", "parameters are bit for bit the same"),
    ] {
        let out = folder.path().join(format);
        let said = export(&model(), format, &out, &[]).done();
        assert!(said.stdout.contains("passed: "), "{}", said.stdout);
        assert!(said.stdout.contains(words), "{}", said.stdout);
        assert!(fs::metadata(&out).unwrap().len() > 1_000_000);
    }
    assert_eq!(
        names(folder.path()),
        ["onnx", "pth", "safetensors", "tflite", "torchscript"]
    );
}

#[test]
fn json_tells_what_was_verified() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("model.onnx");
    let photos = photos().to_str().unwrap();
    let options = [
        "--calibration",
        photos,
        "--input",
        "image",
        "--batch",
        "8",
        "--json",
    ];
    let said = export(&model(), "onnx", &out, &options).done();
    let answer = &said.json()[0];
    assert_eq!(answer["format"], "onnx");
    assert_eq!(answer["bytes"], fs::metadata(&out).unwrap().len());
    let verification = &answer["verification"];
    assert_eq!(verification["reader"], "ONNX interpreter");
    assert_eq!(verification["passed"], true);
    assert_eq!(verification["pictures"], 36);
    assert_eq!(verification["same_label"], 36);
    let options = ["--no-verify", "--json", "--force"];
    let said = export(&model(), "onnx", &out, &options).done();
    assert!(said.json()[0]["verification"].is_null());
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("model.out");
    let model = model();
    let refused = |format, options: &[&str]| export(&model, format, &out, options);
    refused("onnx", &["--opset", "10"]).misused(&["10", "11..=21"]);
    refused("gguf", &[]).misused(&["gguf", "onnx", "torchscript", "tflite", "pth"]);
    refused("onnx", &["--batch", "0"]).misused(&["dynamic", "1024"]);
    refused("onnx", &["--no-verify", "--calibration", "x"]).misused(&["--calibration"]);
    refused("pth", &["--opset", "17"]).failed(2, &["--opset", "pth"]);
    refused("safetensors", &["--softmax"]).failed(2, &["--softmax", "safetensors"]);
    refused("torchscript", &["--batch", "4"]).failed(2, &["--batch", "torchscript"]);
    refused("onnx", &["--weights", "float16"]).failed(2, &["--weights", "onnx"]);
    refused("tflite", &["--batch", "4"]).failed(2, &["--batch", "tflite"]);
    refused("tflite", &["--input", "float"]).failed(2, &["--input", "tflite"]);
    assert!(names(folder.path()).is_empty());

    export(&model, "pth", &model, &["--force"]).failed(2, &["is the model itself"]);
    export(&model, "pth", folder.path(), &["--force"]).failed(2, &["is not a file"]);
    fs::write(&out, b"mine").unwrap();
    refused("pth", &[]).failed(2, &["model.out already exists", "--force"]);
    assert_eq!(fs::read(&out).unwrap(), b"mine");
    refused("pth", &["--force"]).done();
    assert_ne!(fs::read(&out).unwrap(), b"mine");
}

#[test]
fn models_and_photos_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("model.onnx");
    let weights = folder.path().join("weights.safetensors");
    let alone = &bundle("resnet18").weights;
    safetensors::write(&weights, alone, &BTreeMap::new()).unwrap();
    export(&weights, "onnx", &out, &[]).failed(
        3,
        &["weights.safetensors", "has no architecture, no labels"],
    );
    let empty = folder.path().join("empty");
    fs::create_dir_all(empty.join("rose")).unwrap();
    let options = ["--calibration", empty.to_str().unwrap()];
    export(&model(), "onnx", &out, &options).failed(3, &["empty", "no photos"]);

    let quantized = folder.path().join("int8.safetensors");
    int8(&bundle("resnet18")).write(&quantized).unwrap();
    export(&quantized, "pth", &out, &[]).failed(2, &["int8", "--format onnx"]);
    export(&quantized, "onnx", &out, &["--opset", "12"])
        .failed(2, &["int8.safetensors", "conv1", "--opset 13"]);
    assert_eq!(
        names(folder.path()),
        ["empty", "int8.safetensors", "weights.safetensors"]
    );
    export(&quantized, "onnx", &out, &[]).done();
}

#[test]
fn a_full_disk_leaves_no_part_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("model.onnx");
    limited("-f 100", arguments(&model(), "onnx", &out, &[]))
        .failed(4, &["model.onnx", "File too large"]);
    assert!(names(folder.path()).is_empty());
    let elsewhere = folder.path().join("no such folder").join("model.onnx");
    export(&model(), "onnx", &elsewhere, &[]).failed(4, &["no such folder"]);
}
