//! What is written down of a search: all that a later session needs.

use std::fmt::Display;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::space::Dimension;
use super::trial::{Record, TRIALS};
use crate::error::{Error, Result, shown};
use crate::files;
use crate::training::Config;

/// What a search writes, besides the runs of its trials, into its folder.
const FILES: [&str; 6] = [
    "split.json",
    "tune.json",
    "tune.csv",
    "tune.png",
    "tune.html",
    "best.toml",
];
const NAME: &str = "search.json";
pub(super) const FEATURES: &str = "features";
pub(super) const SCHEMA: u32 = 1;

/// Whether a search writes something of this name into its folder.
pub(crate) fn is_own(name: &str) -> bool {
    FILES.contains(&name) || [NAME, FEATURES, TRIALS].contains(&name)
}

/// The file, which is written after each step.
#[derive(Serialize, Deserialize)]
pub(super) struct Journal {
    pub schema: u32,
    /// That of the defaults, as it was asked for.
    pub config: Config,
    pub space: Vec<Dimension>,
    pub reduction: usize,
    /// Of the manifest that the trials are trained with.
    pub split_sha256: Option<String>,
    /// Of all sessions.
    pub seconds: f64,
    pub trials: Vec<Record>,
}

impl Journal {
    /// Reads what is written down in the folder of a search; `None` where there is nothing yet.
    ///
    /// # Errors
    /// [`Error::Data`] when it can't be read, or a later version wrote it.
    pub(super) fn read(out: &Path) -> Result<Option<Self>> {
        let path = out.join(NAME);
        if !path.exists() {
            return Ok(None);
        }
        let text = files::read(&path)?;
        let json: Value = serde_json::from_slice(&text).map_err(|cause| broken(out, &cause))?;
        if json["schema"]
            .as_u64()
            .is_some_and(|schema| schema > SCHEMA.into())
        {
            return Err(broken(out, &"a later version of flowers wrote it; update flowers").into());
        }
        let journal = serde_json::from_value(json).map_err(|cause| broken(out, &cause))?;
        Ok(Some(journal))
    }

    /// Writes it down, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Environment`] when it can't be written.
    pub(super) fn write(&self, out: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        files::write_atomically(&out.join(NAME), |sink| sink.write_all(text.as_bytes()))
    }
}

/// The error of a file that can't be used.
pub(super) fn broken(out: &Path, cause: &dyn Display) -> Error {
    let path = shown(out.join(NAME));
    Error::Data(format!("{path} is not the record of a search: {cause}"))
}
