//! `flowers prune`: smaller networks that every command takes, interrupted work, and what is refused.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use flowers::bundle::{Bundle, Manifest};
use serde_json::Value;
use tempfile::TempDir;

use crate::quantize::as_predicted;
use crate::support::{Said, model, names, photos, run, shared, start, train, trained, wait_until};

/// Options that leave little to do.
const TINY: [&str; 16] = [
    "--macs",
    "0.6",
    "--steps",
    "2",
    "--epochs",
    "1",
    "--samples",
    "12",
    "--batch-size",
    "8",
    "--seconds",
    "0.01",
    "--workers",
    "2",
    "--threads",
    "1",
];

fn arguments(model: &Path, out: &Path, options: &[&str]) -> Vec<OsString> {
    let tiny = TINY.chunks(2).filter(|pair| !options.contains(&pair[0]));
    let mut arguments: Vec<OsString> = vec!["prune".into(), model.into(), photos().into()];
    arguments.extend(["--out".into(), out.into()]);
    arguments.extend(tiny.flatten().chain(options).map(OsString::from));
    arguments
}

fn prune(out: &Path, options: &[&str]) -> Said {
    run(arguments(trained(), out, options))
}

/// A finished pruning, only to be read, and what it printed.
fn finished() -> &'static (PathBuf, String) {
    static FINISHED: OnceLock<(PathBuf, String)> = OnceLock::new();
    FINISHED.get_or_init(|| {
        let out = shared().join("pruned");
        let text = prune(&out, &[]).done().stdout;
        (out, text)
    })
}

fn manifest(folder: &Path) -> Manifest {
    let (bundle, _) = Bundle::read(&folder.join("model.safetensors")).unwrap();
    bundle.manifest
}

fn macs(folder: &Path) -> u64 {
    manifest(folder).graph().unwrap().macs()
}

#[test]
fn steps_lead_to_a_smaller_model() {
    let (out, text) = finished();
    let whole = macs(trained());
    let [first, last] = ["step-1", ""].map(|step| macs(&out.join(step)) as f64 / whole as f64);
    assert!(first < 0.775 && first > 0.6, "{first}");
    assert!(last <= 0.6 && last > 0.5, "{last}");
    assert_eq!(fs::read(out.join("model.safetensors")).unwrap(), {
        fs::read(out.join("step-2/model.safetensors")).unwrap()
    });
    let report: Value = serde_json::from_slice(&fs::read(out.join("prune.json")).unwrap()).unwrap();
    assert_eq!(report["model_of_step"], 2);
    assert_eq!(report["steps"].as_array().unwrap().len(), 3);
    assert_eq!(report["steps"][2]["macs"], macs(out));
    assert_eq!(report["tested"]["measured_on"], "test");
    assert!(report["speedup"].as_f64().unwrap() > 0.0);
    for part in [
        "unpruned",
        "step 1",
        "step 2",
        "result",
        "95% interval",
        "model.safetensors",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // Widths are multiples of eight where the layer has as many.
    let manifest = manifest(out);
    assert!(!manifest.channels.is_empty());
    assert!(manifest.channels.values().all(|width| width % 8 == 0));
}

#[test]
fn every_command_takes_a_pruned_model() {
    let (out, _) = finished();
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let model = out.join("model.safetensors");
    let with = |verb: &str, rest: &[&Path]| {
        let mut arguments: Vec<OsString> = vec![verb.into(), out.into()];
        arguments.extend(rest.iter().map(|part| (*part).into()));
        run(arguments)
    };
    let as_path = |text: &'static str| Path::new(text);
    with("eval", &[photos()]).done();
    let int8 = at("int8.safetensors");
    let quantized = [as_path("--out"), &*int8, as_path("--calibration"), photos()];
    with("quantize", &quantized).done();
    run([as_path("eval"), &*int8, photos()]).done();
    let said = with("info", &[as_path("--json")]).done();
    assert!(said.stdout.contains("channels"), "{}", said.stdout);
    for format in [
        "onnx",
        "torchscript",
        "tflite",
        "saved-model",
        "keras",
        "coreml",
        "safetensors",
        "pth",
    ] {
        let file = at(format);
        let options = [
            as_path("--format"),
            Path::new(format),
            as_path("--out"),
            &*file,
        ];
        with("export", &options).done();
    }
    // Exported weights are a model again, and can be trained from.
    let exported = at("safetensors");
    run([as_path("info"), &*exported, as_path("--json")]).done();
    let again = at("again");
    let weights = ["--weights", model.to_str().unwrap(), "--epochs", "1"];
    train(photos(), &again, &weights).done();
    assert_eq!(manifest(&again).channels, manifest(out).channels);
    let config = again.join("config.toml");
    let fresh = at("fresh");
    let repeated = ["--config", config.to_str().unwrap(), "--epochs", "1"];
    let random = ["--weights", "none"];
    let mut arguments: Vec<OsString> = vec!["train".into(), photos().into(), "--out".into()];
    arguments.push(fresh.clone().into());
    arguments.extend(repeated.map(OsString::from));
    run(arguments.clone()).done();
    assert_eq!(manifest(&fresh).channels, manifest(out).channels);
    // Other weights are those of the whole network.
    arguments[3] = at("whole").into();
    arguments.extend(random.map(OsString::from));
    run(arguments).done();
    assert!(manifest(&at("whole")).channels.is_empty());
}

#[test]
fn a_killed_pruning_goes_on_to_the_same_model() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    let log = folder.path().join("log");
    let arguments = arguments(trained(), &out, &[]);
    for reached in ["step-1.safetensors", "step-2/last.ckpt"] {
        let mut child = start(&arguments, &log);
        wait_until(reached, || out.join(reached).exists());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    run(&arguments).done();
    let weights = |out: &Path| {
        Bundle::read(&out.join("model.safetensors"))
            .unwrap()
            .0
            .weights
    };
    assert!(
        weights(&out) == weights(&finished().0),
        "other weights than in one go"
    );
    let said = prune(&out, &["--macs", "0.5"]);
    said.failed(2, &["was begun with --macs 0.6, not 0.5", "another --out"]);
}

#[test]
fn what_loses_too_much_is_not_kept() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    // A model that knows every photo, and a learning rate that makes it forget them.
    let knowing = folder.path().join("knowing.safetensors");
    let (mut bundle, _) = Bundle::read(&model()).unwrap();
    bundle.manifest.split_sha256 = None;
    bundle.write(&knowing).unwrap();
    let data = as_predicted(&model(), &folder.path().join("data"), "");
    let mut arguments = arguments(&knowing, &out, &["--lr", "0.1", "--max-drop", "0.1"]);
    arguments[2] = data.into();
    let said = run(arguments);
    said.failed(
        1,
        &[
            "the first step loses",
            "more than --max-drop 0.1",
            "no model was written",
        ],
    );
    assert!(said.stdout.contains("loses too much"), "{}", said.stdout);
    assert_eq!(
        names(&out),
        [
            "prune.json",
            "split.json",
            "step-1",
            "step-1.safetensors",
            "steps.json"
        ]
    );
}

