//! The model file: weights, and a manifest with all that is needed to use them.

mod foreign;
mod record;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result, shown};
use crate::graph::{Channels, Graph, InferenceGraph, Quantization};
use crate::image::Preprocessing;
use crate::labels::Labels;
use crate::models::{self, Head};
use crate::weights::hashed::Hashed;
use crate::weights::{StateDict, check_finite, safetensors, sniff};
pub use foreign::{ARCHITECTURE, CHANNELS, CHECKPOINT, HEAD};
pub use record::{TestAccuracy, TrainingMetrics, TrainingRecord};

/// The version of [`Manifest`] that is written, and the newest that is read.
pub const SCHEMA: u32 = 1;

/// Where in the metadata of the safetensors file the manifest is.
const KEY: &str = "flowers.manifest";

/// The model's name in the folder of a run.
pub const FILE: &str = "model.safetensors";

/// The model file that a path means: itself, or the model of a run's folder.
pub fn located(path: PathBuf) -> PathBuf {
    let inside = path.join(FILE);
    if inside.is_file() { inside } else { path }
}

/// What a model is, apart from its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub schema: u32,
    /// Of the program that wrote the file.
    pub flowers_version: String,
    /// A name of the registry of architectures, e.g. `resnet18`.
    pub architecture: String,
    pub head: Head,
    /// Of layers that have fewer than the architecture's: those of a pruned network.
    #[serde(default, skip_serializing_if = "Channels::is_empty")]
    pub channels: Channels,
    /// The classes in the order of the logits.
    pub labels: Labels,
    pub preprocessing: Preprocessing,
    /// The resolved training configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<TrainingRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics: Option<TrainingMetrics>,
    /// Of the split manifest that the model was trained with, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split_sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantization: Option<Quantization>,
    /// Fields that this version does not know; kept when the model is written again.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// A trained model.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    pub manifest: Manifest,
    pub weights: StateDict,
}

impl Manifest {
    /// A manifest of the current schema without a history.
    pub fn new(
        architecture: impl Into<String>,
        head: Head,
        labels: Labels,
        preprocessing: Preprocessing,
    ) -> Self {
        Self {
            schema: SCHEMA,
            flowers_version: env!("CARGO_PKG_VERSION").into(),
            architecture: architecture.into(),
            head,
            channels: Channels::new(),
            labels,
            preprocessing,
            recipe: None,
            metrics: None,
            split_sha256: None,
            quantization: None,
            unknown: Map::new(),
        }
    }

    /// The network that the weights belong to.
    ///
    /// # Errors
    /// [`Error::Data`] for an architecture that this version does not know, or pictures too
    /// small for it.
    pub fn graph(&self) -> Result<Graph> {
        let options = models::Options {
            classes: self.labels.len(),
            image_size: self.preprocessing.crop as usize,
            head: self.head.clone(),
            channels: self.channels.clone(),
        };
        let found = models::find(&self.architecture);
        let graph = found.and_then(|architecture| architecture.graph(&options));
        graph.map_err(|cause| Error::Data(format!("{cause:#}")).into())
    }

    /// Reads the JSON of a manifest and checks its values.
    fn parse(text: &str) -> Result<Self> {
        let json: Value = serde_json::from_str(text).map_err(|cause| damaged(&cause))?;
        // The version goes first: a newer schema may have changed everything else.
        let schema = json.get("schema").and_then(Value::as_u64);
        let schema = schema.ok_or_else(|| damaged(&"it has no schema version"))?;
        if schema > SCHEMA.into() {
            let writer = json.get("flowers_version").and_then(Value::as_str);
            let writer = shown(writer.unwrap_or("a newer version"));
            return Err(Error::Data(format!(
                "its schema is version {schema}, written by flowers {writer}; \
                 this is flowers {}, which reads up to version {SCHEMA}: update flowers",
                env!("CARGO_PKG_VERSION")
            ))
            .into());
        }
        let manifest: Self = serde_json::from_value(json).map_err(|cause| damaged(&cause))?;
        match manifest.fault() {
            Some(fault) => Err(damaged(&fault)),
            None => Ok(manifest),
        }
    }

