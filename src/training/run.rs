//! A run's folder: what training leaves behind, and what resuming finds there.

use std::path::{Path, PathBuf};

use super::checkpoint::{Checkpoint, Header, State};
use super::extend::extended;
use super::network::Network;
use super::optimizer::Optimizer;
use super::settings::Config;
use crate::bundle::{Bundle, Manifest};
use crate::error::{Error, Result, shown};
use crate::files;

const CHECKPOINT: &str = "last.ckpt";

/// An open run folder.
pub struct Run {
    folder: PathBuf,
    config: Config,
    /// What the model file says of itself, but for its metrics.
    manifest: Manifest,
    /// The data set's folder.
    data: PathBuf,
}

impl Run {
    /// Makes a folder for a new run and tries to write to it, before any long work starts.
    ///
    /// # Errors
    /// [`Error::Usage`] when the folder already holds something, [`Error::Environment`] when it
    /// can't be written to.
    pub fn create(folder: &Path) -> Result<()> {
        let taken = std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
        if taken || folder.is_file() {
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
        let probe = tempfile::Builder::new()
            .prefix(".flowers-")
            .tempfile_in(folder);
        probe.map(drop).map_err(|cause| {
            Error::Environment(format!("can't write to {}: {cause}", shown(folder))).into()
        })
    }

    /// The run of a folder that [`Run::create`] made. Writes down its configuration.
    pub fn begin(folder: &Path, config: Config, manifest: Manifest, data: &Path) -> Result<Self> {
        let run = Self::of(folder, config, manifest, data)?;
        run.write_config()?;
        Ok(run)
    }

    /// Opens an interrupted run where it last was saved, and clears away files that a killed
    /// process left unfinished; `data` is where the data set has moved.
    ///
    /// # Errors
    /// [`Error::Data`] when there is no usable checkpoint.
    pub fn resume(folder: &Path, data: Option<&Path>) -> Result<(Self, Checkpoint)> {
        let path = folder.join(CHECKPOINT);
        if !path.exists() {
            let message = format!(
                "{} has no checkpoint ({CHECKPOINT}) to resume from; start a new run",
                shown(folder)
            );
            return Err(Error::Data(message).into());
        }
        let checkpoint = Checkpoint::read(&path)?;
        let header = &checkpoint.header;
        let (config, manifest) = (header.config.clone(), header.manifest.clone());
        let data = data.unwrap_or(Path::new(&header.data));
        let run = Self::of(folder, config, manifest, data)?;
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
            self.config = extended.map_err(|why| self.refused(&why))?;
            set_epochs(&mut self.manifest, epochs);
        }
        Ok(())
    }

    /// Writes the number of epochs into the configuration and the model that the run has.
    pub fn record_epochs(&self) -> Result<()> {
        self.write_config()?;
        if self.model().is_file() {
            let (mut best, _) = Bundle::read(&self.model())?;
            set_epochs(&mut best.manifest, self.config.epochs);
            best.write(&self.model())?;
        }
        Ok(())
    }

    fn refused(&self, why: &str) -> Error {
        Error::Usage(format!(
            "--epochs: {why}; train on from its model in a new run: flowers train {} --out NEW_RUN \
             --weights {} --epochs N",
            quoted(&self.data),
            quoted(&self.model())
        ))
    }

    fn write_config(&self) -> Result<()> {
        let config = self.config.to_toml()?;
        files::write_atomically(&self.file("config.toml"), |sink| {
            sink.write_all(config.as_bytes())
        })
    }

    fn of(folder: &Path, config: Config, manifest: Manifest, data: &Path) -> Result<Self> {
        let absolute = |path: &Path| {
            std::path::absolute(path)
                .map_err(|cause| Error::Environment(format!("{}: {cause}", shown(path))))
        };
        Ok(Self {
            folder: absolute(folder)?,
            config,
            manifest,
            data: absolute(data)?,
        })
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The data set's folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A file of the run by name.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
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
        let header = Header::new(
            state.clone(),
            self.config.clone(),
            self.manifest.clone(),
            &self.data,
        );
        Checkpoint::write(&self.file(CHECKPOINT), &header, network, optimizer)
    }

    /// Writes the network as the run's model. Nothing in the file depends on the clock, so equal
    /// runs give equal files.
    pub(super) fn save_best(&self, state: &State, network: &Network) -> Result<()> {
        let metrics = state.best().map(|best| {
            serde_json::json!({
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

/// A path as one word of a shell.
fn quoted(path: &Path) -> String {
    let text = shown(path);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if text.chars().all(is_plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
