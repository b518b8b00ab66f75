//! The folder of a run: the files that training writes and a resumed run reads.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::callback::EVENTS;
use super::checkpoint::{Checkpoint, Header, State};
use super::config::Config;
use super::extend::{Refused, extended};
use super::lock::{self, Lock};
use super::network::Network;
use crate::bundle::{Bundle, Manifest, TestAccuracy, TrainingMetrics};
use crate::data::Source;
use crate::error::{Error, Result, quoted, shown};
use crate::files;
use crate::metrics::Evaluation;
use crate::weights::StateDict;

pub(super) const CHECKPOINT: &str = "last.ckpt";
const LOG: &str = "train.log";
const CONFIG: &str = "config.toml";
pub(super) const SPLIT: &str = "split.json";

/// An open run folder.
pub struct Run {
    folder: PathBuf,
    config: Config,
    /// That of the model file, without metrics.
    manifest: Manifest,
    data: Source,
    /// For the user, one per line, without the word "warning".
    warnings: Vec<String>,
    /// Held by every run that has a folder.
    lock: Option<Lock>,
}

impl Run {
    /// Creates and locks the folder of a new run, before any long work starts.
    ///
    /// # Errors
    /// [`Error::Usage`] when the folder is not empty, [`Error::Environment`] when it can't be
    /// written to or is in use by another process.
    pub fn create(folder: &Path) -> Result<Lock> {
        Self::refuse_used(folder)?;
        files::create_folder(folder)?;
        Lock::take(folder)
    }

    /// Refuses a folder that no new run can be created in.
    ///
    /// # Errors
    /// [`Error::Usage`] when it is a file or not empty, [`Error::Environment`] when it is in use by
    /// another process.
    pub(super) fn refuse_used(folder: &Path) -> Result<()> {
        if folder.is_file() {
            let message = format!("{} is a file: choose a folder", shown(folder));
            return Err(Error::Usage(message).into());
        }
        Lock::refuse_held(folder)?;
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let is_empty = entries
            .map(|entry| entry.file_name())
            .all(|name| name == lock::NAME);
        if !is_empty {
            let path = shown(folder);
            let resume = if folder.join(CHECKPOINT).exists() {
                format!(", or continue its run with `flowers train --resume {path}`")
            } else {
                String::new()
            };
            let message = format!("{path} already contains files: choose another folder{resume}");
            return Err(Error::Usage(message).into());
        }
        Ok(())
    }

    /// A run that is only measured: it has no folder, and can't be saved.
    pub(super) fn unsaved(config: Config, manifest: Manifest, data: &Source) -> Self {
        Self {
            folder: PathBuf::new(),
            config,
            manifest,
            data: data.clone(),
            warnings: Vec::new(),
            lock: None,
        }
    }

    /// The run of a folder as the processes know it that do not write to it.
    pub(super) fn followed(folder: &Path, header: Header) -> Self {
        Self {
            folder: folder.into(),
            data: header.data,
            config: header.config,
            manifest: header.manifest,
            warnings: header.warnings,
            lock: None,
        }
    }

    /// Whether a folder holds a run that can be resumed.
    pub fn has_checkpoint(folder: &Path) -> bool {
        folder.join(CHECKPOINT).exists()
    }

