//! Checkpoints: the whole state of a run, so that a resumed one ends like one never interrupted.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::config::Config;
use super::profile::Profile;
use super::schedule::Plateau;
use crate::bundle::{CHECKPOINT, Manifest};
use crate::data::Source;
use crate::error::{Error, Result, shown};
use crate::metrics::{Epoch, history};
use crate::weights::{StateDict, check_finite, safetensors};

/// The position of a run, and its history. The default is that of a new run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Completed phases.
    pub phase: usize,
    /// Completed epochs of the current phase.
    pub phase_epoch: usize,
    /// Completed training batches of the current epoch.
    pub batch: usize,
    pub running: Running,
    /// Optimizer steps in this phase.
    pub steps: u64,
    pub plateau: Plateau,
    #[serde(rename = "stale")]
    pub epochs_without_improvement: usize,
    pub history: Vec<Epoch>,
    /// Epochs that a time budget allows the current phase, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned_epochs: Option<usize>,
    /// Where the time of the last epochs went; of none in checkpoints of older versions. Like the
    /// times in the history, that of an epoch that was resumed begins there.
    #[serde(default)]
    pub profiles: Vec<Profile>,
}

/// Sums over the batches of an epoch so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Running {
    pub loss: f64,
    pub correct: u64,
    pub seen: u64,
}

/// A checkpoint file: a safetensors file of parameters and optimizer state whose metadata
/// says where the run stands.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    pub header: Header,
    pub network: StateDict,
    pub optimizer: StateDict,
    /// Averaged weights; empty without averaging.
    pub average: StateDict,
    /// Weights that the phase began with; empty where they are no longer needed.
    pub start: StateDict,
}

/// What a checkpoint holds besides the parameters of the network.
pub(super) struct Resumed {
    pub state: State,
    /// State of the optimizer of the current phase.
    pub optimizer: StateDict,
    /// Averaged weights; empty without averaging.
    pub average: StateDict,
    /// Weights that the phase began with; empty where they are no longer needed.
    pub start: StateDict,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Header {
    schema: u32,
    pub state: State,
    pub config: Config,
    /// That of the run's model file, without metrics.
    pub manifest: Manifest,
    pub data: Source,
    /// Warnings for the user, one per line.
    #[serde(default)]
    pub warnings: Vec<String>,
}

const SCHEMA: u32 = 1;
/// Prefix of the names of the network's parameters.
pub(super) const NETWORK: &str = "network/";
const OPTIMIZER: &str = "optimizer/";
const AVERAGE: &str = "average/";
const START: &str = "start/";

impl Header {
    /// The header of a run that has not started.
    pub fn new(config: Config, manifest: Manifest, data: &Source) -> Self {
        Self {
            schema: SCHEMA,
            state: State::default(),
            config,
            manifest,
            data: data.clone(),
            warnings: Vec::new(),
        }
    }
}

impl Checkpoint {
    /// Writes a checkpoint atomically.
    pub fn write(self, path: &Path) -> Result<()> {
        let (tensors, metadata) = self.stored()?;
        safetensors::write(path, &tensors, &metadata)
    }

    /// The bytes of the file.
    pub(super) fn into_bytes(self) -> Result<Vec<u8>> {
        let (tensors, metadata) = self.stored()?;
        let mut bytes = Vec::new();
        safetensors::write_to(&mut bytes, &tensors, &metadata)?;
        Ok(bytes)
    }

    fn stored(self) -> Result<(StateDict, safetensors::Notes)> {
        let prefixed = |prefix: &'static str, tensors: StateDict| {
            let named = move |(name, tensor)| (format!("{prefix}{name}"), tensor);
            tensors.into_iter().map(named)
        };
        let tensors: StateDict = prefixed(NETWORK, self.network)
            .chain(prefixed(OPTIMIZER, self.optimizer))
            .chain(prefixed(AVERAGE, self.average))
            .chain(prefixed(START, self.start))
            .collect();
        let metadata = BTreeMap::from([(CHECKPOINT.into(), serde_json::to_string(&self.header)?)]);
        Ok((tensors, metadata))
    }

    /// Reads a checkpoint.
    ///
    /// # Errors
    /// [`Error::Data`] when the file is missing, of a newer version, or broken: its configuration is
    /// not valid, or a parameter is not finite.
    pub fn read(path: &Path) -> Result<Self> {
        let (tensors, metadata) = safetensors::read(path)?;
        Self::parse(tensors, &metadata, &shown(path))
    }

