//! What people write out of habit, or in the wrong place.

use std::fs;
use std::path::Path;

use crate::support::{Said, copy, flowers, model, photos, run, train, trained};

fn said(arguments: &[&str]) -> Said {
    run(arguments)
}

#[test]
fn the_nearest_name_is_suggested() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    for (option, value, meant) in [
        ("--arch", "ResNet18", "did you mean resnet18?"),
        ("--arch", "resnet-18", "did you mean resnet18?"),
        ("--arch", "MobileNetV2", "did you mean mobilenet_v2?"),
        ("--recipe", "twophase", "did you mean two-phase?"),
        ("--weights", "None", "did you mean none?"),
        ("--weights", "random", "did you mean none?"),
        ("--weights", "IMAGENET1K_V1", "did you mean imagenet?"),
        (
            "--weights",
            "ResNet18_Weights.DEFAULT",
            "did you mean imagenet?",
        ),
        ("--weights", "ImageNet", "did you mean imagenet?"),
        ("--weights", "weihgts", "Choices: imagenet, none, auto"),
    ] {
        train(photos(), &out, &[option, value]).failed(2, &[meant, value]);
    }
    said(&["bench", "--arch", "ResNet-50"]).failed(2, &["did you mean resnet50?"]);
    said(&["info", "Resnet34"]).failed(2, &["did you mean resnet34?"]);
    assert!(!out.exists());
}

#[test]
fn options_of_other_tools_have_tips() {
    for (arguments, tip) in [
        (
            &["train", "--data", "photos"][..],
            "flowers train DATA --out RUN",
        ),
        (&["train", "photos", "--output", "run"], "'--out RUN'"),
        (&["train", "photos", "--pretrained"], "'--weights'"),
        (&["train", "photos", "--pretrained", "true"], "'--weights'"),
        (&["train", "photos", "--model", "resnet18"], "'--arch NAME'"),
        (
            &["predict", "--model", "m", "a.jpg"],
            "flowers predict MODEL FILE_OR_DIR",
        ),
        (
            &["predict", "m", "--image", "a.jpg"],
            "flowers predict MODEL FILE_OR_DIR",
        ),
        (&["eval", "--model=m", "photos"], "flowers eval MODEL DATA"),
        (
            &["eval", "m", "--data", "photos"],
            "flowers eval MODEL DATA",
        ),
        (&["serve", "--model", "m"], "right after the command"),
        (&["export", "m", "--output", "m.onnx"], "'--out FILE'"),
        (
            &["quantize", "m", "--data", "photos"],
            "'--calibration DATA'",
        ),
    ] {
        said(arguments).misused(&["unexpected argument", "tip: ", tip]);
    }
    let help = said(&["train", "--help"]).done().stdout;
    assert!(!help.contains("--pretrained"), "{help}");
}

#[test]
fn a_negative_number_is_a_value() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    train(photos(), &out, &["--lr", "-1"]).failed(2, &["--lr must be a positive number"]);
    train(photos(), &out, &["--val", "-0.1"]).failed(2, &["--val must be above 0"]);
    train(photos(), &out, &["--epochs", "-1"]).misused(&["'-1'", "--epochs", "a whole number"]);
    train(photos(), &out, &["--max-bad", "-1"]).failed(2, &["--max-bad must be from 0 to 1"]);
    said(&["predict", "m", "f", "--top-k", "-3"]).misused(&["'-3'", "at least 1"]);
    said(&["serve", "m", "--timeout", "-1"]).misused(&["'-1'", "0.01 to 86400"]);
}

#[test]
fn a_host_has_no_port() {
    for (host, meant) in [
        ("localhost:5000", "--host localhost --port 5000"),
        ("http://0.0.0.0:80", "--host 0.0.0.0 --port 80"),
        ("[::1]:5000", "--host ::1 --port 5000"),
    ] {
        said(&["serve", "m", "--host", host]).misused(&[host, meant]);
    }
}

#[test]
fn a_run_stands_for_its_model() {
    let trained = trained().to_str().unwrap();
    let photo = photos().join("rose/rose-0001.jpg");
    let photo = photo.to_str().unwrap();
    let file = Path::new(trained).join("model.safetensors");
    let by_file = said(&["predict", file.to_str().unwrap(), photo]).done();
    let by_run = said(&["predict", trained, photo]).done();
    assert_eq!(by_run.stdout, by_file.stdout);
    let described = said(&["info", trained]).done().stdout;
    assert!(described.contains("model.safetensors"), "{described}");
    let folder = tempfile::tempdir().unwrap();
    let copied = folder.path().join("run");
    copy(Path::new(trained), &copied);
    let file = copied.join("model.safetensors");
    let before = fs::read(&file).unwrap();
    let (run, file_text) = (copied.to_str().unwrap(), file.to_str().unwrap());
    said(&[
        "export", run, "--format", "pth", "--out", file_text, "--force",
    ])
    .failed(2, &["is the model itself"]);
    assert!(fs::read(&file).unwrap() == before);
}

