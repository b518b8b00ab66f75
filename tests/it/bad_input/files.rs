//! Model and weights files that are broken, foreign, or hostile.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use flowers::bundle::Bundle;
use flowers::labels::Labels;
use flowers::weights::{Values, safetensors};
use serde_json::{Value, json};

use crate::support::{Said, model, photos, run, train, trained};

const WEIGHTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/weights");

/// What a verb that reads a model says of this one.
fn verb(name: &str, model: &Path) -> Said {
    let files = (name != "info").then_some(photos());
    run([Path::new(name), model].into_iter().chain(files))
}

const VERBS: [&str; 3] = ["predict", "eval", "info"];

/// The trained model with its manifest changed.
fn rewritten(folder: &Path, change: impl FnOnce(&mut Value)) -> PathBuf {
    const KEY: &str = "flowers.manifest";
    let (weights, mut notes) = safetensors::read(&model()).unwrap();
    let mut manifest = serde_json::from_str(&notes[KEY]).unwrap();
    change(&mut manifest);
    notes.insert(KEY.into(), manifest.to_string());
    let path = folder.join("changed.safetensors");
    safetensors::write(&path, &weights, &notes).unwrap();
    path
}

#[test]
fn broken_model_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("my model");
    let whole = fs::read(model()).unwrap();
    let cases: [(&[u8], &str); 4] = [
        (&whole[..whole.len() - 1], "cut short"),
        (&whole[..100], "cut short"),
        (b"", "my model"),
        (b"a rose is a rose", "it is text, not a model"),
    ];
    for (bytes, word) in cases {
        fs::write(&path, bytes).unwrap();
        verb("info", &path).failed(3, &["my model", word]);
    }
    for name in ["predict", "eval"] {
        verb(name, &path).failed(3, &["my model", "it is text, not a model"]);
    }
    fs::remove_file(&path).unwrap();
    verb("predict", &path).failed(3, &["my model", "No such file"]);
    let words = ["my model", "no model file or architecture"];
    verb("info", &path).failed(2, &words);
    verb("eval", photos()).failed(3, &["photos", "a folder without a model.safetensors"]);
}

#[test]
fn models_of_another_version_or_of_nothing_known() {
    let folder = tempfile::tempdir().unwrap();
    let newer = rewritten(folder.path(), |manifest| {
        manifest["schema"] = json!(99);
        manifest["flowers_version"] = json!("7.0.0");
    });
    for name in VERBS {
        let words = [
            "changed.safetensors",
            "version 99",
            "flowers 7.0.0",
            "update flowers",
        ];
        verb(name, &newer).failed(3, &words);
    }
    let unknown = rewritten(folder.path(), |manifest| {
        manifest["architecture"] = json!("vgg")
    });
    for name in VERBS {
        verb(name, &unknown).failed(3, &["changed.safetensors", "\"vgg\"", "resnet18"]);
    }
    let other = rewritten(folder.path(), |manifest| {
        manifest["architecture"] = json!("resnet18");
    });
    let words = ["changed.safetensors", "lack", "conv1.weight"];
    verb("predict", &other).failed(3, &words);
    let fewer = rewritten(folder.path(), |manifest| {
        manifest["labels"] = json!(["a", "b"])
    });
    let words = ["changed.safetensors", "[3, 1280]", "[2, 1280]"];
    verb("eval", &fewer).failed(3, &words);
}

#[test]
fn weights_alone_are_no_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let (weights, _) = safetensors::read(&model()).unwrap();
    safetensors::write(&path, &weights, &BTreeMap::new()).unwrap();
    let words = ["weights.safetensors", "no labels", "--weights"];
    verb("predict", &path).failed(3, &words);
    let words = [
        "last.ckpt: it is the checkpoint of a run",
        "model.safetensors",
    ];
    verb("predict", &trained().join("last.ckpt")).failed(3, &words);
}

#[test]
fn scores_that_are_no_numbers_are_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broken.safetensors");
    let (bundle, _) = Bundle::read(&model()).unwrap();
    let refused = |name: &str, values: Vec<f32>, words: &[&str]| {
        let mut bundle = bundle.clone();
        let tensor = bundle.weights.get_mut(name).unwrap();
        tensor.values = Values::F32(values);
        bundle.write(&path).unwrap();
        for name in ["predict", "eval"] {
            let said = verb(name, &path);
            assert_eq!(said.stdout, "");
            said.failed(3, words);
        }
    };
    let words = [
        "broken.safetensors",
        "classifier.1.bias holds NaN (1 of 3 values",
    ];
    refused("classifier.1.bias", vec![0.0, f32::NAN, 0.0], &words);
    // Finite, but not what they add up to.
    let words = ["scores are not finite", "weights are broken"];
    refused("classifier.1.weight", vec![f32::MAX; 3 * 1280], &words);
}