#[test]
fn senseless_calls_are_refused() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("out");
    for (options, words) in [
        (&["--macs", "0"][..], &["--macs", "above 0 and below 1"][..]),
        (&["--macs", "1"], &["--macs", "above 0 and below 1"]),
        (&["--macs", "nan"], &["--macs"]),
        (&["--speedup", "1", "--macs", "0.5"], &["--speedup"]),
        (&["--speedup", "2"], &["--speedup", "cannot be used with"]),
        (&["--steps", "0"], &["--steps"]),
    ] {
        let said = run(arguments(trained(), &out, options));
        assert_eq!(said.code, Some(2), "{options:?}: {}", said.stderr);
        assert!(
            words.iter().all(|word| said.stderr.contains(word)),
            "{}",
            said.stderr
        );
    }
    let said = run([
        Path::new("prune"),
        trained(),
        photos(),
        Path::new("--out"),
        &out,
    ]);
    assert_eq!(said.code, Some(2));
    assert!(said.stderr.contains("--macs"), "{}", said.stderr);
    let config = folder.path().join("config.toml");
    fs::write(&config, "arch = \"resnet18\"\n").unwrap();
    prune(&out, &["--config", config.to_str().unwrap()])
        .failed(2, &["--config: arch is what pruning decides"]);
    prune(&out, &["--macs", "0.001"]).failed(2, &["can't be pruned that far"]);
    let int8 = folder.path().join("int8.safetensors");
    let quantize = ["quantize", "--method", "dynamic", "--out"].map(OsString::from);
    let mut quantize = quantize.to_vec();
    quantize.extend([int8.clone().into(), trained().into()]);
    run(quantize).done();
    run(arguments(&int8, &out, &[])).failed(3, &["int8.safetensors", "prune the float model"]);
    let inside = photos().join("pruned");
    prune(&inside, &[]).failed(2, &["inside the data set"]);
    fs::create_dir(&out).unwrap();
    fs::write(out.join("thesis.txt"), "").unwrap();
    prune(&out, &[]).failed(2, &["something else than a pruning", "thesis.txt"]);
    assert_eq!(names(&out), ["thesis.txt"]);
}
