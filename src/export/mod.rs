//! Model files for other runtimes: the registry of formats, and what their exports share.

mod about;
mod artifact;
mod assembly;
mod bias;
mod coreml;
#[cfg(test)]
mod every_operator;
mod example;
mod geometry;
mod keras;
mod layout;
mod lowering;
pub mod onnx;
mod reread;
mod saved_model;
mod state_dict;
mod tflite;
mod torchscript;
mod triton;
mod verify;
mod web;

use std::collections::BTreeMap;

use clap::ValueEnum;

use crate::bundle::{Bundle, Manifest};
use crate::error::{Error, Result};
use crate::graph::{InferenceGraph, passes};
use crate::image::Preprocessing;
use crate::inference::Backend;
use crate::inference::onnx::Interpreter;
use crate::labels::Labels;
use crate::names::{self, Named};
use crate::weights::StateDict;

pub use about::About;
pub use artifact::{Artifact, Members};
pub use example::Example;
use example::Template;
pub use geometry::{Squared, compare_geometries};
pub use verify::{Agreement, Correct, Samples, Verdict, Verified};

/// A format of the registry.
pub struct Format {
    pub name: &'static str,
    /// One line for the help.
    pub summary: &'static str,
    /// The options that the format has a use for.
    pub options: &'static [FormatOption],
    /// What the network takes and answers unless the options say otherwise.
    pub defaults: Defaults,
    /// Whether it can hold an int8 model.
    holds_int8: bool,
    writer: Writer,
    reader: Reader,
    example: Template,
}

/// How a format is written.
enum Writer {
    File(fn(&Bundle, &Options) -> Result<Vec<u8>>),
    /// A folder, and the files that it may consist of.
    Folder(
        &'static [&'static str],
        fn(&Bundle, &Options) -> Result<Members>,
    ),
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
    Parameters(fn(Artifact) -> Result<StateDict>),
}

/// Loads what was exported from this model.
type Open = fn(Artifact, &Manifest) -> Result<Box<dyn Backend>>;

/// An option of `flowers export` that not every format has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormatOption {
    Opset,
    Input,
    Softmax,
    Batch,
    Weights,
    Trainable,
    /// Author, licence, description and version.
    About,
    Calibration,
}

const KERAS_OPTIONS: &[FormatOption] = &[
    FormatOption::Input,
    FormatOption::Trainable,
    FormatOption::Calibration,
];

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
        holds_int8: true,
        writer: Writer::File(onnx::encode),
        reader: Reader::Backend("ONNX interpreter", |exported, _| {
            Ok(Box::new(Interpreter::read(exported.file()?)?))
        }),
        example: example::ONNX,
    },
    Format {
        name: "triton",
        summary: "for NVIDIA Triton: a folder of a model repository, with ONNX",
        options: &[
            FormatOption::Opset,
            FormatOption::Input,
            FormatOption::Softmax,
            FormatOption::Calibration,
        ],
        defaults: PICTURES,
        holds_int8: true,
        writer: Writer::Folder(triton::MEMBERS, triton::encode),
        reader: Reader::Backend("ONNX interpreter", triton::open),
        example: example::TRITON,
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
        holds_int8: true,
        writer: Writer::File(torchscript::encode),
        reader: Reader::Backend("libtorch", torchscript::open),
        example: example::TORCHSCRIPT,
    },
    Format {
        name: "tflite",
        summary: "for Android, MediaPipe and LiteRT, with labels; int8 models as full integer",
        options: &[
            FormatOption::Weights,
            FormatOption::About,
            FormatOption::Calibration,
        ],
        defaults: PICTURES,
        holds_int8: true,
        writer: Writer::File(tflite::encode),
        reader: Reader::Backend("flowers (not run by LiteRT)", tflite::open),
        example: example::TFLITE,
    },
    Format {
        name: "saved-model",
        summary: "for TensorFlow Serving and tf.saved_model.load: a folder with a version, 1",
        options: &[FormatOption::Input, FormatOption::Calibration],
        defaults: PICTURES,
        holds_int8: false,
        writer: Writer::Folder(saved_model::MEMBERS, saved_model::encode),
        reader: Reader::Backend("flowers (not run by TensorFlow)", saved_model::open),
        example: example::SAVED_MODEL,
    },
    Format {
        name: "keras",
        summary: "for Keras 3: keras.saving.load_model",
        options: KERAS_OPTIONS,
        defaults: PICTURES,
        holds_int8: false,
        writer: Writer::File(keras::encode),
        reader: Reader::Backend("flowers (not run by Keras)", keras::open),
        example: example::KERAS,
    },
    Format {
        name: "keras-h5",
        summary: "for Keras 2 (tf_keras) and Keras 3: tf.keras.models.load_model",
        options: KERAS_OPTIONS,
        defaults: PICTURES,
        holds_int8: false,
        writer: Writer::File(keras::encode_h5),
        reader: Reader::Backend("flowers (not run by Keras)", keras::open_h5),
        example: example::KERAS_H5,
    },
    Format {
        name: "coreml",
        summary: "for iPhone, iPad and Mac: a package for Xcode and Vision, with labels",
        options: &[
            FormatOption::Weights,
            FormatOption::About,
            FormatOption::Calibration,
        ],
        defaults: PICTURES,
        holds_int8: false,
        writer: Writer::Folder(coreml::MEMBERS, coreml::encode),
        reader: Reader::Backend("flowers (not run by Core ML)", coreml::open),
        example: example::CORE_ML,
    },
    Format {
        name: "web",
        summary: "a folder with a page that classifies in the browser, offline",
        options: &[FormatOption::Calibration],
        defaults: PICTURES,
        holds_int8: true,
        writer: Writer::Folder(web::MEMBERS, web::encode),
        reader: Reader::Backend("ONNX interpreter", web::open),
        example: example::WEB,
    },
    Format {
        name: "safetensors",
        summary: "weights, with architecture, labels and preprocessing as metadata",
        options: &[],
        defaults: ARRAYS,
        holds_int8: false,
        writer: Writer::File(state_dict::safetensors),
        reader: Reader::Parameters(state_dict::open_safetensors),
        example: example::SAFETENSORS,
    },
    Format {
        name: "pth",
        summary: "weights only: torch.load, load_state_dict",
        options: &[],
        defaults: ARRAYS,
        holds_int8: false,
        writer: Writer::File(state_dict::pth),
        reader: Reader::Parameters(state_dict::open_pth),
        example: example::PTH,
    },
];

