//! The photos that several runs are trained and tested on.

use std::path::{Path, PathBuf};

use crate::data::{Depth, Folder, Part, ScanOptions, Source, Split};
use crate::error::{Error, Result, shown};
use crate::progress::Progress;
use crate::training::Config;

/// A data set and its split, written down for the runs.
pub(crate) struct SharedSplit {
    pub folder: Folder,
    pub split: Split,
    /// The manifest.
    pub path: PathBuf,
    /// Of the manifest, in hex.
    pub sha256: String,
}

impl SharedSplit {
    /// Scans a data set and splits it, or follows the manifest that is given, and writes the manifest
    /// into the folder of the runs, for all of them. Those that there are have to be of the same split:
    /// `earlier` are folders that hold its manifest, and its SHA-256 as they recorded it.
    ///
    /// # Errors
    /// Those of [`Folder::scan`] and [`Split::make`], and [`Error::Usage`] for runs that were trained
    /// with another split.
    pub(crate) fn prepare(
        data: &Source,
        given: Option<&Path>,
        out: &Path,
        config: &Config,
        earlier: &[(&Path, Option<&str>)],
        progress: &dyn Progress,
    ) -> Result<Self> {
        let options = ScanOptions::cached(config.max_bad, Depth::Pixels);
        let folder = Folder::scan(data, &options, progress)?;
        let split = match given {
            Some(path) => Split::load(path, &folder)?,
            None => Split::make(&folder, &config.split_options())?,
        };
        let sha256 = split.manifest.sha256()?;
        let of_another = |(_, recorded): &&(&Path, Option<&str>)| *recorded != Some(&*sha256);
        if let Some((run, _)) = earlier.iter().find(of_another) {
            let message = format!(
                "{} was trained with another split than that of {data} now: photos were added, \
                 changed or renamed since, or another --split is given; go on with the photos of then \
                 by --split {}, or choose another --out",
                shown(run),
                shown(run.join("split.json"))
            );
            return Err(Error::Usage(message).into());
        }
        let path = out.join("split.json");
        split.manifest.write(&path)?;
        Ok(Self {
            folder,
            split,
            path,
            sha256,
        })
    }

    /// The part to measure on: the test photos, or the validation photos where there are none.
    pub(crate) fn measured_on(&self) -> Part {
        match self.split.test.is_empty() {
            true => Part::Val,
            false => Part::Test,
        }
    }
}
