//! Model files for other runtimes: the registry of formats, and what their exports share.

mod bias;
mod lowering;
pub mod onnx;
mod reread;
mod state_dict;
mod tflite;
mod torchscript;
mod verify;

use std::collections::BTreeMap;

use clap::ValueEnum;

use crate::bundle::{Bundle, Manifest};
use crate::error::Result;
use crate::graph::InferenceGraph;
use crate::inference::Backend;
use crate::inference::onnx::Interpreter;
use crate::names::{self, Named};
use crate::weights::StateDict;

pub use verify::{Agreement, Verdict, Verified};

/// A format of the registry.
pub struct Format {
    pub name: &'static str,
    /// One line for the help.
    pub summary: &'static str,
    /// The options that the format has a use for.
    pub options: &'static [FormatOption],
    /// What the network takes and answers unless the options say otherwise.
    pub defaults: Defaults,
    encode: fn(&Bundle, &Options) -> Result<Vec<u8>>,
    reader: Reader,
}

/// What the networks of a format take and answer unless the options say otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defaults {
    pub input: Input,
    /// Probabilities instead of logits.
    pub softmax: bool,
}

/// Arrays for programs that normalise images themselves.
const ARRAYS: Defaults = Defaults {
    input: Input::Float,
    softmax: false,
};

/// Pictures for apps, which show probabilities.
const PICTURES: Defaults = Defaults {
    input: Input::Image,
    softmax: true,
};

/// Who reads an exported file back.
enum Reader {
    /// A backend, by name, whose scores are compared.
    Backend(&'static str, Open),
    /// A reader of parameters, which have to be the same bits.
    Parameters(fn(&[u8]) -> Result<StateDict>),
}

/// Loads a file that was exported from this model.
type Open = fn(&[u8], &Manifest) -> Result<Box<dyn Backend>>;

/// An option of `flowers export` that not every format has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormatOption {
    Opset,
    Input,
    Softmax,
    Batch,
    Weights,
    Calibration,
}

/// Every format; the command line, the help and the export know them by name.
pub const FORMATS: &[Format] = &[
    Format {
        name: "onnx",
        summary: "for ONNX Runtime, OpenVINO, TensorRT and others; int8 models as QDQ",
        options: &[
            FormatOption::Opset,
            FormatOption::Input,
            FormatOption::Softmax,
            FormatOption::Batch,
            FormatOption::Calibration,
        ],
        defaults: ARRAYS,
        encode: onnx::encode,
        reader: Reader::Backend("ONNX interpreter", |file, _| {
            Ok(Box::new(Interpreter::read(file)?))
        }),
    },
    Format {
        name: "torchscript",
        summary: "for PyTorch and libtorch: torch.jit.load",
        options: &[
            FormatOption::Input,
            FormatOption::Softmax,
            FormatOption::Calibration,
        ],
        defaults: ARRAYS,
        encode: torchscript::encode,
        reader: Reader::Backend("libtorch", torchscript::open),
    },
    Format {
        name: "tflite",
        summary: "for Android, MediaPipe and LiteRT, with labels; int8 models as full integer",
        options: &[FormatOption::Weights, FormatOption::Calibration],
        defaults: PICTURES,
        encode: tflite::encode,
        reader: Reader::Backend("flowers (not run by LiteRT)", tflite::open),
    },
    Format {
        name: "safetensors",
        summary: "weights, with architecture, labels and preprocessing as metadata",
        options: &[],
        defaults: ARRAYS,
        encode: state_dict::safetensors,
        reader: Reader::Parameters(state_dict::open_safetensors),
    },
    Format {
        name: "pth",
        summary: "weights only: torch.load, load_state_dict",
        options: &[],
        defaults: ARRAYS,
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

/// How the weights of a float network are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Weights {
    #[default]
    Float32,
    /// Half the size; computed in float32 on most processors
    Float16,
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
    pub weights: Weights,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            opset: onnx::DEFAULT_OPSET,
            input: Input::Float,
            softmax: false,
            batch: None,
            weights: Weights::default(),
        }
    }
}

/// Finds a format by name.
///
/// # Errors
/// [`Error::Usage`](crate::error::Error::Usage) with the nearest name and all that there are.
pub fn find(name: &str) -> Result<&'static Format> {
    names::find("format", FORMATS, name)
}

impl Named for Format {
    fn name(&self) -> &'static str {
        self.name
    }
}

impl Format {
    /// A model as a file of this format. The same model gives the same bytes.
    ///
    /// # Errors
    /// [`Error::Usage`](crate::error::Error::Usage) for a model that the format can't express with these options, naming the
    /// node; [`Error::Data`](crate::error::Error::Data) when the weights do not fit the architecture.
    pub fn encode(&self, bundle: &Bundle, options: &Options) -> Result<Vec<u8>> {
        (self.encode)(bundle, options)
    }

    /// Whether the format is verified by the scores of images.
    pub fn needs_images(&self) -> bool {
        matches!(self.reader, Reader::Backend(..))
    }
}

/// The network as it is exported.
fn network(bundle: &Bundle, options: &Options) -> Result<InferenceGraph> {
    let mut network = bundle.clone().into_network()?;
    if options.input == Input::Image {
        let preprocessing = &bundle.manifest.preprocessing;
        network = network.with_pixel_input(preprocessing.mean, preprocessing.std)?;
    }
    if options.softmax {
        network = network.with_softmax();
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