    /// A checkpoint from the bytes of its file.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let (tensors, metadata) = safetensors::read_from(&mut &*bytes, bytes.len() as u64)?;
        Self::parse(tensors, &metadata, "the checkpoint of process 0")
    }

    fn parse(tensors: StateDict, metadata: &safetensors::Notes, name: &str) -> Result<Self> {
        let refuse = |why: String| Error::Data(format!("{name}: {why}"));
        let broken = |cause: &dyn Display| refuse(format!("broken checkpoint: {cause}"));
        let text = metadata
            .get(CHECKPOINT)
            .ok_or_else(|| refuse("not a checkpoint of a run".into()))?;
        let json: serde_json::Value = serde_json::from_str(text).map_err(|cause| broken(&cause))?;
        if json["schema"].as_u64().is_some_and(|v| v > SCHEMA.into()) {
            let why = format!(
                "the checkpoint has version {}, but this version of flowers reads up to \
                 {SCHEMA}; update flowers",
                json["schema"]
            );
            return Err(refuse(why).into());
        }
        let header: Header = serde_json::from_value(json).map_err(|cause| broken(&cause))?;
        header.config.check().map_err(|cause| broken(&cause))?;
        if let Some(fault) = header.manifest.fault() {
            return Err(broken(&fault).into());
        }
        let (mut network, mut optimizer) = (StateDict::new(), StateDict::new());
        let (mut average, mut start) = (StateDict::new(), StateDict::new());
        for (name, tensor) in tensors {
            if let Some(name) = name.strip_prefix(NETWORK) {
                network.insert(name.into(), tensor);
            } else if let Some(name) = name.strip_prefix(OPTIMIZER) {
                optimizer.insert(name.into(), tensor);
            } else if let Some(name) = name.strip_prefix(AVERAGE) {
                average.insert(name.into(), tensor);
            } else if let Some(name) = name.strip_prefix(START) {
                start.insert(name.into(), tensor);
            }
        }
        check_finite(&network).with_context(|| name.to_owned())?;
        Ok(Self {
            header,
            network,
            optimizer,
            average,
            start,
        })
    }
}

impl State {
    /// The epoch whose weights are kept as the model.
    pub fn best(&self) -> Option<&Epoch> {
        history::best(&self.history)
    }

    /// Counts a training batch of `images` photos with a mean `loss`.
    pub fn end_batch(&mut self, images: usize, loss: f64, correct: u64) {
        self.running.loss += loss * images as f64;
        self.running.correct += correct;
        self.running.seen += images as u64;
        self.batch += 1;
    }

    /// Adds an epoch to the history. Returns whether its weights are the best so far.
    pub fn end_epoch(&mut self, row: Epoch) -> bool {
        let (epoch, val_loss) = (row.epoch, row.val_loss);
        self.history.push(row);
        let better = self.best().is_some_and(|best| best.epoch == epoch);
        self.epochs_without_improvement = match better {
            true => 0,
            false => self.epochs_without_improvement + 1,
        };
        self.plateau.update(val_loss);
        self.phase_epoch += 1;
        self.batch = 0;
        self.running = Running::default();
        better
    }

    /// Counts the seconds that it took to save the last epoch.
    pub(super) fn add_saving(&mut self, seconds: f64) {
        if let Some(profile) = self.profiles.last_mut() {
            profile.checkpoints += seconds;
            profile.total += seconds;
        }
    }

    /// Whether `patience` epochs in a row have brought no improvement; never with a patience of 0.
    pub fn is_out_of_patience(&self, patience: usize) -> bool {
        patience > 0 && self.epochs_without_improvement >= patience
    }

    pub fn end_phase(&mut self) {
        self.phase += 1;
        self.planned_epochs = None;
        self.phase_epoch = 0;
        self.steps = 0;
        self.epochs_without_improvement = 0;
        self.plateau = Plateau::default();
    }
}

impl Running {
    /// Mean loss per photo.
    pub fn loss(&self) -> f64 {
        self.loss / self.seen.max(1) as f64
    }

    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.seen.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_an_older_checkpoint_is_read() {
        let old = r#"{"phase":1,"phase_epoch":4,"batch":3,
            "running":{"loss":1.5,"correct":2,"seen":3},"steps":35,
            "plateau":{"factor":0.1,"best":null,"epochs_without":2},"stale":2,"history":[]}"#;
        let state: State = serde_json::from_str(old).unwrap();
        assert_eq!((state.phase, state.batch, state.steps), (1, 3, 35));
        assert_eq!(state.epochs_without_improvement, 2);
        assert_eq!(
            [3, 2, 1, 0].map(|n| state.is_out_of_patience(n)),
            [false, true, true, false]
        );
    }

    #[test]
    fn batches_add_up_to_the_means_of_an_epoch() {
        let mut state = State::default();
        state.end_batch(3, 2.0, 1);
        state.end_batch(1, 6.0, 1);
        assert_eq!((state.running.loss(), state.running.accuracy()), (3.0, 0.5));
        assert_eq!(state.batch, 2);
    }

    #[test]
    fn an_epoch_begins_with_empty_sums() {
        let mut state = State::default();
        state.end_batch(3, 2.0, 1);
        let row: Epoch = serde_json::from_str(
            r#"{"epoch":1,"phase":"whole","learning_rate":1e-4,"train_loss":2.0,
            "train_accuracy":0.5,"val_loss":1.0,"val_accuracy":0.5,"images_per_second":1.0,
            "waiting":0.0,"seconds":1.0}"#,
        )
        .unwrap();
        assert!(state.end_epoch(row), "the first epoch is the best so far");
        assert_eq!(state.running, Running::default());
        assert_eq!((state.phase_epoch, state.batch), (1, 0));
    }
}