#[test]
fn a_model_with_a_class_name_of_two_lines_prints_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lines.safetensors");
    let (mut bundle, _) = Bundle::read(&model()).unwrap();
    bundle.manifest.labels = Labels::new(["a\nb", "c\td", "e\u{1b}[31mf"]).unwrap();
    bundle.write(&path).unwrap();
    let photo = photos().join("rose/rose-0001.jpg");
    let said = run([Path::new("predict"), &path, &photo]).done();
    assert_eq!(said.stdout.lines().count(), 1, "{}", said.stdout);
    for shown in ["a\\nb", "c\\td", "e\\u{1b}[31mf"] {
        assert!(said.stdout.contains(shown), "{}", said.stdout);
    }
    let words = ["does not know: rose, sunflower, tulip", "a\\nb"];
    verb("eval", &path).failed(3, &words);
    let described = verb("info", &path).done();
    assert!(described.stdout.contains("a\\nb, c\\td"));
}

#[test]
fn weights_files_that_cannot_be_trained_from() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let refused = |weights: &Path, words: &[&str]| {
        let weights = weights.to_str().unwrap();
        train(photos(), &out, &["--weights", weights]).failed(3, words);
        assert!(!out.exists());
    };
    for name in [
        "evil_zip_p2.pth",
        "evil_zip_p4.pth",
        "evil_legacy_p2.pth",
        "evil_legacy_p4.pth",
    ] {
        let words = [
            name,
            "system, which is refused",
            "torch.save(model.state_dict(), FILE)",
        ];
        refused(&Path::new(WEIGHTS).join(name), &words);
    }
    for (name, words) in [
        ("checkpoint_nan_p2.pth", "spoilt holds NaN (1 of 3 values"),
        (
            "checkpoint_infinity_p2.pth",
            "spoilt holds infinity (1 of 2 values",
        ),
    ] {
        refused(&Path::new(WEIGHTS).join(name), &[name, words]);
    }
    refused(
        &folder.path().join("none.pth"),
        &["none.pth", "No such file"],
    );
    let note = folder.path().join("note.pth");
    fs::write(&note, b"<html>404</html>").unwrap();
    refused(&note, &["note.pth", "a web page"]);

    let resnet = resnet18(folder.path());
    let words = [
        "does not fit mobilenet_v2",
        "260 missing (features.0.0.weight",
        "122 unexpected (bn1.bias",
        "--arch",
    ];
    refused(&resnet, &words);

    let words = ["last.ckpt is the checkpoint of a run", "model.safetensors"];
    refused(&trained().join("last.ckpt"), &words);
    let int8 = folder.path().join("int8.safetensors");
    let quantize = ["quantize", "--method", "dynamic", "--out"].map(Path::new);
    run(quantize.into_iter().chain([&*int8, &*model()])).done();
    refused(
        &int8,
        &["int8.safetensors is an int8 model", "the float model"],
    );
}

#[test]
fn parameters_of_another_shape_are_listed_and_only_the_head_may_differ() {
    let folder = tempfile::tempdir().unwrap();
    let (mut weights, _) = safetensors::read(&model()).unwrap();
    let path = folder.path().join("weights.safetensors");
    let path_text = path.to_str().unwrap();

    for name in ["classifier.1.weight", "classifier.1.bias"] {
        weights.remove(name).unwrap();
    }
    safetensors::write(&path, &weights, &BTreeMap::new()).unwrap();
    let out = folder.path().join("headless");
    let options = ["--epochs", "1", "--weights", path_text];
    let said = train(photos(), &out, &options).done();
    assert!(
        said.stderr.contains("with a new classifier"),
        "{}",
        said.stderr
    );

    let first = weights.get_mut("features.0.0.weight").unwrap();
    assert_eq!(first.shape, [32, 3, 3, 3]);
    first.shape = vec![3, 32, 3, 3];
    safetensors::write(&path, &weights, &BTreeMap::new()).unwrap();
    let words = [
        "1 of another shape",
        "features.0.0.weight [3, 32, 3, 3] instead of [32, 3, 3, 3]",
    ];
    train(photos(), &folder.path().join("run"), &options).failed(3, &words);
}

#[test]
fn a_prefix_of_all_names_is_removed_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let (weights, _) = safetensors::read(&model()).unwrap();
    let wrapped = weights.into_iter();
    let wrapped = wrapped.map(|(name, tensor)| (format!("module._orig_mod.{name}"), tensor));
    let path = folder.path().join("wrapped.safetensors");
    safetensors::write(&path, &wrapped.collect(), &BTreeMap::new()).unwrap();
    let options = ["--epochs", "1", "--weights", path.to_str().unwrap()];
    let said = train(photos(), &folder.path().join("run"), &options).done();
    let words = "wrapped.safetensors (prefix module._orig_mod. removed), with its classifier";
    assert!(said.stderr.contains(words), "{}", said.stderr);
}

/// A state dict of a resnet18, without training.
fn resnet18(folder: &Path) -> PathBuf {
    let architecture = flowers::models::find("resnet18").unwrap();
    let graph = architecture.graph(&architecture.imagenet()).unwrap();
    let path = folder.join("resnet18.safetensors");
    safetensors::write(&path, &graph.initialise(0), &BTreeMap::new()).unwrap();
    path
}
