//! What a search finds, as JSON and as CSV.

use std::cmp::Ordering;
use std::io::Write;

use serde::Serialize;
use serde_json::{Map, Value};

use super::search::Search;
use super::space::Dimension;
use super::trial::Trial;
use crate::bundle::TestAccuracy;
use crate::error::{Error, Result};
use crate::metrics::accuracy::wilson_interval;
use crate::training::Config;
use crate::values::plural;

/// Trials on the same photos, the best first.
#[derive(Serialize)]
pub(crate) struct Tuning {
    pub data: String,
    pub architecture: &'static str,
    pub recipe: &'static str,
    pub seed: u64,
    /// Epochs at the rungs.
    pub rungs: Vec<usize>,
    pub reduction: usize,
    pub space: Vec<Dimension>,
    /// Photos that chose the best trial.
    pub val_photos: usize,
    pub seconds: f64,
    /// The number of the best trial.
    pub best: usize,
    /// Of the best trial alone, once it is measured; absent where there are no test photos.
    pub test: Option<Test>,
    /// What the figures mean, one sentence each.
    pub notes: Vec<String>,
    pub trials: Vec<TrialResult>,
}

/// Accuracy on the test photos, which chose nothing.
#[derive(Serialize)]
pub(crate) struct Test {
    pub accuracy: f64,
    pub interval: [f64; 2],
    pub photos: u64,
}

/// How a trial ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// Trained to the end.
    Complete,
    /// Others on its rung were better, or there were too few of them.
    Stopped,
    Failed,
}

/// A trial.
#[derive(Serialize)]
pub(crate) struct TrialResult {
    /// Counted from 0, the defaults.
    pub trial: usize,
    pub is_default: bool,
    pub is_best: bool,
    pub outcome: Outcome,
    /// Values of the searched options; null where an option has none.
    pub values: Map<String, Value>,
    pub epochs: usize,
    /// 0 to 1: of its model, or of what that would be if it had ended where it was stopped.
    pub val_accuracy: Option<f64>,
    pub val_accuracy_interval: Option<[f64; 2]>,
    pub val_loss: Option<f64>,
    pub seconds: f64,
    pub failure: Option<String>,
    /// Its run, relative to the folder of the search.
    pub run: String,
}

/// Options that are off at 0, and then absent from a configuration.
const OFF_AT_ZERO: [&str; 4] = ["clip-grad-norm", "ema", "mixup", "cutmix"];

/// The best complete trial: the most accurate on the validation photos; of equals the defaults, then that
/// of the smallest pictures, then that of the smallest loss.
///
/// # Errors
/// That of the trials when all have failed.
pub(crate) fn best(search: &Search) -> Result<&Trial> {
    let complete = search
        .trials
        .iter()
        .filter(|trial| search.is_complete(trial));
    if let Some(best) = complete.min_by(|a, b| order_complete(a, b)) {
        return Ok(best);
    }
    let failed = search.trials.iter();
    let failed = failed.filter_map(|trial| trial.record.failure.as_deref());
    let first = failed.clone().next().unwrap_or("none was trained");
    Err(Error::Gate(format!(
        "no trial could be trained to the end: {} of {} failed, the first because {first}; choose other \
         options, or a --space with smaller learning rates",
        failed.count(),
        search.trials.len(),
    ))
    .into())
}

fn order_complete(a: &Trial, b: &Trial) -> Ordering {
    let key = |trial: &Trial| {
        let best = trial.best();
        let accuracy = best.map_or(f64::NEG_INFINITY, |best| best.val_accuracy);
        (accuracy, best.map_or(f64::INFINITY, |best| best.val_loss))
    };
    let ((a_accuracy, a_loss), (b_accuracy, b_loss)) = (key(a), key(b));
    b_accuracy
        .total_cmp(&a_accuracy)
        .then(b.is_default().cmp(&a.is_default()))
        .then(a.config.image_size.cmp(&b.config.image_size))
        .then(a_loss.total_cmp(&b_loss))
        .then(a.number.cmp(&b.number))
}

