//! What the folder of a run says of it, read without opening the run.

use std::path::Path;

use super::checkpoint::Checkpoint;
use super::config::Config;
use super::run::CHECKPOINT;
use crate::error::Result;
use crate::metrics::Epoch;

/// The run that the checkpoint of a folder belongs to.
pub struct Recorded {
    pub config: Config,
    /// Of the split manifest that it trains with, in hex.
    pub split_sha256: Option<String>,
    /// Completed epochs.
    pub history: Vec<Epoch>,
    /// Seconds of these epochs, as far as they were measured, with their features and checkpoints.
    pub seconds: f64,
}

impl Recorded {
    /// Reads the checkpoint of a run; `None` where there is none yet.
    ///
    /// # Errors
    /// [`Error::Data`](crate::error::Error::Data) when it is broken or of a newer version.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(CHECKPOINT);
        if !path.exists() {
            return Ok(None);
        }
        let header = Checkpoint::read(&path)?.header;
        Ok(Some(Self {
            config: header.config,
            split_sha256: header.manifest.split_sha256,
            seconds: header.state.profiles.iter().map(|p| p.total).sum(),
            history: header.state.history,
        }))
    }
}
