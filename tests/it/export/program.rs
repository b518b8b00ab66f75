//! `flowers export` from the command line.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use flowers::bundle::Bundle;
use flowers::export::FORMATS;
use flowers::labels::Labels;
use flowers::weights::{Tensor, Values, safetensors};

use super::{bundle, int8};
use crate::support::{FULL_DISK, Said, limited, model, names, photos, run};

fn arguments(model: &Path, format: &str, out: &Path, options: &[&str]) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["export".into(), model.into()];
    arguments.extend(["--format".into(), format.into(), "--out".into(), out.into()]);
    arguments.extend(options.iter().map(OsString::from));
    arguments
}

fn export(model: &Path, format: &str, out: &Path, options: &[&str]) -> Said {
    run(arguments(model, format, out, options))
}

/// A model with a class for each of these labels.
fn classes(labels: Vec<String>) -> Bundle {
    let mut model = bundle("mobilenet_v2");
    let classes = labels.len();
    model.manifest.labels = Labels::new(labels).unwrap();
    let columns = model.weights["classifier.1.weight"].shape[1];
    let values = |n: usize| (0..n).map(|at| (at * at % 101) as f32 / 1000.0).collect();
    let weight = Tensor::f32([classes, columns], values(classes * columns));
    let bias = Tensor::f32([classes], values(classes));
    model.weights.insert("classifier.1.weight".into(), weight);
    model.weights.insert("classifier.1.bias".into(), bias);
    model
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
        ("saved-model", "flowers (not run by TensorFlow)"),
        ("keras", "flowers (not run by Keras)"),
        ("keras-h5", "flowers (not run by Keras)"),
        ("coreml", "flowers (not run by Core ML)"),
        ("web", "ONNX interpreter, same label on 16 of 16"),
        ("triton", "ONNX interpreter, same label on 16 of 16"),
        ("safetensors", "parameters are bit for bit the same"),
        ("pth", "parameters are bit for bit the same"),
    ] {
        let out = folder.path().join(format);
        let said = export(&model(), format, &out, &[]).done();
        assert!(said.stdout.contains("passed: "), "{}", said.stdout);
        assert!(said.stdout.contains(words), "{}", said.stdout);
        assert!(said.stdout.contains("To use it"), "{}", said.stdout);
        let files = walkdir::WalkDir::new(&out).into_iter();
        let sizes = files.map(|file| file.unwrap().metadata().unwrap().len());
        assert!(sizes.sum::<u64>() > 1_000_000);
    }
    let mut formats: Vec<_> = FORMATS.iter().map(|format| format.name).collect();
    formats.sort_unstable();
    assert_eq!(names(folder.path()), formats);
}

#[test]
fn a_folder_is_replaced_when_asked_and_if_an_export_wrote_it() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("model");
    let write = |options: &[&str]| export(&model(), "saved-model", &out, options);
    write(&[]).done();
    let content = || fs::read(out.join("1/saved_model.pb")).unwrap();
    let before = content();
    write(&[]).failed(2, &["already exists", "--force"]);
    write(&["--force"]).done();
    assert_eq!(content(), before);
    fs::write(out.join("1/photo.jpg"), b"mine").unwrap();
    write(&["--force"]).failed(2, &["1/photo.jpg", "not part of an export"]);
    export(&model(), "coreml", &out, &["--force"]).failed(2, &["not part of an export"]);
    let file = folder.path().join("file");
    fs::write(&file, b"mine").unwrap();
    export(&model(), "coreml", &file, &["--force"]).failed(2, &["is not a folder"]);
    assert_eq!(fs::read(out.join("1/photo.jpg")).unwrap(), b"mine");
    assert_eq!(names(folder.path()), ["file", "model"]);
}