/// Complete trials by how good they are, then those that got further before those that got less far.
fn order(search: &Search, a: &Trial, b: &Trial) -> Ordering {
    let is_complete = |trial| search.is_complete(trial);
    match [a, b].map(is_complete) {
        [true, true] => return order_complete(a, b),
        [true, false] => return Ordering::Less,
        [false, true] => return Ordering::Greater,
        [false, false] => {}
    }
    let key = |trial: &Trial| {
        let epochs = trial.record.history.len();
        let model = trial.model_after(epochs);
        let accuracy = model.map_or(-1.0, |row| row.val_accuracy);
        (trial.record.failure.is_none(), epochs, accuracy)
    };
    let ((a_well, a_epochs, a_accuracy), (b_well, b_epochs, b_accuracy)) = (key(a), key(b));
    b_well
        .cmp(&a_well)
        .then(b_epochs.cmp(&a_epochs))
        .then(b_accuracy.total_cmp(&a_accuracy))
        .then(a.number.cmp(&b.number))
}

impl Tuning {
    /// The results of a search on so many validation photos.
    ///
    /// # Errors
    /// As [`best`].
    pub(crate) fn of(
        search: &Search,
        data: String,
        val_photos: usize,
        test: Option<TestAccuracy>,
    ) -> Result<Self> {
        let best = best(search)?.number;
        let mut trials: Vec<&Trial> = search.trials.iter().collect();
        trials.sort_by(|a, b| order(search, a, b));
        let trials = trials.into_iter();
        let trials = trials.map(|trial| TrialResult::of(search, trial, best, val_photos));
        let mut tuning = Self {
            data,
            architecture: search.config.arch.name,
            recipe: search.config.recipe.name,
            seed: search.config.seed,
            rungs: search.rungs.clone(),
            reduction: search.reduction,
            space: search.space.clone(),
            val_photos,
            seconds: search.spent(),
            best,
            test: test.map(|test| Test {
                accuracy: test.accuracy,
                interval: test.interval,
                photos: test.photos,
            }),
            notes: Vec::new(),
            trials: trials.collect::<Result<_>>()?,
        };
        tuning.notes = tuning.sentences();
        Ok(tuning)
    }

    fn complete(&self) -> usize {
        let complete = |one: &&TrialResult| one.outcome == Outcome::Complete;
        self.trials.iter().filter(complete).count()
    }

    fn sentences(&self) -> Vec<String> {
        let Some(best) = self.trials.iter().find(|one| one.is_best) else {
            return Vec::new();
        };
        let percent = |share: f64| format!("{:.1}%", 100.0 * share);
        let accuracy = best.val_accuracy.unwrap_or_default();
        let [low, high] = best.val_accuracy_interval.unwrap_or_default();
        let defaults = self.trials.iter().find(|one| one.is_default);
        let defaults = defaults.filter(|one| one.outcome == Outcome::Complete);
        let standing = match defaults.and_then(|one| one.val_accuracy) {
            _ if best.is_default => "no trial was better than the defaults".into(),
            Some(usual) => {
                let more = ((accuracy - usual) * self.val_photos as f64).round() as usize;
                let chance = if (low..=high).contains(&usual) {
                    ", which may be chance"
                } else {
                    ""
                };
                let more = plural(more, "photo");
                format!("that is {more} more than the defaults have right{chance}")
            }
            None => "the defaults failed".into(),
        };
        let mut sentences = vec![format!(
            "The best is trial {}: {} of {} validation photos (95% interval {} to {}); {standing}.",
            best.trial,
            percent(accuracy),
            self.val_photos,
            percent(low),
            percent(high),
        )];
        if self.complete() > 1 && !best.is_default {
            sentences.push(format!(
                "It is the best of {} complete trials by these photos, so it is a little less accurate \
                 on others.",
                self.complete()
            ));
        }
        if let Some(test) = &self.test {
            sentences.push(format!(
                "On the {} test photos, which chose nothing: {} (95% interval {} to {}).",
                test.photos,
                percent(test.accuracy),
                percent(test.interval[0]),
                percent(test.interval[1]),
            ));
        }
        sentences
    }

