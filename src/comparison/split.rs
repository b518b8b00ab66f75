//! The photos that all candidates are trained and tested on.

use std::path::{Path, PathBuf};

use crate::data::{Depth, Folder, Part, ScanOptions, Source, Split};
use crate::error::{Error, Result, shown};
use crate::progress::Progress;
use crate::training::{Config, Recorded};

/// A data set and its split, written down for the runs.
pub(crate) struct SharedSplit {
    pub folder: Folder,
    pub split: Split,
    /// The manifest.
    pub path: PathBuf,
}

impl SharedSplit {
    /// Scans a data set and splits it, or follows the manifest that is given, and writes the manifest
    /// into the folder of the comparison, for its runs. Those that there are have to be of the same
    /// split.
    ///
    /// # Errors
    /// Those of [`Folder::scan`] and [`Split::make`], and [`Error::Usage`] for runs that were trained
    /// with another split.
    pub(crate) fn prepare(
        data: &Source,
        given: Option<&Path>,
        out: &Path,
        config: &Config,
        runs: &[(&Path, &Recorded)],
        progress: &dyn Progress,
    ) -> Result<Self> {
        let options = ScanOptions::cached(config.max_bad, Depth::Pixels);
        let folder = Folder::scan(data, &options, progress)?;
        let split = match given {
            Some(path) => Split::load(path, &folder)?,
            None => Split::make(&folder, &config.split_options())?,
        };
        let sha256 = split.manifest.sha256()?;
        let of_another =
            |(_, run): &&(&Path, &Recorded)| run.split_sha256.as_ref() != Some(&sha256);
        if let Some((run, _)) = runs.iter().find(of_another) {
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
