//! Everything that an interrupted run needs to go on as if nothing had happened.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::schedule::Plateau;
use super::settings::Config;
use crate::bundle::{CHECKPOINT, Manifest};
use crate::data::Source;
use crate::error::{Error, Result, shown};
use crate::metrics::{Epoch, history};
use crate::weights::{StateDict, check_finite, safetensors};

/// Where a run stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Phases that are over.
    pub phase: usize,
    /// Epochs of the current phase that are over.
    pub phase_epoch: usize,
    /// Batches of the current epoch that are over.
    pub batch: usize,
    pub running: Running,
    /// Steps that the optimizer has taken in this phase.
    pub steps: u64,
    pub plateau: Plateau,
    /// Epochs of this phase since validation last improved.
    pub stale: usize,
    pub history: Vec<Epoch>,
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
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Header {
    schema: u32,
    pub state: State,
    pub config: Config,
    /// What the model file of the run says of itself.
    pub manifest: Manifest,
    pub data: Source,
    /// What the run's user should know, a line each.
    #[serde(default)]
    pub warnings: Vec<String>,
}

const SCHEMA: u32 = 1;
/// What the names of the network's parameters begin with.
pub(super) const NETWORK: &str = "network/";
const OPTIMIZER: &str = "optimizer/";

impl Header {
    /// That of a run which has not begun.
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
    /// Writes a checkpoint in one piece or not at all.
    pub fn write(self, path: &Path) -> Result<()> {
        let prefixed = |prefix: &'static str, tensors: StateDict| {
            let named = move |(name, tensor)| (format!("{prefix}{name}"), tensor);
            tensors.into_iter().map(named)
        };
        let tensors: StateDict = prefixed(NETWORK, self.network)
            .chain(prefixed(OPTIMIZER, self.optimizer))
            .collect();
        let metadata = BTreeMap::from([(CHECKPOINT.into(), serde_json::to_string(&self.header)?)]);
        safetensors::write(path, &tensors, &metadata)
    }

    /// Reads a checkpoint.
    ///
    /// # Errors
    /// [`Error::Data`] when the file is missing, of a newer version, or broken: with values that no
    /// run could have, or parameters that are not finite.
    pub fn read(path: &Path) -> Result<Self> {
        let (tensors, metadata) = safetensors::read(path)?;
        let refuse = |why: String| Error::Data(format!("{}: {why}", shown(path)));
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
        for (name, tensor) in tensors {
            if let Some(name) = name.strip_prefix(NETWORK) {
                network.insert(name.into(), tensor);
            } else if let Some(name) = name.strip_prefix(OPTIMIZER) {
                optimizer.insert(name.into(), tensor);
            }
        }
        check_finite(&network).with_context(|| shown(path))?;
        Ok(Self {
            header,
            network,
            optimizer,
        })
    }
}

impl State {
    /// The epoch whose weights are the model.
    pub fn best(&self) -> Option<&Epoch> {
        history::best(&self.history)
    }

    /// Takes an epoch's row into the history. Says whether its weights are the best so far.
    pub fn end_epoch(&mut self, row: Epoch) -> bool {
        let (epoch, val_loss) = (row.epoch, row.val_loss);
        self.history.push(row);
        let better = self.best().is_some_and(|best| best.epoch == epoch);
        self.stale = if better { 0 } else { self.stale + 1 };
        self.plateau.observe(val_loss);
        self.phase_epoch += 1;
        self.batch = 0;
        self.running = Running::default();
        better
    }

    pub fn end_phase(&mut self) {
        self.phase += 1;
        self.phase_epoch = 0;
        self.steps = 0;
        self.stale = 0;
        self.plateau = Plateau::default();
    }
}

impl Running {
    pub fn loss(&self) -> f64 {
        self.loss / self.seen.max(1) as f64
    }

    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.seen.max(1) as f64
    }
}
