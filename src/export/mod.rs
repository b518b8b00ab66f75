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
mod registry;
mod reread;
mod saved_model;
mod state_dict;
mod tflite;
mod torchscript;
mod triton;
mod verify;
mod web;

use std::collections::BTreeMap;
use std::path::Path;

use clap::ValueEnum;

use crate::bundle::{Bundle, Manifest};
use crate::error::{Error, Result};
use crate::files::{self, Layout};
use crate::graph::{InferenceGraph, passes};
use crate::image::Preprocessing;
use crate::labels::Labels;

pub use about::About;
pub use artifact::{Artifact, Members};
pub use example::Example;
pub use geometry::{Squared, compare_geometries};
pub use registry::{Defaults, FORMATS, Format, FormatOption, find};
use registry::{Int8, Reader, Writer};
pub use verify::{Agreement, Correct, Samples, Verdict, Verified};

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

impl Format {
    /// A model in this format. The same model gives the same bytes.
    ///
    /// # Errors
    /// [`Error::Usage`] for a model that the format can't express with these options, naming the
    /// node; [`Error::Data`] when the weights do not fit the architecture.
    pub fn encode(&self, bundle: &Bundle, options: &Options) -> Result<Artifact> {
        if bundle.manifest.quantization.is_some() && self.int8 == Int8::Refused {
            let able = FORMATS.iter().filter(|format| format.int8 != Int8::Refused);
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

    /// What a folder of this format consists of; `None` where it is a file.
    pub(crate) fn layout(&self) -> Option<Layout> {
        match self.writer {
            Writer::File(_) => None,
            Writer::Folder(layout, _) => Some(layout),
        }
    }

    /// Writes an export, whole or not at all; it only takes its name when `check`, which is given where it is
    /// until then, agrees. Its bytes are not in memory any more by then. What has the name stays without
    /// `force`, and if an export of this format did not write it.
    ///
    /// # Errors
    /// [`Error::Environment`] when it can't be written, [`Error::Usage`] for what must not be replaced, and
    /// what `check` says; nothing is left then.
    pub fn write<T>(
        &self,
        exported: Artifact,
        path: &Path,
        force: bool,
        check: impl FnOnce(&Path) -> Result<T>,
    ) -> Result<T> {
        let layout = self.layout().unwrap_or(Layout {
            members: &[],
            kept: &[],
        });
        match exported {
            Artifact::File(content) => files::write_checked(path, content, force, check),
            Artifact::Folder(members) => {
                files::write_folder_checked(path, members, (layout, force), check)
            }
        }
    }

    /// Whether a model of this kind answers with bytes in this format.
    fn is_in_bytes(&self, manifest: &Manifest) -> bool {
        self.int8 == Int8::Throughout && manifest.quantization.is_some()
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
            let (graph, weights) = passes::for_further_training(&graph, &bundle.weights)?;
            let graph = match options.input {
                Input::Image => passes::with_pixel_input(&graph, mean, std),
                Input::Float => graph,
            };
            InferenceGraph::unfused(graph, weights, None)?
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

/// The labels, one per line.
///
/// # Errors
/// [`Error::Data`] for a label that takes more than a line, naming what can't hold it.
fn label_lines(holder: &str, labels: &Labels) -> Result<String> {
    let names = labels.names();
    if let Some(label) = names.iter().find(|label| label.contains(['\n', '\r'])) {
        let message = format!(
            "{holder} stores one label per line, and {label:?} has a line break: rename its class"
        );
        return Err(Error::Data(message).into());
    }
    Ok(names.iter().map(|label| format!("{label}\n")).collect())
}

/// Refuses a network that protocol buffers are too small for.
///
/// # Errors
/// [`Error::Usage`] naming what can't hold it.
fn check_protobuf(holder: &str, network: &InferenceGraph) -> Result<()> {
    // Beside the weights there is little: a thousandth of the largest size is left for it.
    const MOST: usize = 2_145_000_000;
    match network.byte_len() > MOST {
        true => Err(Error::Usage(format!("{holder} holds at most 2 GiB")).into()),
        false => Ok(()),
    }
}

/// Refuses a file that does not hold the labels of its model.
///
/// # Errors
/// When they differ.
fn check_labels(found: &[impl AsRef<str>], manifest: &Manifest) -> Result<()> {
    let labels = manifest.labels.names();
    match found
        .iter()
        .map(AsRef::as_ref)
        .eq(labels.iter().map(String::as_str))
    {
        true => Ok(()),
        false => anyhow::bail!("its {} labels are not those of the model", found.len()),
    }
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
