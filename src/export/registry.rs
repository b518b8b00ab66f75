//! The formats: what each is called, takes, and is written and read by.

use super::example::{self, Template};
use super::{
    Artifact, Input, Members, Options, coreml, keras, onnx, saved_model, state_dict, tflite,
    torchscript, triton, web,
};
use crate::bundle::{Bundle, Manifest};
use crate::error::Result;
use crate::files::Layout;
use crate::inference::Backend;
use crate::inference::onnx::Interpreter;
use crate::names::{self, Named};
use crate::weights::StateDict;

/// A format of the registry.
pub struct Format {
    pub name: &'static str,
    /// One line for the help.
    pub summary: &'static str,
    /// The options that the format has a use for.
    pub options: &'static [FormatOption],
    /// What the network takes and answers unless the options say otherwise.
    pub defaults: Defaults,
    pub(super) int8: Int8,
    pub(super) writer: Writer,
    pub(super) reader: Reader,
    pub(super) example: Template,
}

/// What a format makes of an int8 model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Int8 {
    Refused,
    /// Integers inside, floats at both ends.
    Inside,
    /// Bytes in, bytes out.
    Throughout,
}

/// How a format is written.
pub(super) enum Writer {
    File(fn(&Bundle, &Options) -> Result<Vec<u8>>),
    Folder(Layout, fn(&Bundle, &Options) -> Result<Members>),
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
pub(super) enum Reader {
    /// A backend, by name, whose scores are compared.
    Backend(&'static str, Open),
    /// A reader of parameters, which have to be the same bits.
    Parameters(fn(Artifact) -> Result<StateDict>),
}

/// Loads what was exported from this model.
pub(super) type Open = fn(Artifact, &Manifest) -> Result<Box<dyn Backend>>;

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
        int8: Int8::Inside,
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
            FormatOption::Calibration,
        ],
        defaults: PICTURES,
        int8: Int8::Inside,
        writer: Writer::Folder(triton::LAYOUT, triton::encode),
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
        int8: Int8::Inside,
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
        int8: Int8::Throughout,
        writer: Writer::File(tflite::encode),
        reader: Reader::Backend("flowers (not run by LiteRT)", tflite::open),
        example: example::TFLITE,
    },
    Format {
        name: "saved-model",
        summary: "for TensorFlow Serving and tf.saved_model.load: a folder with a version, 1",
        options: &[FormatOption::Input, FormatOption::Calibration],
        defaults: PICTURES,
        int8: Int8::Refused,
        writer: Writer::Folder(saved_model::LAYOUT, saved_model::encode),
        reader: Reader::Backend("flowers (not run by TensorFlow)", saved_model::open),
        example: example::SAVED_MODEL,
    },
    Format {
        name: "keras",
        summary: "for Keras 3: keras.saving.load_model",
        options: KERAS_OPTIONS,
        defaults: PICTURES,
        int8: Int8::Refused,
        writer: Writer::File(keras::encode),
        reader: Reader::Backend("flowers (not run by Keras)", keras::open),
        example: example::KERAS,
    },
    Format {
        name: "keras-h5",
        summary: "for Keras 2 (tf_keras) and Keras 3: tf.keras.models.load_model",
        options: KERAS_OPTIONS,
        defaults: PICTURES,
        int8: Int8::Refused,
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
        int8: Int8::Refused,
        writer: Writer::Folder(coreml::LAYOUT, coreml::encode),
        reader: Reader::Backend("flowers (not run by Core ML)", coreml::open),
        example: example::CORE_ML,
    },
    Format {
        name: "web",
        summary: "a folder with a page that classifies in the browser, offline",
        options: &[FormatOption::Calibration],
        defaults: PICTURES,
        int8: Int8::Inside,
        writer: Writer::Folder(web::LAYOUT, web::encode),
        reader: Reader::Backend("ONNX interpreter", web::open),
        example: example::WEB,
    },
    Format {
        name: "safetensors",
        summary: "weights, with architecture, labels and preprocessing as metadata",
        options: &[],
        defaults: ARRAYS,
        int8: Int8::Refused,
        writer: Writer::File(state_dict::safetensors),
        reader: Reader::Parameters(state_dict::open_safetensors),
        example: example::SAFETENSORS,
    },
    Format {
        name: "pth",
        summary: "weights only: torch.load, load_state_dict",
        options: &[],
        defaults: ARRAYS,
        int8: Int8::Refused,
        writer: Writer::File(state_dict::pth),
        reader: Reader::Parameters(state_dict::open_pth),
        example: example::PTH,
    },
];

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