    /// Names of the searched options.
    pub(crate) fn options(&self) -> impl Iterator<Item = &str> {
        self.space.iter().map(|one| &*one.option)
    }

    /// Writes a line for each trial, below a header.
    ///
    /// # Errors
    /// When it can't be written.
    pub(crate) fn csv(&self, sink: impl Write) -> std::io::Result<()> {
        let mut writer = csv::Writer::from_writer(sink);
        let heads = ["trial", "outcome", "is_best", "is_default"];
        let figures = ["epochs", "val_accuracy", "val_loss", "seconds", "run"];
        let heads = heads.into_iter().chain(self.options()).chain(figures);
        writer.write_record(heads).map_err(std::io::Error::other)?;
        for one in &self.trials {
            let number = |value: Option<f64>| value.map(|x| x.to_string()).unwrap_or_default();
            let outcome = match one.outcome {
                Outcome::Complete => "complete",
                Outcome::Stopped => "stopped",
                Outcome::Failed => "failed",
            };
            let mut row = vec![
                one.trial.to_string(),
                outcome.into(),
                one.is_best.to_string(),
                one.is_default.to_string(),
            ];
            row.extend(self.options().map(|option| plain(&one.values[option])));
            row.extend([
                one.epochs.to_string(),
                number(one.val_accuracy),
                number(one.val_loss),
                one.seconds.to_string(),
                one.run.clone(),
            ]);
            writer.write_record(row).map_err(std::io::Error::other)?;
        }
        writer.flush()
    }

    /// The file for programs.
    ///
    /// # Errors
    /// When a number is not finite.
    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

/// A value without quotes; empty where there is none.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl TrialResult {
    fn of(search: &Search, trial: &Trial, best: usize, val_photos: usize) -> Result<Self> {
        let record = &trial.record;
        let outcome = match record.failure {
            Some(_) => Outcome::Failed,
            None if search.is_complete(trial) => Outcome::Complete,
            None => Outcome::Stopped,
        };
        let row = match outcome {
            Outcome::Complete => trial.best().cloned(),
            _ => trial.model_after(record.history.len()),
        };
        let row = row.as_ref();
        let interval = |share: f64| {
            let hits = (share * val_photos as f64).round() as usize;
            wilson_interval(hits.min(val_photos), val_photos)
        };
        let finite = |value: f64| value.is_finite().then_some(value);
        Ok(Self {
            trial: trial.number,
            is_default: trial.is_default(),
            is_best: trial.number == best,
            outcome,
            values: values(&search.space, &trial.config)?,
            epochs: record.history.len(),
            val_accuracy: row.and_then(|row| finite(row.val_accuracy)),
            val_accuracy_interval: row.and_then(|row| finite(row.val_accuracy).map(interval)),
            val_loss: row.and_then(|row| finite(row.val_loss)),
            seconds: trial.seconds(),
            failure: record.failure.clone(),
            run: trial.run(),
        })
    }
}

/// What a configuration has for the searched options.
pub(crate) fn values(space: &[Dimension], config: &Config) -> Result<Map<String, Value>> {
    let all: Map<String, Value> = serde_json::from_value(serde_json::to_value(config)?)?;
    let value = |option: &str| match all.get(option) {
        Some(_) if option == "lr" && config.find_lr => Value::from("auto"),
        None if OFF_AT_ZERO.contains(&option) => Value::from(0.0),
        found => found.cloned().unwrap_or(Value::Null),
    };
    let each = space.iter();
    Ok(each
        .map(|one| (one.option.clone(), value(&one.option)))
        .collect())
}
