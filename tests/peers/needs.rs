//! What is not on every machine, and where the environment says that it is.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::webdriver::has;

const PUBLISHED: [&str; 2] = [
    "mobilenet_v2-b0353104.pth",
    "efficientnet-lite0-57934424.pth",
];

/// Something that a test can't do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Published ImageNet weights, in the folder of `FLOWERS_REAL_WEIGHTS`.
    Weights,
    /// The Oxford flower photos, in the folder of `FLOWERS_OXFORD12`.
    Photos,
    /// A model and photos of one's own, `FLOWERS_MODEL` and `FLOWERS_PHOTOS`.
    OwnModel,
    /// What exports run in, in the Python of `FLOWERS_PYTHON`, or `python3`.
    Runtimes,
    /// TensorFlow, Keras and coremltools, in the Python of `FLOWERS_TENSORFLOW`.
    TensorFlow,
    /// MediaPipe, in the Python of `FLOWERS_MEDIAPIPE`.
    MediaPipe,
    /// Kubernetes's schemas, in the Python of `FLOWERS_KUBERNETES`.
    Kubernetes,
    /// Parsers of Kotlin and Swift, in the Python of `FLOWERS_PYTHON`.
    Grammars,
    /// What the exported page needs, in the folder `node_modules` of `FLOWERS_WEB`, and a browser.
    Browser,
    /// ONNX Runtime and Pillow, in the same Python.
    OnnxRuntime,
    /// torchvision, in the same Python.
    Torchvision,
    /// A shell of this name.
    Shell(&'static str),
}

impl Need {
    pub fn is_met(self) -> bool {
        match self {
            // pip makes the folder even where it can't download anything.
            Self::Weights => PUBLISHED.iter().all(|file| weights().join(file).is_file()),
            Self::Photos => is_folder(&photos()),
            Self::OwnModel => own_model().iter().all(|path| path.exists()),
            Self::Runtimes => has_modules(
                &python(),
                "torch, onnx, onnxruntime, safetensors, ai_edge_litert, tritonclient",
            ),
            Self::TensorFlow => has_modules(
                &tensorflow(),
                "tensorflow, tf_keras, coremltools, safetensors",
            ),
            Self::MediaPipe => has_modules(&mediapipe(), "mediapipe.tasks.python, safetensors"),
            Self::Kubernetes => has_modules(&kubernetes(), "kubernetes_validate"),
            Self::Grammars => has_modules(
                &python(),
                "tree_sitter, tree_sitter_kotlin, tree_sitter_swift",
            ),
            Self::Browser => {
                let packages = ["onnxruntime-web", ".bin/sirv"];
                let has_packages = packages.iter().all(|name| web().join(name).exists());
                has_packages && has("chromedriver", "--version")
            }
            Self::OnnxRuntime => has_modules(&python(), "numpy, onnxruntime, PIL"),
            Self::Torchvision => has_modules(&python(), "torchvision, safetensors, PIL"),
            Self::Shell(name) => succeeds(Command::new(name).args(["-c", ":"])),
        }
    }

    /// What to say where it is missing.
    pub fn name(self) -> &'static str {
        match self {
            Self::Weights => "FLOWERS_REAL_WEIGHTS",
            Self::Photos => "FLOWERS_OXFORD12",
            Self::OwnModel => "FLOWERS_MODEL and FLOWERS_PHOTOS",
            Self::Runtimes => {
                "FLOWERS_PYTHON with torch, onnx, onnxruntime, safetensors, ai-edge-litert, tritonclient"
            }
            Self::TensorFlow => {
                "FLOWERS_TENSORFLOW with tensorflow, tf_keras, coremltools, safetensors"
            }
            Self::MediaPipe => "FLOWERS_MEDIAPIPE with mediapipe, safetensors",
            Self::Kubernetes => "FLOWERS_KUBERNETES with kubernetes-validate",
            Self::Grammars => {
                "FLOWERS_PYTHON with tree-sitter, tree-sitter-kotlin, tree-sitter-swift"
            }
            Self::Browser => "FLOWERS_WEB with onnxruntime-web, and chromium with its driver",
            Self::OnnxRuntime => "FLOWERS_PYTHON with numpy, onnxruntime, Pillow",
            Self::Torchvision => "FLOWERS_PYTHON with torchvision, safetensors, Pillow",
            Self::Shell(name) => name,
        }
    }
}

fn is_folder(path: &Path) -> bool {
    !path.as_os_str().is_empty() && path.is_dir()
}

fn has_modules(python: &OsStr, names: &str) -> bool {
    succeeds(Command::new(python).args(["-c", &format!("import {names}")]))
}

fn succeeds(command: &mut Command) -> bool {
    let output = command.output();
    output.is_ok_and(|output| output.status.success())
}

fn named(variable: &str) -> PathBuf {
    std::env::var_os(variable).unwrap_or_default().into()
}

pub fn python() -> OsString {
    program("FLOWERS_PYTHON")
}

pub fn tensorflow() -> OsString {
    program("FLOWERS_TENSORFLOW")
}

pub fn mediapipe() -> OsString {
    program("FLOWERS_MEDIAPIPE")
}

pub fn kubernetes() -> OsString {
    program("FLOWERS_KUBERNETES")
}

/// A Python that the environment names, or the system's.
fn program(variable: &str) -> OsString {
    let python = std::env::var_os(variable).filter(|python| !python.is_empty());
    python.unwrap_or_else(|| "python3".into())
}

/// The oldest Keras, which is beside TensorFlow's Python.
pub fn oldest_keras() -> PathBuf {
    let python = PathBuf::from(tensorflow());
    let environment = python.parent().and_then(Path::parent);
    environment.unwrap_or(Path::new("")).join("keras-oldest")
}

pub fn web() -> PathBuf {
    named("FLOWERS_WEB")
}

pub fn weights() -> PathBuf {
    named("FLOWERS_REAL_WEIGHTS")
}

pub fn photos() -> PathBuf {
    named("FLOWERS_OXFORD12")
}

/// The model and the photos.
pub fn own_model() -> [PathBuf; 2] {
    ["FLOWERS_MODEL", "FLOWERS_PHOTOS"].map(named)
}
