//! What `train` and `eval` have in common: measure a model on photos, and report it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::bundle::Manifest;
use crate::data::loader::Transform;
use crate::data::{Folder, Loader, Photo, Split, Undecodable};
use crate::error::{Result, shown};
use crate::evaluation::predictions;
use crate::files;
use crate::image::{Limits, decode};
use crate::inference::Backend;
use crate::metrics::calibration::bins;
use crate::metrics::{Epoch, Evaluation, GateResult, Mistake, Predictions};
use crate::progress::Progress;
use crate::report::{ClassSplit, Fact, MistakePhoto, ReportData, Thumbnail, confusion_png};

/// Wrong predictions that a report shows.
const MISTAKES: usize = 24;
const BATCH: usize = 32;

/// How many of the photos a model knows from its training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Learned from.
    pub trained: usize,
    /// Validated on, to choose the best epoch.
    pub selected: usize,
}

/// A model measured on photos.
pub struct Measured {
    pub evaluation: Evaluation,
    seen: Option<Seen>,
    predictions: Predictions,
    photos: Arc<[Photo]>,
    /// The photos' places, in the order of the predictions.
    places: Vec<usize>,
    undecodable: Arc<Undecodable>,
}

/// What a report tells beside the measurement.
pub struct Context<'a> {
    pub title: String,
    pub facts: Vec<Fact>,
    pub manifest: &'a Manifest,
    pub folder: &'a Folder,
    pub split: Option<&'a Split>,
    pub history: Vec<Epoch>,
    pub gates: Vec<GateResult>,
    /// What is to be known before the figures are believed.
    pub warnings: Vec<String>,
    /// The command line that makes the report again.
    pub command: Vec<String>,
}

/// Photos to measure a model on; their classes are ids of the model's labels.
pub struct Photos {
    pub all: Arc<[Photo]>,
    pub places: Vec<usize>,
    /// Threads that decode them.
    pub workers: usize,
    /// `None` when the photos of the training can't be told.
    pub seen: Option<Seen>,
    /// Takes the photos that are left out because they can't be decoded.
    pub undecodable: Arc<Undecodable>,
}

/// Runs a model over photos.
///
/// # Errors
/// [`crate::error::Error::Data`] when there is no photo, one has become unreadable, or more are
/// undecodable than tolerated; [`crate::error::Error::Interrupted`] when `stop` is set.
pub fn measure(
    backend: &dyn Backend,
    manifest: &Manifest,
    photos: Photos,
    stop: &AtomicBool,
    progress: &dyn Progress,
) -> Result<Measured> {
    progress.begin("evaluating", photos.places.len() as u64);
    let predictions = predicted(backend, manifest, &photos, stop, progress)?;
    progress.finish();
    let trained_on = photos.seen.map(|seen| seen.trained as u64);
    Ok(Measured {
        evaluation: Evaluation {
            trained_on,
            ..Evaluation::of(&predictions)?
        },
        seen: photos.seen,
        predictions,
        places: photos
            .places
            .into_iter()
            .filter(|&place| !photos.undecodable.contains(&photos.all[place].path))
            .collect(),
        photos: photos.all,
        undecodable: photos.undecodable,
    })
}

/// What a model says of each of the photos, in their order; `progress` has begun.
///
/// # Errors
/// As [`measure`].
pub fn predicted(
    backend: &dyn Backend,
    manifest: &Manifest,
    photos: &Photos,
    stop: &AtomicBool,
    progress: &dyn Progress,
) -> Result<Predictions> {
    let transform = Transform::plain(&manifest.preprocessing);
    let (all, order) = (Arc::clone(&photos.all), photos.places.clone());
    let loader = Loader::new(all, order, BATCH, transform, photos.workers)?;
    let mut loader = loader.tolerating(&photos.undecodable);
    let mut each = |images| {
        progress.advance(images as u64);
        Ok(())
    };
    predictions(backend, &mut loader, &manifest.labels, stop, &mut each)
}

impl Measured {
    /// Writes `metrics.json`, `confusion_matrix.png` and `report.html` to a folder.
    pub fn write(&self, folder: &Path, context: &Context<'_>) -> Result<()> {
        let write = |name: &str, content: &[u8]| {
            files::write_atomically(&folder.join(name), |sink| sink.write_all(content))
        };
        let metrics = serde_json::to_string_pretty(&self.evaluation)? + "\n";
        write("metrics.json", metrics.as_bytes())?;
        write("confusion_matrix.png", &confusion_png(&self.evaluation)?)?;
        write("report.html", self.report(context)?.html()?.as_bytes())
    }

    fn report(&self, context: &Context<'_>) -> Result<ReportData> {
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

    fn shown(&self, mistake: Mistake, context: &Context<'_>) -> MistakePhoto {
        let path = &self.photos[self.places[mistake.index]].path;
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

    /// The measurement as a person reads it.
    pub fn text(&self) -> String {
        let e = &self.evaluation;
        let [low, high] = e.accuracy_interval;
        // Of three classes, the right one is always among the first three.
        let top3 = match e.labels.len() {
            ..=3 => String::new(),
            _ => format!("top-3 {:.4}, ", e.top3_accuracy),
        };
        let caveat = self.caveat().map(|line| format!("\nWARNING: {line}"));
        format!(
            "{}\naccuracy {:.4} (95% interval {low:.4} to {high:.4}, {} photos), {top3}loss {:.4}, \
             calibration error {:.4}{}",
            e.classification_report(4),
            e.accuracy,
            e.n,
            e.loss,
            e.ece,
            caveat.unwrap_or_default()
        )
    }

    /// Why the figures are better than those of new photos will be.
    fn caveat(&self) -> Option<String> {
        let (seen, n) = (self.seen?, self.evaluation.n);
        let all = |count: usize| match count as u64 == n {
            true => format!("all {n} of these photos"),
            false => format!("{count} of these {n} photos"),
        };
        match seen {
            Seen {
                trained: 0,
                selected: 0,
            } => None,
            Seen {
                trained: 0,
                selected,
            } => Some(format!(
                "the best epoch was chosen on {}: new photos may do a little worse",
                all(selected)
            )),
            Seen { trained, selected } => {
                let others = match selected {
                    0 => String::new(),
                    _ => format!(", and its best epoch was chosen on {selected} more"),
                };
                Some(format!(
                    "the model was trained on {}{others}: this is no test, new photos will do worse; \
                     measure with --split test",
                    all(trained)
                ))
            }
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