#[test]
fn what_is_no_model_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let photo = photos().join("rose/rose-0001.jpg");
    let model = model();
    let model = model.to_str().unwrap();
    let weights = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/weights");
    let pth = format!("{weights}/module_zip_p2.pth");
    let legacy = format!("{weights}/module_legacy_p2.pth");
    let onnx = folder.path().join("model.onnx");
    let onnx = onnx.to_str().unwrap();
    said(&[
        "export",
        model,
        "--format",
        "onnx",
        "--out",
        onnx,
        "--no-verify",
    ])
    .done();
    let photo = photo.to_str().unwrap();
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    for (given, words) in [
        (
            photo,
            [
                "rose-0001.jpg",
                "a JPEG picture",
                "the first argument is the model",
            ],
        ),
        (
            &pth,
            ["module_zip_p2.pth", "a PyTorch file", "--weights FILE"],
        ),
        (
            &legacy,
            ["module_legacy_p2.pth", "PyTorch", "--weights FILE"],
        ),
        (onnx, ["model.onnx", "ONNX", "exported from"]),
        (
            photos().to_str().unwrap(),
            [
                "photos",
                "a folder without a model.safetensors",
                "the first argument is the model",
            ],
        ),
        (
            empty.to_str().unwrap(),
            ["empty", "a folder without", "model"],
        ),
    ] {
        said(&["predict", given, model]).failed(3, &words);
        said(&["eval", given, photos().to_str().unwrap()]).failed(3, &words);
        said(&["serve", given, "--port", "0"]).failed(3, &words);
        said(&["info", given]).failed(3, &words);
    }
}

#[test]
fn an_exported_safetensors_file_is_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("weights.safetensors");
    let out = out.to_str().unwrap();
    let model = model();
    let model = model.to_str().unwrap();
    said(&["export", model, "--format", "safetensors", "--out", out]).done();
    let photos = photos().to_str().unwrap();
    let by_model = said(&["predict", model, photos, "--json"]).done();
    let by_export = said(&["predict", out, photos, "--json"]).done();
    assert_eq!(by_export.stdout, by_model.stdout);

    use flowers::weights::safetensors;
    let (tensors, mut notes) = safetensors::read(Path::new(out)).unwrap();
    notes.remove("architecture");
    safetensors::write(Path::new(out), &tensors, &notes).unwrap();
    let line = said(&["predict", out, photos]).failed(3, &["metadata has no architecture;"]);
    assert!(!line.contains("labels"), "{line}");
    notes.insert("architecture".into(), "resnet-18".into());
    safetensors::write(Path::new(out), &tensors, &notes).unwrap();
    said(&["predict", out, photos]).failed(3, &["weights.safetensors", "did you mean resnet18?"]);
    notes.insert("architecture".into(), "mobilenet_v2".into());
    notes.insert("preprocessing".into(), "{}".into());
    safetensors::write(Path::new(out), &tensors, &notes).unwrap();
    said(&["predict", out, photos]).failed(3, &["preprocessing in its metadata is damaged"]);
}

#[test]
fn a_folder_that_is_missing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("exports/model.onnx");
    let out = out.to_str().unwrap();
    let said = said(&[
        "export",
        model().to_str().unwrap(),
        "--format",
        "onnx",
        "--out",
        out,
    ]);
    let line = said.failed(4, &["there is no folder", "exports, create it first"]);
    assert!(!line.contains("os error"), "{line}");
}

/// No weights are downloaded for a folder that can't be trained on: the proxy refuses all.
#[test]
fn the_folder_is_looked_at_before_anything_is_downloaded() {
    let folder = tempfile::tempdir().unwrap();
    let (data, cache) = (folder.path().join("data"), folder.path().join("cache"));
    fs::create_dir_all(data.join("rose")).unwrap();
    let out = folder.path().join("run");
    let train = |data: &Path| {
        let mut command = flowers();
        command.args(["train".as_ref(), data, "--out".as_ref(), &out]);
        command.env("FLOWERS_CACHE", &cache);
        command.env("HTTPS_PROXY", "http://127.0.0.1:9");
        Said::of(command.output().unwrap())
    };
    train(&data).failed(3, &["data"]);
    assert!(!cache.exists() && !out.exists());
    train(&folder.path().join("nowhere")).failed(3, &["nowhere"]);
    assert!(!cache.exists() && !out.exists());
    train(photos()).failed(4, &["can't get the pretrained weights"]);
    assert!(cache.exists() && !out.exists());
}
