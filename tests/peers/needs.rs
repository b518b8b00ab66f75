//! What is not on every machine, and where the environment says that it is.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

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
            Self::Runtimes => has_modules("torch, onnx, onnxruntime, safetensors, ai_edge_litert"),
            Self::OnnxRuntime => has_modules("numpy, onnxruntime, PIL"),
            Self::Torchvision => has_modules("torchvision, safetensors, PIL"),
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
                "FLOWERS_PYTHON with torch, onnx, onnxruntime, safetensors, ai-edge-litert"
            }
            Self::OnnxRuntime => "FLOWERS_PYTHON with numpy, onnxruntime, Pillow",
            Self::Torchvision => "FLOWERS_PYTHON with torchvision, safetensors, Pillow",
            Self::Shell(name) => name,
        }
    }
}

fn is_folder(path: &std::path::Path) -> bool {
    !path.as_os_str().is_empty() && path.is_dir()
}

fn has_modules(names: &str) -> bool {
    succeeds(Command::new(python()).args(["-c", &format!("import {names}")]))
}

fn succeeds(command: &mut Command) -> bool {
    let output = command.output();
    output.is_ok_and(|output| output.status.success())
}

fn named(variable: &str) -> PathBuf {
    std::env::var_os(variable).unwrap_or_default().into()
}

pub fn python() -> OsString {
    let python = std::env::var_os("FLOWERS_PYTHON");
    python.unwrap_or_else(|| "python3".into())
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
