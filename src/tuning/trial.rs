//! A trial: the run that trains some values of the searched options, and how far it has got.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::Table;

use super::asha::{Progress, Score};
use super::space::settings;
use crate::error::{Error, NonFinite, OutOfMemory, Result};
use crate::metrics::{Epoch, history};
use crate::training::{Config, Settings, State};

/// The first trial.
pub(super) const DEFAULTS: usize = 0;

/// What is written down of a trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Of the searched options; none for the defaults.
    pub values: Table,
    /// The rung that it was sent to.
    pub sent: usize,
    /// Completed epochs.
    pub history: Vec<Epoch>,
    /// What each of them took.
    pub seconds: Vec<f64>,
    /// Whether its last phase is complete.
    pub ended: bool,
    pub failure: Option<String>,
}

/// A trial of a search.
pub(crate) struct Trial {
    /// Counted from 0, the defaults.
    pub number: usize,
    pub config: Config,
    /// Of its run.
    pub folder: PathBuf,
    pub(super) record: Record,
}

impl Record {
    pub(super) fn new(values: Table, sent: usize) -> Self {
        Self {
            values,
            sent,
            history: Vec::new(),
            seconds: Vec::new(),
            ended: false,
            failure: None,
        }
    }
}

impl Trial {
    /// The trial of a record, in the folder of a search.
    ///
    /// # Errors
    /// [`Error::Usage`] for values that do not go together.
    pub(super) fn of(number: usize, record: Record, shared: &Settings, out: &Path) -> Result<Self> {
        Ok(Self {
            number,
            config: configured(&record.values, shared)?,
            folder: out.join(run(number)),
            record,
        })
    }

    /// Its run, relative to the folder of the search.
    pub(super) fn run(&self) -> String {
        run(self.number)
    }

    pub(super) fn is_default(&self) -> bool {
        self.number == DEFAULTS
    }

    /// Whether it was trained to the last of so many epochs, or stopped early by itself.
    pub(super) fn is_complete(&self, epochs: usize) -> bool {
        let is_trained = self.record.ended || self.record.history.len() >= epochs;
        is_trained && self.record.failure.is_none() && self.best().is_some()
    }

    /// On the validation photos, of its model.
    pub(crate) fn accuracy(&self) -> Option<f64> {
        self.best().map(|best| best.val_accuracy)
    }

    /// The epoch whose weights are its model.
    pub(crate) fn best(&self) -> Option<&Epoch> {
        history::best(&self.record.history)
    }

    pub(super) fn seconds(&self) -> f64 {
        self.record.seconds.iter().sum()
    }

    /// Takes in where its run has got.
    pub(super) fn advance(&mut self, state: &State) {
        self.record.seconds = state.profiles.iter().map(|profile| profile.total).collect();
        self.record.history = state.history.clone();
        self.record.ended = state.phase >= self.config.phases().len();
    }

    /// The epoch that its model would be of if it had ended after so many epochs, or after those that it
    /// has: what it is worth there.
    pub(super) fn model_after(&self, epochs: usize) -> Option<Epoch> {
        let all = &self.record.history;
        let mut part = all[..epochs.min(all.len())].to_vec();
        part.last_mut()?.candidate = true;
        history::best(&part).cloned()
    }

    /// How far it has got, with these epochs at the rungs. At each it is as accurate as its model would be
    /// if it had ended there; among equals, the last epoch tells. One that stopped early stays as it was.
    pub(super) fn progress(&self, rungs: &[usize]) -> Progress {
        let Record {
            sent,
            history,
            ended,
            failure,
            ..
        } = &self.record;
        let at = |&epochs: &usize| {
            let stopped = history.last().filter(|_| *ended);
            let last = history.get(epochs - 1).or(stopped);
            let score = last
                .zip(self.model_after(epochs))
                .map(|(last, model)| Score {
                    accuracy: model.val_accuracy,
                    loss: last.val_loss,
                });
            score.or(failure.as_ref().map(|_| Score::FAILED))
        };
        Progress {
            sent: *sent,
            scores: rungs[..=*sent].iter().map_while(at).collect(),
        }
    }
}