    /// The first value that no model can have.
    pub fn fault(&self) -> Option<String> {
        let dropout = self.head.dropout;
        if self.schema == 0 {
            Some("schema version 0 does not exist".into())
        } else if self.labels.is_empty() {
            Some("it has no labels".into())
        } else if self.head.hidden == Some(0) {
            Some("the hidden layer of the head has no units".into())
        } else if !(0.0..1.0).contains(&dropout) {
            Some(format!("a dropout of {dropout} is not between 0 and 1"))
        } else {
            self.preprocessing
                .validate()
                .err()
                .map(|fault| fault.to_string())
        }
    }
}

impl Bundle {
    /// The network for inference.
    ///
    /// # Errors
    /// [`Error::Data`] for an architecture that is not known, or weights that do not fit it.
    pub fn network(&self) -> Result<InferenceGraph> {
        let graph = self.manifest.graph()?;
        match &self.manifest.quantization {
            Some(quantization) => InferenceGraph::int8(&graph, self.weights.clone(), quantization),
            None => InferenceGraph::float(&graph, &self.weights),
        }
    }

    /// As [`Bundle::network`], of a model that is not needed any more.
    ///
    /// # Errors
    /// As there.
    pub fn into_network(self) -> Result<InferenceGraph> {
        match &self.manifest.quantization {
            Some(quantization) => {
                InferenceGraph::int8(&self.manifest.graph()?, self.weights, quantization)
            }
            None => self.network(),
        }
    }

    /// Reads a model file, and gives the SHA-256 of its bytes in hex beside it.
    ///
    /// # Errors
    /// [`Error::Data`] naming the file: unreadable, damaged, something else than a model (and
    /// what), of a newer schema, with values in its manifest that no model can have, or with
    /// weights that are not finite.
    pub fn read(path: &Path) -> Result<(Self, String)> {
        Self::open(path).with_context(|| shown(path))
    }

    fn open(path: &Path) -> Result<(Self, String)> {
        let unreadable = |cause| Error::Data(format!("can't be read: {cause}"));
        if path.is_dir() {
            return Err(Error::Data(format!(
                "it is a folder without a {FILE}; the first argument is the model: its file, or the \
                 folder of its run"
            ))
            .into());
        }
        let file = File::open(path).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        let mut file = BufReader::with_capacity(1 << 16, file);
        let start = file.fill_buf().map_err(unreadable)?;
        foreign::check(&start[..start.len().min(sniff::START)])?;
        Self::read_from(file, length)
    }

    /// Reads a model file of `length` bytes; see [`Bundle::read`]. Exported weights whose
    /// metadata says what they belong to are a model too.
    ///
    /// # Errors
    /// As [`Bundle::read`], but for the name.
    pub fn read_from(source: impl Read, length: u64) -> Result<(Self, String)> {
        let mut source = Hashed::new(source);
        let (weights, notes) = safetensors::read_from(&mut source, length)?;
        let manifest = match notes.get(KEY) {
            Some(text) => Manifest::parse(text)?,
            None => foreign::manifest(&notes)?,
        };
        check_finite(&weights)?;
        Ok((Self { manifest, weights }, source.finish()))
    }

    /// Writes a model file, whole or not at all. The same model gives the same bytes.
    ///
    /// # Errors
    /// [`Error::Environment`] when it can't be written, [`Error::Data`] for a manifest that
    /// could not be read again.
    pub fn write(&self, path: &Path) -> Result<()> {
        if let Some(fault) = self.manifest.fault() {
            return Err(damaged(&fault));
        }
        let text = serde_json::to_string(&self.manifest)?;
        safetensors::write(path, &self.weights, &BTreeMap::from([(KEY.into(), text)]))
    }
}

fn damaged(cause: &dyn std::fmt::Display) -> anyhow::Error {
    Error::Data(format!("the model's metadata is damaged: {cause}")).into()
}

#[cfg(test)]
mod tests;
