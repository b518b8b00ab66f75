//! Code that loads an export in the runtime that it is for.

use serde::Serialize;

use super::{Format, Input, Int8, Options};
use crate::bundle::Manifest;

/// Code to be pasted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Example {
    pub language: &'static str,
    /// What has to be installed for it.
    pub needs: &'static str,
    pub code: String,
}

/// An [`Example`] whose code has FILE and IMAGES where these are to be put in.
pub(super) struct Template {
    language: &'static str,
    needs: &'static str,
    code: &'static str,
    channels_last: bool,
}

const PYTHON: &str = "python";
const SHELL: &str = "sh";
const SWIFT: &str = "swift";

pub(super) const ONNX: Template = Template {
    language: PYTHON,
    needs: "numpy onnxruntime",
    code: r#"import numpy, onnxruntime
session = onnxruntime.InferenceSession(FILE)
images = IMAGES
scores = session.run(["output"], {"input": images})[0]
print(scores.argmax(1))
"#,
    channels_last: false,
};

pub(super) const TRITON: Template = Template {
    language: PYTHON,
    needs: "numpy tritonclient[http], and a server whose --model-repository holds the folder",
    code: r#"import numpy, pathlib
from tritonclient.http import InferenceServerClient, InferInput
images = IMAGES
given = InferInput("input", images.shape, "TRITON")
given.set_data_from_numpy(images)
answer = InferenceServerClient("localhost:8000").infer(pathlib.Path(FILE).name, [given])
print(answer.as_numpy("output").argmax(1))
"#,
    channels_last: false,
};

pub(super) const TORCHSCRIPT: Template = Template {
    language: PYTHON,
    needs: "numpy torch",
    code: r"import numpy, torch
network = torch.jit.load(FILE).eval()
images = IMAGES
with torch.inference_mode():
    scores = network(torch.from_numpy(images)).numpy()
print(scores.argmax(1))
",
    channels_last: false,
};

pub(super) const TFLITE: Template = Template {
    language: PYTHON,
    needs: "numpy ai-edge-litert",
    code: r#"import numpy
from ai_edge_litert.interpreter import Interpreter
run = Interpreter(FILE).get_signature_runner("serving_default")
images = IMAGES
probabilities = run(image=images)["probabilities"]
print(probabilities.argmax(1))
"#,
    channels_last: true,
};

pub(super) const SAVED_MODEL: Template = Template {
    language: PYTHON,
    needs: "numpy tensorflow",
    code: r#"import numpy, tensorflow
model = tensorflow.saved_model.load(FILE + "/1")
images = IMAGES
run = model.signatures["serving_default"]
probabilities = run(image=tensorflow.constant(images))["probabilities"]
print(probabilities.numpy().argmax(1))
"#,
    channels_last: true,
};

pub(super) const KERAS: Template = Template {
    language: PYTHON,
    needs: "numpy keras tensorflow",
    code: r"import keras, numpy
model = keras.saving.load_model(FILE)
images = IMAGES
probabilities = model.predict(images)
print(probabilities.argmax(1))
",
    channels_last: true,
};

pub(super) const KERAS_H5: Template = Template {
    language: PYTHON,
    needs: "numpy tensorflow",
    code: r"import numpy, tensorflow
model = tensorflow.keras.models.load_model(FILE, compile=False)
images = IMAGES
probabilities = model.predict(images)
print(probabilities.argmax(1))
",
    channels_last: true,
};

pub(super) const CORE_ML: Template = Template {
    language: SWIFT,
    needs: "macOS 13 or newer",
    code: r#"import CoreML
import Vision
let compiled = try await MLModel.compileModel(at: URL(fileURLWithPath: FILE))
let request = VNCoreMLRequest(model: try VNCoreMLModel(for: MLModel(contentsOf: compiled)))
request.imageCropAndScaleOption = .centerCrop
try VNImageRequestHandler(url: URL(fileURLWithPath: "photo.jpg")).perform([request])
if let best = request.results?.first as? VNClassificationObservation { print(best.identifier) }
"#,
    channels_last: false,
};

pub(super) const WEB: Template = Template {
    language: SHELL,
    needs: "Node.js with npm",
    code: "cd -- FILE\nnpm install\nnpm start\n",
    channels_last: false,
};

pub(super) const SAFETENSORS: Template = Template {
    language: PYTHON,
    needs: "safetensors torch",
    code: r"from safetensors.torch import load_file
weights = load_file(FILE)
print(len(weights))
",
    channels_last: false,
};

pub(super) const PTH: Template = Template {
    language: PYTHON,
    needs: "torch",
    code: r"import torch
weights = torch.load(FILE, weights_only=True)
print(len(weights))
",
    channels_last: false,
};

impl Format {
    /// Code that loads an export of this format at `path`.
    pub fn example(&self, path: &str, manifest: &Manifest, options: &Options) -> Example {
        let template = &self.example;
        let size = manifest.preprocessing.crop;
        let n = options.batch.unwrap_or(1);
        let in_bytes = match self.int8 {
            Int8::Throughout => self.is_in_bytes(manifest),
            _ => options.input == Input::Image,
        };
        let dtype = if in_bytes { "uint8" } else { "float32" };
        let shape = match template.channels_last || options.input == Input::Image {
            true => format!("({n}, {size}, {size}, 3)"),
            false => format!("({n}, 3, {size}, {size})"),
        };
        let content = match options.input {
            Input::Float => "normalised RGB images",
            Input::Image => "RGB images, 0 to 255",
        };
        let file = match template.language {
            SHELL => format!("'{}'", path.replace('\'', r"'\''")),
            SWIFT => swift(path),
            _ => serde_json::Value::from(path).to_string(),
        };
        let images = format!("numpy.zeros({shape}, numpy.{dtype})  # {content}");
        Example {
            language: template.language,
            needs: template.needs,
            code: template
                .code
                .replace("IMAGES", &images)
                .replace("TRITON", if in_bytes { "UINT8" } else { "FP32" })
                .replace("FILE", &file),
        }
    }
}

/// A text as Swift writes it.
fn swift(text: &str) -> String {
    let escaped = text.chars().map(|c| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c.is_control() => format!("\\u{{{:x}}}", u32::from(c)),
        c => c.into(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_as_swift_does() {
        assert_eq!(swift("a\"b\\c\u{7}ü"), r#""a\"b\\c\u{7}ü""#);
    }
}
