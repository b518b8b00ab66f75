//! The files of a measurement: metrics, confusion matrix, and report.

use std::path::Path;

use super::measured::Measured;
use crate::bundle::Manifest;
use crate::data::{Folder, Split};
use crate::error::{Result, shown};
use crate::files;
use crate::image::{Limits, decode};
use crate::metrics::calibration::bins;
use crate::metrics::{Epoch, GateResult, Mistake};
use crate::report::{ClassSplit, Fact, MistakePhoto, ReportData, Thumbnail, confusion_png};

/// Wrong predictions that a report shows.
const MISTAKES: usize = 24;

/// What a report says besides the measurement.
pub(crate) struct ReportContext<'a> {
    pub title: String,
    pub facts: Vec<Fact>,
    pub manifest: &'a Manifest,
    pub folder: &'a Folder,
    pub split: Option<&'a Split>,
    pub history: Vec<Epoch>,
    pub gates: Vec<GateResult>,
    /// What the reader should know of the figures.
    pub warnings: Vec<String>,
    /// The command line that makes the report again.
    pub command: Vec<String>,
}

impl Measured {
    /// Writes `metrics.json`, `confusion_matrix.png` and `report.html` to a folder.
    pub(crate) fn write(&self, folder: &Path, context: &ReportContext<'_>) -> Result<()> {
        let write = |name: &str, content: &[u8]| {
            files::write_atomically(&folder.join(name), |sink| sink.write_all(content))
        };
        let metrics = serde_json::to_string_pretty(&self.evaluation)? + "\n";
        write("metrics.json", metrics.as_bytes())?;
        write("confusion_matrix.png", &confusion_png(&self.evaluation)?)?;
        write("report.html", self.report(context)?.html()?.as_bytes())
    }

    fn report(&self, context: &ReportContext<'_>) -> Result<ReportData> {
        let mistakes = self.predictions.worst_mistakes(MISTAKES);
        let warnings = self.caveat().into_iter();
        Ok(ReportData {
            title: context.title.clone(),
            facts: context.facts.clone(),
            evaluation: self.evaluation.clone(),
            reliability: bins(self.predictions.outcomes()),
            gates: context.gates.clone(),
            warnings: warnings.chain(context.warnings.iter().cloned()).collect(),
            history: context.history.clone(),
            mistakes: mistakes
                .into_iter()
                .map(|m| self.shown(m, context))
                .collect(),
            split: context
                .split
                .map_or_else(Vec::new, |split| counts(split, context.folder)),
            unreadable: [&*context.folder.unreadable, &self.undecodable.found()].concat(),
            config: context.manifest.recipe.clone().unwrap_or_default().into(),
            command: context.command.clone(),
        })
    }

    fn shown(&self, mistake: Mistake, context: &ReportContext<'_>) -> MistakePhoto {
        let path = &self.photos[self.indices[mistake.index]].path;
        let picture = decode::read(path, &Limits::default()).ok();
        MistakePhoto {
            mistake,
            file: path
                .strip_prefix(&context.folder.root)
                .unwrap_or(path)
                .into(),
            thumbnail: picture.and_then(|picture| Thumbnail::of(&picture).ok()),
        }
    }
}

fn counts(split: &Split, folder: &Folder) -> Vec<ClassSplit> {
    let classes = folder.labels.names().iter().enumerate();
    classes
        .map(|(id, class)| {
            let [train, val, test] = split.counts(folder, id);
            ClassSplit {
                class: shown(class),
                train,
                val,
                test,
            }
        })
        .collect()
}
