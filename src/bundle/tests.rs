//! What a model file keeps, and what is refused in one.

use super::*;
use crate::error::exit_code;
use crate::image::preprocess::Interpolation;
use crate::weights::Tensor;

fn manifest() -> Manifest {
    Manifest::new(
        "resnet18",
        Head::default(),
        Labels::new(["daisy", "rose"]).unwrap(),
        Preprocessing {
            resize: 256,
            crop: 224,
            interpolation: Interpolation::Bilinear,
            antialias: true,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
        },
    )
}

fn bundle(manifest: Manifest) -> Bundle {
    let weights = StateDict::from([("fc.bias".into(), Tensor::f32([2], vec![0.5, -1.0]))]);
    Bundle { manifest, weights }
}

/// The message for a file with this manifest.
fn refusal(manifest: &Value) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let notes = BTreeMap::from([(KEY.into(), manifest.to_string())]);
    safetensors::write(&path, &StateDict::new(), &notes).unwrap();
    let error = Bundle::read(&path).unwrap_err();
    assert_eq!(exit_code(&error), 3);
    let message = format!("{error:#}");
    assert!(
        message.contains("model.safetensors") && !message.contains('\n'),
        "{message}"
    );
    message
}

/// The message for a manifest with one field replaced, at a JSON pointer.
fn refusal_of(pointer: &str, value: Value) -> String {
    let mut json = serde_json::to_value(manifest()).unwrap();
    *json.pointer_mut(pointer).unwrap() = value;
    refusal(&json)
}

#[test]
fn a_model_comes_back_with_the_hash_of_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let mut written = manifest();
    written.head = Head {
        hidden: Some(128),
        dropout: 0.2,
    };
    let recipe = serde_json::json!({"epochs": 25, "lr": 1e-4});
    written.recipe = Some(TrainingRecord::of(&recipe).unwrap());
    written
        .unknown
        .insert("later".into(), Value::from(vec![1, 2]));
    let written = bundle(written);
    written.write(&path).unwrap();
    let (read, hash) = Bundle::read(&path).unwrap();
    assert_eq!(read, written);
    let bytes = std::fs::read(&path).unwrap();
    let mut hashed = Hashed::new(bytes.as_slice());
    std::io::copy(&mut hashed, &mut std::io::sink()).unwrap();
    assert_eq!(hash, hashed.finish());
    written.write(&path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_newer_schema_says_what_to_do() {
    let newer = serde_json::json!({"schema": 2, "flowers_version": "9.1.0"});
    let message = refusal(&newer);
    assert!(
        message.contains("version 2, written by flowers 9.1.0"),
        "{message}"
    );
    assert!(
        message.contains("reads up to version 1: update flowers"),
        "{message}"
    );
}

#[test]
fn plain_weights_are_no_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    safetensors::write(&path, &bundle(manifest()).weights, &BTreeMap::new()).unwrap();
    let error = Bundle::read(&path).unwrap_err();
    assert_eq!(exit_code(&error), 3);
    assert!(format!("{error:#}").contains("--weights FILE"));
}

#[test]
fn a_file_cut_short_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    bundle(manifest()).write(&path).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    for length in 1..bytes.len() {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let error = Bundle::read(&path).unwrap_err();
        assert_eq!(exit_code(&error), 3);
        assert!(
            format!("{error:#}").contains("cut short"),
            "{length}: {error:#}"
        );
    }
}

#[test]
fn values_that_no_model_can_have() {
    assert!(refusal_of("/labels", serde_json::json!([])).contains("no labels"));
    assert!(refusal_of("/labels", serde_json::json!(["a", "a"])).contains("two classes"));
    assert!(refusal_of("/schema", 0.into()).contains("version 0"));
    assert!(refusal_of("/schema", "1".into()).contains("no schema version"));
    assert!(refusal_of("/head/hidden", 0.into()).contains("no units"));
    assert!(refusal_of("/head/dropout", 1.into()).contains("dropout of 1"));
    for (field, message) in [
        ("recipe", "recipe is not an object"),
        ("metrics", "metrics are not an object"),
    ] {
        let mut json = serde_json::to_value(manifest()).unwrap();
        json[field] = "x".into();
        assert!(refusal(&json).contains(message), "{field}");
    }
    assert!(refusal_of("/preprocessing/crop", 0.into()).contains("crop is 0"));
    assert!(refusal_of("/preprocessing/crop", 257.into()).contains("cropped to 257"));
    assert!(refusal_of("/preprocessing/std/1", 0.into()).contains("std is 0"));
    assert!(refusal_of("/preprocessing/mean/1", 1e300.into()).contains("mean is inf"));
    let mut endless = manifest();
    endless.head.dropout = f64::NAN;
    assert!(bundle(endless).write(Path::new("unwritten")).is_err());
}
