//! Files that are not models: weights that describe themselves, and what is taken for a model.

use serde::de::DeserializeOwned;

use super::Manifest;
use crate::error::{Error, Result};
use crate::models::{self, Head};
use crate::weights::safetensors::Notes;
use crate::weights::sniff::{self, Kind};

/// The architecture's name in the metadata of exported weights.
pub const ARCHITECTURE: &str = "architecture";
/// Its head, as JSON.
pub const HEAD: &str = "head";
/// The channels of a pruned network, as JSON.
pub const CHANNELS: &str = "channels";
/// Where in the metadata of a run's checkpoint it says where the run stands.
pub const CHECKPOINT: &str = "flowers.checkpoint";
const LABELS: &str = "labels";
const PREPROCESSING: &str = "preprocessing";

/// The manifest that the metadata of exported weights amounts to. Without a head, it is the
/// architecture's own.
///
/// # Errors
/// [`Error::Data`] that lists what is missing, or names what is damaged.
pub(super) fn manifest(notes: &Notes) -> Result<Manifest> {
    if notes.contains_key(CHECKPOINT) {
        let message =
            "it is the checkpoint of a run, not a model: give the model.safetensors beside it";
        return Err(Error::Data(message.into()).into());
    }
    let missing: Vec<&str> = [ARCHITECTURE, LABELS, PREPROCESSING]
        .into_iter()
        .filter(|key| !notes.contains_key(*key))
        .collect();
    if !missing.is_empty() {
        return Err(Error::Data(format!(
            "it holds weights, not a model: its metadata has no {}; make a model of them with \
             `flowers train DATA --out RUN --weights FILE`",
            missing.join(", no ")
        ))
        .into());
    }
    let name = &notes[ARCHITECTURE];
    let head = match notes.contains_key(HEAD) {
        true => parsed::<Head>(notes, HEAD)?,
        false => models::find(name)
            .map_err(|cause| Error::Data(format!("{cause:#}")))?
            .default_head(),
    };
    let labels = parsed(notes, LABELS)?;
    let mut manifest = Manifest::new(name, head, labels, parsed(notes, PREPROCESSING)?);
    if notes.contains_key(CHANNELS) {
        manifest.channels = parsed(notes, CHANNELS)?;
    }
    match manifest.fault() {
        Some(fault) => Err(Error::Data(format!("its metadata is damaged: {fault}")).into()),
        None => Ok(manifest),
    }
}

fn parsed<T: DeserializeOwned>(notes: &Notes, key: &str) -> Result<T> {
    let parsed = serde_json::from_str(&notes[key]);
    parsed.map_err(|cause| Error::Data(format!("{key} in its metadata is damaged: {cause}")).into())
}

/// Refuses a file by its first bytes if it can't be a model.
///
/// # Errors
/// [`Error::Data`] that says what it is instead, and what to do with it.
pub(super) fn check(start: &[u8]) -> Result<()> {
    let kind = sniff::kind(start);
    let remedy = match kind {
        Kind::Safetensors => return Ok(()),
        Kind::Torch(_) => {
            "make a model of its weights with `flowers train DATA --out RUN --weights FILE`"
        }
        Kind::Network(_) => "give the model.safetensors that it was exported from",
        Kind::Picture(_) => "the first argument is the model",
        Kind::Other(_) => "a model is the model.safetensors of a run",
    };
    let name = kind.name();
    Err(Error::Data(format!("it is {name}, not a model: {remedy}")).into())
}
