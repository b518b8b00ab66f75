//! A run's folder: what training leaves behind, and what resuming finds there.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::checkpoint::{Checkpoint, Header, State};
use super::extend::{Refused, extended};
use super::lock::{self, Lock};
use super::network::Network;
use super::optimizer::Optimizer;
use super::settings::Config;
use crate::bundle::{Bundle, Manifest};
use crate::data::Source;
use crate::error::{Error, Result, quoted, shown};
use crate::files;
use crate::metrics::Evaluation;

const CHECKPOINT: &str = "last.ckpt";
const LOG: &str = "train.log";

/// An open run folder.
pub struct Run {
    folder: PathBuf,
    config: Config,
    /// What the model file says of itself, but for its metrics.
    manifest: Manifest,
    data: Source,
    /// What its user should know of the run: lines, without the word "warning".
    warnings: Vec<String>,
    _lock: Lock,
}

impl Run {
    /// Makes a folder for a new run, and takes it, before any long work starts.
    ///
    /// # Errors
    /// [`Error::Usage`] when the folder already holds something, [`Error::Environment`] when it
    /// can't be written to or another process works in it.
    pub fn create(folder: &Path) -> Result<Lock> {
        if folder.is_file() {
            let message = format!("{} is a file: choose a folder", shown(folder));
            return Err(Error::Usage(message).into());
        }
        Lock::refuse_held(folder)?;
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let taken = entries
            .map(|entry| entry.file_name())
            .any(|name| name != lock::NAME);
        if taken {
            let place = shown(folder);
            let resume = if folder.join(CHECKPOINT).exists() {
                format!(", or continue its run with `flowers train --resume {place}`")
            } else {
                String::new()
            };
            let message = format!("{place} already contains files: choose another folder{resume}");
            return Err(Error::Usage(message).into());
        }
        files::create_folder(folder)?;
        Lock::take(folder)
    }

    /// The run of a folder that [`Run::create`] took. Writes down its configuration, and its
    /// warnings at the head of its log.
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

    /// Opens an interrupted run where it last was saved, and clears away files that a killed
    /// process left unfinished; `data` is where the data set has moved.
    ///
    /// # Errors
    /// [`Error::Data`] when there is no usable checkpoint, [`Error::Environment`] when another
    /// process works in the folder.
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

    /// Changes the number of epochs of a run that stands at `state`; [`Run::record_epochs`] writes
    /// it down.
    ///
    /// # Errors
    /// [`Error::Usage`] when the run could not have come to `state` with that number.
    pub fn train_until(&mut self, epochs: usize, state: &State) -> Result<()> {
        if epochs != self.config.epochs {
            let extended = extended(&self.config, epochs, state);
            self.config = extended.map_err(|refused| self.refused(refused))?;
            set_epochs(&mut self.manifest, epochs);
        }
        Ok(())
    }

    /// Writes the number of epochs into what the run has: first into the checkpoint that it goes on
    /// from, so that no crash loses it, then into the configuration and the model.
    pub fn record_epochs(&self, from: &Checkpoint) -> Result<()> {
        let extended = Checkpoint {
            header: self.header(from.header.state.clone()),
            ..from.clone()
        };
        extended.write(&self.file(CHECKPOINT))?;
        self.write_config()?;
        if self.model().is_file() {
            let (mut best, _) = Bundle::read(&self.model())?;
            set_epochs(&mut best.manifest, self.config.epochs);
            best.write(&self.model())?;
        }
        Ok(())
    }

    fn refused(&self, refused: Refused) -> Error {
        Error::Usage(match refused {
            Refused::Settled(why) if self.model().is_file() => {
                let command: Vec<String> = self.again().iter().map(quoted).collect();
                format!(
                    "--epochs: {why}; train on from its model in a new run: {} --weights {} \
                     --epochs N",
                    command.join(" "),
                    quoted(self.model())
                )
            }
            Refused::Settled(why) | Refused::TooFew(why) => format!("--epochs: {why}"),
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
            shown(self.file("config.toml")),
            "--split".into(),
            shown(self.file("split.json")),
        ]);
        command
    }

    fn write_config(&self) -> Result<()> {
        let config = self.config.to_toml()?;
        files::write_atomically(&self.file("config.toml"), |sink| {
            sink.write_all(config.as_bytes())
        })
    }

    fn of(folder: &Path, lock: Lock, header: Header) -> Result<Self> {
        let nowhere = |cause| Error::Environment(format!("no working directory: {cause}"));
        Ok(Self {
            folder: std::path::absolute(folder).map_err(nowhere)?,
            data: header.data.absolute().map_err(nowhere)?,
            config: header.config,
            manifest: header.manifest,
            warnings: header.warnings,
            _lock: lock,
        })
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Where the photos are.
    pub fn data(&self) -> &Source {
        &self.data
    }

    /// What its user should know of the run, a line each.
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

    /// Where what happens is written down.
    pub fn log(&self) -> PathBuf {
        self.file(LOG)
    }

    /// The best model so far.
    pub fn model(&self) -> PathBuf {
        self.file("model.safetensors")
    }

    /// Adds to an interruption how to go on; other errors stay as they are.
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
        optimizer: &Optimizer,
    ) -> Result<()> {
        let checkpoint = Checkpoint {
            header: self.header(state.clone()),
            network: network.state_dict()?,
            optimizer: optimizer.state()?,
        };
        checkpoint.write(&self.file(CHECKPOINT))
    }

    fn header(&self, state: State) -> Header {
        let mut header = Header::new(self.config.clone(), self.manifest.clone(), &self.data);
        header.state = state;
        header.warnings = self.warnings.clone();
        header
    }

    /// Adds what the best model was measured to do on test photos to its file.
    ///
    /// # Errors
    /// Those of reading and writing it.
    pub fn record_test(&self, test: &Evaluation) -> Result<()> {
        let (mut bundle, _) = Bundle::read(&self.model())?;
        let metrics = bundle.manifest.metrics.get_or_insert_with(|| json!({}));
        metrics["test_accuracy"] = json!(test.accuracy);
        metrics["test_accuracy_interval"] = json!(test.accuracy_interval);
        metrics["test_photos"] = json!(test.n);
        bundle.write(&self.model())
    }

    /// Writes the network as the run's model. Nothing in the file depends on the clock, so equal
    /// runs give equal files.
    pub(super) fn save_best(&self, state: &State, network: &Network) -> Result<()> {
        let metrics = state.best().map(|best| {
            json!({
                "epoch": best.epoch,
                "val_accuracy": best.val_accuracy,
                "val_loss": best.val_loss,
            })
        });
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

fn set_epochs(manifest: &mut Manifest, epochs: usize) {
    if let Some(recipe) = &mut manifest.recipe {
        recipe["epochs"] = epochs.into();
    }
}
