//! Model files for other runtimes: the registry of formats, and what their exports share.

pub mod onnx;
mod state_dict;
mod torchscript;
mod verify;

use std::collections::BTreeMap;

use clap::ValueEnum;

use crate::bundle::{Bundle, Manifest};
use crate::engine::compile::Network;
use crate::engine::{Pictures, network_of};
use crate::error::{Error, Result};
use crate::graph::passes::{NORMALISE, fold_affine, with_pixels, with_softmax};
use crate::weights::StateDict;

pub use verify::{Agreement, Verdict, Verified};

/// A format of the registry.
pub struct Format {
    pub name: &'static str,
    /// One line for the help.
    pub summary: &'static str,
    /// The options that the format has a use for.
    pub choices: &'static [Choice],
    encode: fn(&Bundle, &Options) -> Result<Vec<u8>>,
    reader: Reader,
}

/// Who reads an exported file back.
enum Reader {
    /// A runtime, by name, whose answers are compared.
    Runtime(&'static str, fn(&[u8]) -> Result<Box<dyn Runtime>>),
    /// A reader of parameters, which have to be the same bits.
    Parameters(fn(&[u8]) -> Result<StateDict>),
}

/// A loaded file.
pub trait Runtime {
    /// Answers for a batch, float32 row-major `(n, classes)`.
    fn scores(&self, pictures: Pictures<'_>, size: usize) -> Result<Vec<f32>>;
}

/// An option of `flowers export` that not every format has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    Opset,
    Input,
    Softmax,
    Batch,
    Calibration,
}

/// Every format; the command line, the help and the export know them by name.
pub const FORMATS: &[Format] = &[
    Format {
        name: "onnx",
        summary: "for ONNX Runtime, OpenVINO, TensorRT and others; int8 models as QDQ",
        choices: &[
            Choice::Opset,
            Choice::Input,
            Choice::Softmax,
            Choice::Batch,
            Choice::Calibration,
        ],
        encode: onnx::encode,
        reader: Reader::Runtime("ONNX interpreter", onnx::open),
    },
    Format {
        name: "torchscript",
        summary: "for PyTorch and libtorch: torch.jit.load",
        choices: &[Choice::Input, Choice::Softmax, Choice::Calibration],
        encode: torchscript::encode,
        reader: Reader::Runtime("libtorch", torchscript::open),
    },
    Format {
        name: "safetensors",
        summary: "weights, with architecture, labels and preprocessing as metadata",
        choices: &[],
        encode: state_dict::safetensors,
        reader: Reader::Parameters(state_dict::open_safetensors),
    },
    Format {
        name: "pth",
        summary: "weights only: torch.load, load_state_dict",
        choices: &[],
        encode: state_dict::pth,
        reader: Reader::Parameters(state_dict::open_pth),
    },
];

/// What an exported network takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Input {
    /// float32 (n, 3, size, size), normalised by the caller
    #[default]
    Float,
    /// uint8 (n, size, size, 3): RGB images, normalised by the network
    Image,
}

/// What the caller may choose of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Version of the ONNX operators, [`onnx::OPSETS`].
    pub opset: i64,
    pub input: Input,
    /// Answers with probabilities instead of logits.
    pub softmax: bool,
    /// The one batch size that the network takes; without it, any.
    pub batch: Option<usize>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            opset: onnx::DEFAULT_OPSET,
            input: Input::Float,
            softmax: false,
            batch: None,
        }
    }
}

/// Finds a format by name.
///
/// # Errors
/// [`Error::Usage`] that lists the known ones.
pub fn find(name: &str) -> Result<&'static Format> {
    let found = FORMATS.iter().find(|format| format.name == name);
    found.ok_or_else(|| {
        let known: Vec<_> = FORMATS.iter().map(|format| format.name).collect();
        let message = format!(
            "there is no format {name:?}; known are {}",
            known.join(", ")
        );
        Error::Usage(message).into()
    })
}

impl Format {
    /// A model as a file of this format. The same model gives the same bytes.
    ///
    /// # Errors
    /// [`Error::Usage`] for a model that the format can't express with these options, naming the
    /// node; [`Error::Data`] when the weights do not fit the architecture.
    pub fn encode(&self, bundle: &Bundle, options: &Options) -> Result<Vec<u8>> {
        (self.encode)(bundle, options)
    }

    /// Whether the format is read back by a runtime, which wants pictures.
    pub fn wants_pictures(&self) -> bool {
        matches!(self.reader, Reader::Runtime(..))
    }
}

/// The network as exports carry it: normalisations folded, convolutions fused as the engine's.
fn network(bundle: &Bundle, options: &Options) -> Result<Network> {
    let mut network = network_of(bundle.clone())?;
    if options.input == Input::Image {
        let preprocessing = &bundle.manifest.preprocessing;
        network.graph = with_pixels(&network.graph, preprocessing.mean, preprocessing.std);
        match &mut network.quantization {
            // What was rounded as the input is now what the normalisation gives.
            Some(quantization) => {
                if let Some(affine) = quantization.values.remove("input") {
                    quantization.values.insert(NORMALISE.into(), affine);
                }
            }
            None => {
                (network.graph, network.weights) = fold_affine(&network.graph, &network.weights)?;
            }
        }
    }
    if options.softmax {
        network.graph = with_softmax(&network.graph);
    }
    Ok(network)
}

/// What a user of the file must know, as JSON by name.
fn notes(manifest: &Manifest) -> Result<BTreeMap<String, String>> {
    Ok(BTreeMap::from([
        ("labels".into(), serde_json::to_string(&manifest.labels)?),
        (
            "preprocessing".into(),
            serde_json::to_string(&manifest.preprocessing)?,
        ),
    ]))
}