pub(super) const TRIALS: &str = "trials";

fn run(number: usize) -> String {
    format!("{TRIALS}/{number:03}")
}

/// The configuration of a trial.
///
/// # Errors
/// [`Error::Usage`] for values that do not go together.
pub(super) fn configured(values: &Table, shared: &Settings) -> Result<Config> {
    settings(values)?.over(shared.clone()).resolve()
}

/// Why a trial can't be trained, if the error is one of its options: it diverged, or needs more memory
/// than there is. The search goes on then; other errors end it.
pub(super) fn failure(error: &anyhow::Error) -> Option<String> {
    let first = |text: String| text.split(';').next().unwrap_or_default().to_owned();
    if let Some(memory) = error.downcast_ref::<OutOfMemory>() {
        return Some(memory.to_string());
    }
    if error.is::<NonFinite>() {
        return Some("training diverged".into());
    }
    match error.downcast_ref() {
        Some(Error::Gate(why)) => Some(first(why.clone())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(accuracies: &[f64], sent: usize) -> Trial {
        let row = |(at, &val_accuracy): (usize, &f64)| Epoch {
            epoch: at + 1,
            phase: "train".into(),
            learning_rate: 0.1,
            train_loss: 1.0,
            train_accuracy: 0.5,
            val_loss: 1.0,
            val_accuracy,
            images_per_second: 1.0,
            waiting: 0.0,
            seconds: 1.0,
            candidate: true,
        };
        let mut record = Record::new(Table::new(), sent);
        record.history = accuracies.iter().enumerate().map(row).collect();
        Trial::of(3, record, &Settings::default(), Path::new("out")).unwrap()
    }

    fn accuracies(trial: &Trial) -> Vec<f64> {
        let scores = trial.progress(&[1, 3, 9]).scores;
        scores.iter().map(|score| score.accuracy).collect()
    }

    #[test]
    fn a_trial_is_judged_at_the_rungs() {
        let mut trial = trial(&[0.1, 0.9, 0.3, 0.4], 1);
        assert_eq!(trial.folder, Path::new("out/trials/003"));
        assert_eq!(accuracies(&trial), [0.1, 0.9]);
        trial.record.sent = 2;
        assert_eq!(accuracies(&trial), [0.1, 0.9]);
        assert!(!trial.is_complete(9));
        trial.record.failure = Some("training diverged".into());
        assert_eq!(accuracies(&trial), [0.1, 0.9, -1.0]);
        trial.record.failure = None;
        trial.record.ended = true;
        assert_eq!(accuracies(&trial), [0.1, 0.9, 0.9]);
        // Its model is that of the best epoch.
        assert!(trial.is_complete(9) && trial.best().unwrap().epoch == 2);
    }

    #[test]
    fn an_epoch_on_the_way_counts_only_while_it_is_the_last() {
        let mut trial = trial(&[0.5, 0.9, 0.6, 0.4], 1);
        for row in &mut trial.record.history[1..3] {
            row.candidate = false;
        }
        assert_eq!(accuracies(&trial), [0.5, 0.6]);
        let models = [1, 2, 4, 9].map(|epochs| trial.model_after(epochs).unwrap().epoch);
        assert_eq!(models, [1, 2, 1, 1]);
    }

    #[test]
    fn only_failures_of_the_options_are_failures_of_the_trial() {
        let gate = Error::Gate("training diverged: the loss became NaN; train again".into());
        let why = failure(&anyhow::Error::new(gate).context("trial 3"));
        assert_eq!(
            why.as_deref(),
            Some("training diverged: the loss became NaN")
        );
        let memory = OutOfMemory::OfGpu
            .error("use less".into())
            .context("trial 3");
        assert_eq!(failure(&memory).as_deref(), Some("out of GPU memory"));
        for other in [
            Error::Interrupted("stopped".into()),
            Error::Environment("the disk is full".into()),
            Error::Data("a photo is gone".into()),
        ] {
            assert_eq!(failure(&other.into()), None);
        }
    }
}