#[test]
fn photos_show_what_other_ways_to_fit_them_cost() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("model.keras");
    let photos = photos().to_str().unwrap();
    let said = export(
        &model(),
        "keras",
        &out,
        &["--calibration", photos, "--json"],
    )
    .done();
    let answer = &said.json()[0];
    let correct = &answer["verification"]["correct"];
    assert_eq!(correct["model"], correct["export"]);
    let rows = answer["geometries"].as_array().unwrap();
    let names: Vec<_> = rows
        .iter()
        .map(|row| row["geometry"].as_str().unwrap())
        .collect();
    assert_eq!(names[0], "as `flowers predict`");
    assert_eq!(names.len(), 4);
    assert_eq!(rows[0]["same_label"], 36);
    assert_eq!(rows[0]["correct"], correct["model"]);
    assert_eq!(answer["example"]["language"], "python");
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
    refused("saved-model", &["--softmax"]).failed(2, &["--softmax", "saved-model"]);
    refused("coreml", &["--trainable"]).failed(2, &["--trainable", "coreml"]);
    refused("keras", &["--author", "x"]).failed(2, &["--author", "keras"]);
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
fn unusual_labels_are_kept_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.safetensors");
    let out = folder.path().join("out");
    let with = |labels: Vec<String>| classes(labels).write(&model).unwrap();
    let odd = [
        "Gänseblümchen",
        "雏菊",
        "\"quoted\", 'too'",
        "a b&c<d>",
        "5/6 \\",
    ];
    with(odd.map(String::from).to_vec());
    for format in FORMATS.iter().filter(|format| format.needs_images()) {
        export(&model, format.name, &out, &[]).done();
        remove(&out);
    }
    let many = (0..10_000).map(|class| format!("class {class:05}"));
    for labels in [vec!["one".into()], many.collect()] {
        with(labels);
        for format in ["tflite", "keras-h5", "coreml"] {
            export(&model, format, &out, &[]).done();
            remove(&out);
        }
    }
    with(vec!["two\nlines".into(), "other".into()]);
    for format in ["tflite", "saved-model", "triton"] {
        export(&model, format, &out, &[]).failed(3, &["two\\nlines", "rename its class"]);
    }
    for format in ["keras", "keras-h5", "coreml", "onnx"] {
        export(&model, format, &out, &[]).done();
        remove(&out);
    }
    assert_eq!(names(folder.path()), ["model.safetensors"]);
}

fn remove(out: &Path) {
    match out.is_dir() {
        true => fs::remove_dir_all(out).unwrap(),
        false => fs::remove_file(out).unwrap(),
    }
}

#[test]
fn what_a_format_has_no_place_for_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let int8_model = folder.path().join("int8.safetensors");
    int8(&bundle("resnet18")).write(&int8_model).unwrap();
    for format in ["saved-model", "keras", "keras-h5", "coreml"] {
        export(&int8_model, format, &out, &[])
            .failed(2, &["int8", "float model", "--format onnx or triton"]);
    }
    for format in ["tflite", "web", "triton"] {
        export(&int8_model, format, &out, &[]).done();
        remove(&out);
    }
    let mut large = bundle("resnet18");
    let Values::F32(bias) = &mut large.weights.get_mut("fc.bias").unwrap().values else {
        panic!("floats");
    };
    bias[0] = 1e6;
    let model = folder.path().join("large.safetensors");
    large.write(&model).unwrap();
    for format in ["tflite", "coreml"] {
        export(&model, format, &out, &["--weights", "float16"])
            .failed(2, &["fc", "bias", "1000000", "--weights float32"]);
    }
    assert!(!out.exists());
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_written_to_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let closed = folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    let is_root = fs::write(closed.join("probe"), b"").is_ok();
    for format in ["keras", "saved-model"] {
        let out = match is_root {
            // Root may write anywhere but here.
            true => Path::new("/proc/self").join(format),
            false => closed.join(format),
        };
        export(&model(), format, &out, &[]).failed(4, &["can't write", format]);
    }
}

#[test]
fn a_full_disk_leaves_no_part_of_a_file() {
    let folder = tempfile::tempdir().unwrap();
    for format in ["onnx", "saved-model", "coreml", "keras"] {
        let out = folder.path().join(format);
        limited(FULL_DISK, arguments(&model(), format, &out, &[]))
            .failed(4, &[format, "File too large"]);
    }
    assert!(names(folder.path()).is_empty());
    let elsewhere = folder.path().join("no such folder").join("model.onnx");
    export(&model(), "onnx", &elsewhere, &[]).failed(4, &["no such folder"]);
}