    /// Removes what a run has left in its folder that ended before its first checkpoint.
    ///
    /// # Errors
    /// [`Error::Environment`] when another process has locked the folder, or a file can't be removed.
    pub fn remove_begun(folder: &Path) -> Result<()> {
        Lock::refuse_held(folder)?;
        if Self::has_checkpoint(folder) || !folder.join(CONFIG).exists() {
            return Ok(());
        }
        files::remove_parts(folder);
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let begun = [lock::NAME, SPLIT, LOG, CONFIG].contains(&&*name);
            if !begun && !name.starts_with(EVENTS) {
                continue;
            }
            match std::fs::remove_file(entry.path()) {
                Err(cause) if cause.kind() != ErrorKind::NotFound => {
                    let path = shown(entry.path());
                    let message = format!("can't remove {path}: {cause}");
                    return Err(Error::Environment(message).into());
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Opens a new run in a folder that [`Run::create`] locked. Writes its configuration, and its
    /// warnings to the start of its log.
    pub fn begin(folder: &Path, lock: Lock, header: Header) -> Result<Self> {
        let run = Self::of(folder, lock, header)?;
        run.write_config()?;
        if !run.warnings.is_empty() {
            let lines = run.warnings.iter().map(|line| format!("warning: {line}\n"));
            let lines: String = lines.collect();
            files::write_atomically(&run.log(), |sink| sink.write_all(lines.as_bytes()))?;
        }
        Ok(run)
    }

    /// Opens an interrupted run at its last checkpoint, and removes unfinished files of a killed
    /// process. `data` is the data set if it has been moved.
    ///
    /// # Errors
    /// [`Error::Data`] when there is no usable checkpoint, [`Error::Environment`] when the folder
    /// is in use by another process.
    pub fn resume(folder: &Path, data: Option<Source>) -> Result<(Self, Checkpoint)> {
        let path = folder.join(CHECKPOINT);
        if !path.exists() {
            let message = format!(
                "{} has no checkpoint ({CHECKPOINT}) to resume from; start a new run",
                shown(folder)
            );
            return Err(Error::Data(message).into());
        }
        let lock = Lock::take(folder)?;
        let mut checkpoint = Checkpoint::read(&path)?;
        if let Some(data) = data {
            checkpoint.header.data = data;
        }
        let run = Self::of(folder, lock, checkpoint.header.clone())?;
        files::remove_parts(folder);
        Ok((run, checkpoint))
    }

    /// Changes the number of epochs of a run that is at `state`; [`Run::record_epochs`] saves it.
    ///
    /// # Errors
    /// [`Error::Usage`] when a run with that number from the start would not be at `state`.
    pub fn train_until(&mut self, epochs: usize, state: &State) -> Result<()> {
        if epochs != self.config.epochs {
            let extended = extended(&self.config, epochs, state);
            self.config = extended.map_err(|refused| self.refused(refused))?;
            if let Some(record) = &mut self.manifest.recipe {
                record.set_epochs(epochs);
            }
        }
        Ok(())
    }

    /// Saves the number of epochs: first in the checkpoint that the run is resumed from, so that no
    /// crash loses it, then in the configuration and the model.
    pub fn record_epochs(&self, from: &Checkpoint) -> Result<()> {
        let extended = Checkpoint {
            header: self.header(from.header.state.clone()),
            ..from.clone()
        };
        extended.write(&self.file(CHECKPOINT))?;
        self.write_config()?;
        if self.model().is_file() {
            let (mut best, _) = Bundle::read(&self.model())?;
            if let Some(record) = &mut best.manifest.recipe {
                record.set_epochs(self.config.epochs);
            }
            best.write(&self.model())?;
        }
        Ok(())
    }

    fn refused(&self, refused: Refused) -> Error {
        Error::Usage(match refused {
            Refused::Fixed(why) if self.model().is_file() => {
                let command: Vec<String> = self.again().iter().map(quoted).collect();
                format!(
                    "--epochs: {why}; continue from its model in a new run: {} --weights {} \
                     --epochs N",
                    command.join(" "),
                    quoted(self.model())
                )
            }
            Refused::Fixed(why) | Refused::TooFew(why) => format!("--epochs: {why}"),
        })
    }

    /// The command line that repeats the run.
    pub fn again(&self) -> Vec<String> {
        let mut command: Vec<String> = vec!["flowers".into(), "train".into()];
        command.extend(self.data.arguments().iter().map(shown));
        command.extend([
            "--out".into(),
            "NEW_RUN".into(),
            "--config".into(),
            shown(self.file(CONFIG)),
            "--split".into(),
            shown(self.file("split.json")),
        ]);
        command
    }

    fn write_config(&self) -> Result<()> {
        let config = self.config.to_toml()?;
        files::write_atomically(&self.file(CONFIG), |sink| sink.write_all(config.as_bytes()))
    }

    fn of(folder: &Path, lock: Lock, header: Header) -> Result<Self> {
        let unknown = |cause| Error::Environment(format!("no working directory: {cause}"));
        Ok(Self {
            folder: std::path::absolute(folder).map_err(unknown)?,
            data: header.data.absolute().map_err(unknown)?,
            config: header.config,
            manifest: header.manifest,
            warnings: header.warnings,
            lock: Some(lock),
        })
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub fn data(&self) -> &Source {
        &self.data
    }

    /// Warnings for the user, one per line.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A file of the run by name.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub fn log(&self) -> PathBuf {
        self.file(LOG)
    }

    /// The model file: the weights of the best epoch so far.
    pub fn model(&self) -> PathBuf {
        self.file("model.safetensors")
    }

    /// Adds the command that resumes the run to an interruption; other errors stay as they are.
    pub fn explain_interruption(&self, error: anyhow::Error) -> anyhow::Error {
        match error.downcast_ref() {
            Some(Error::Interrupted(_)) => Error::Interrupted(format!(
                "interrupted, progress saved; continue with: flowers train --resume {}",
                quoted(&self.folder)
            ))
            .into(),
            _ => error,
        }
    }

    pub(super) fn save_checkpoint(
        &self,
        state: &State,
        network: &Network,
        optimizer: StateDict,
        [average, start]: [Option<&Network>; 2],
    ) -> Result<()> {
        self.require_folder()?;
        let weights = |network: Option<&Network>| {
            let weights = network.map(Network::state_dict).transpose();
            weights.map(Option::unwrap_or_default)
        };
        let checkpoint = Checkpoint {
            header: self.header(state.clone()),
            network: network.state_dict()?,
            optimizer,
            average: weights(average)?,
            start: weights(start)?,
        };
        checkpoint.write(&self.file(CHECKPOINT))
    }

    fn require_folder(&self) -> Result<()> {
        anyhow::ensure!(self.lock.is_some(), "a run without a folder can't be saved");
        Ok(())
    }

    pub(super) fn header(&self, state: State) -> Header {
        let mut header = Header::new(self.config.clone(), self.manifest.clone(), &self.data);
        header.state = state;
        header.warnings = self.warnings.clone();
        header
    }

    /// Adds the best model's evaluation on the test photos to its file.
    ///
    /// # Errors
    /// Those of reading and writing it.
    pub fn record_test(&self, test: &Evaluation) -> Result<()> {
        let (mut bundle, _) = Bundle::read(&self.model())?;
        let metrics = bundle.manifest.metrics.get_or_insert_default();
        metrics.set_test(TestAccuracy {
            accuracy: test.accuracy,
            interval: test.accuracy_interval,
            photos: test.n,
        });
        bundle.write(&self.model())
    }

    /// Writes the network as the run's model. Nothing in the file depends on the clock, so equal
    /// runs give equal files.
    pub(super) fn save_best(&self, state: &State, network: &Network) -> Result<()> {
        self.require_folder()?;
        let metrics = state
            .best()
            .map(|best| TrainingMetrics::of_epoch(best.epoch, best.val_accuracy, best.val_loss));
        let bundle = Bundle {
            manifest: Manifest {
                metrics,
                ..self.manifest.clone()
            },
            weights: network.state_dict()?,
        };
        bundle.write(&self.model())
    }
}