/// What an exported network takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Input {
    /// float32, normalised by the caller: (n, 3, size, size), for TensorFlow and Keras (n, size, size, 3)
    #[default]
    Float,
    /// RGB images (n, size, size, 3), 0 to 255, normalised by the network
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Version of the ONNX operators, [`onnx::OPSETS`].
    pub opset: i64,
    pub input: Input,
    /// Answers with probabilities instead of logits.
    pub softmax: bool,
    /// The one batch size that the network takes; without it, any.
    pub batch: Option<usize>,
    pub weights: Weights,
    /// Batch normalisations and dropout stay layers.
    pub trainable: bool,
    pub about: About,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            opset: onnx::DEFAULT_OPSET,
            input: Input::Float,
            softmax: false,
            batch: None,
            weights: Weights::default(),
            trainable: false,
            about: About::default(),
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
    /// A model in this format. The same model gives the same bytes.
    ///
    /// # Errors
    /// [`Error::Usage`] for a model that the format can't express with these options, naming the
    /// node; [`Error::Data`] when the weights do not fit the architecture.
    pub fn encode(&self, bundle: &Bundle, options: &Options) -> Result<Artifact> {
        if bundle.manifest.quantization.is_some() && !self.holds_int8 {
            let able = FORMATS.iter().filter(|format| format.holds_int8);
            let able: Vec<_> = able.map(|format| format.name).collect();
            let message = format!(
                "{} can't hold an int8 model: export the float model that it was made from, or choose \
                 --format {}",
                self.name,
                able.join(" or ")
            );
            return Err(Error::Usage(message).into());
        }
        Ok(match self.writer {
            Writer::File(encode) => Artifact::File(encode(bundle, options)?),
            Writer::Folder(_, encode) => Artifact::Folder(encode(bundle, options)?),
        })
    }

    /// The files that a folder of this format consists of, where it is one.
    pub fn members(&self) -> Option<&'static [&'static str]> {
        match self.writer {
            Writer::File(_) => None,
            Writer::Folder(members, _) => Some(members),
        }
    }

    /// Whether the format is verified by the scores of images.
    pub fn needs_images(&self) -> bool {
        matches!(self.reader, Reader::Backend(..))
    }
}

/// The network as it is exported.
fn network(bundle: &Bundle, options: &Options) -> Result<InferenceGraph> {
    let Preprocessing { mean, std, .. } = bundle.manifest.preprocessing;
    let network = match options.trainable {
        true => {
            let graph = bundle.manifest.graph()?;
            let graph = match options.input {
                Input::Image => passes::with_pixel_input(&graph, mean, std),
                Input::Float => graph,
            };
            InferenceGraph::unfused(graph, bundle.weights.clone(), None)?
        }
        false => {
            let network = bundle.network()?;
            match options.input {
                Input::Image => network.with_pixel_input(mean, std)?,
                Input::Float => network,
            }
        }
    };
    Ok(match options.softmax {
        true => network.with_softmax(),
        false => network,
    })
}

/// The labels, one a line.
///
/// # Errors
/// [`Error::Data`] for a label that takes more than a line, naming what can't hold it.
fn label_lines(holder: &str, labels: &Labels) -> Result<String> {
    let names = labels.names();
    if let Some(label) = names.iter().find(|label| label.contains(['\n', '\r'])) {
        let message = format!(
            "{holder} stores a label a line, and {label:?} has a line break: rename its class"
        );
        return Err(Error::Data(message).into());
    }
    Ok(names.iter().map(|label| format!("{label}\n")).collect())
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
