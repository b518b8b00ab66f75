//! The code that `flowers export` prints, run as it is printed.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::needs;
use crate::support::{Said, model, run};

/// What an export's JSON says of a format.
fn example(format: &str, out: &Path, options: &[&str]) -> serde_json::Value {
    let mut arguments: Vec<OsString> = vec!["export".into(), model().into()];
    arguments.extend(["--format", format, "--json", "--force", "--out"].map(OsString::from));
    arguments.push(out.into());
    arguments.extend(options.iter().map(OsString::from));
    run(arguments).done().json()[0]["example"].clone()
}

/// Runs the code of each format on an export with these options.
fn runs(python: &OsStr, exports: &[(&str, &[&str])]) {
    let folder = tempfile::tempdir().unwrap();
    for (format, options) in exports {
        let out = folder
            .path()
            .join(format!("it's {format}.{}", suffix(format)));
        let example = example(format, &out, options);
        assert_eq!(example["language"], "python");
        let code = example["code"].as_str().unwrap();
        let mut command = Command::new(python);
        let said = Said::of(command.args(["-c", code]).output().unwrap()).done();
        print!("{format} {options:?}: {}", said.stdout);
        let found = said.stdout.trim().rsplit('\n').next().unwrap();
        let is_answer = found.starts_with('[') || found.parse::<usize>().is_ok();
        assert!(is_answer, "{code}{}", said.stdout);
    }
}

/// Keras and Core ML go by it.
fn suffix(format: &str) -> &str {
    match format {
        "keras-h5" => "h5",
        "coreml" => "mlpackage",
        other => other,
    }
}

pub fn examples_of_torch_run() {
    runs(
        &needs::python(),
        &[
            ("onnx", &[]),
            ("onnx", &["--input", "image", "--batch", "2"]),
            ("torchscript", &[]),
            ("torchscript", &["--input", "image"]),
            ("tflite", &[]),
            ("safetensors", &[]),
            ("pth", &[]),
        ],
    );
}

pub fn examples_of_tensorflow_run() {
    runs(
        &needs::tensorflow(),
        &[
            ("saved-model", &[]),
            ("saved-model", &["--input", "float"]),
            ("keras", &[]),
            ("keras", &["--trainable", "--input", "float"]),
            ("keras-h5", &[]),
        ],
    );
}

pub fn the_example_of_core_ml_parses() {
    let folder = tempfile::tempdir().unwrap();
    let example = example("coreml", &folder.path().join("Flowers.mlpackage"), &[]);
    assert_eq!(example["language"], "swift");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/apps.py");
    let mut command = Command::new(needs::python());
    command
        .args([script, "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut parser = command.stderr(Stdio::piped()).spawn().unwrap();
    let code = example["code"].as_str().unwrap();
    let mut stdin = parser.stdin.take().unwrap();
    stdin.write_all(code.as_bytes()).unwrap();
    drop(stdin);
    Said::of(parser.wait_with_output().unwrap()).done();
}
