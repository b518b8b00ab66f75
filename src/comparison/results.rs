//! What a comparison finds, as JSON and as CSV.

use std::io::Write;

use serde::Serialize;

use super::choice::{Advice, Choice, Limits, ModelName, advice};
use crate::error::Result;
use crate::metrics::{Paired, Predictions};

/// Candidates measured on the same photos and the same machine.
#[derive(Serialize)]
pub(crate) struct Comparison {
    pub data: String,
    pub measured_on: &'static str,
    pub photos: usize,
    pub recipe: &'static str,
    pub seed: u64,
    pub processor: String,
    pub device: String,
    pub threads: usize,
    /// Pictures in a batch for `images_per_second`.
    pub batch: usize,
    pub best: ModelName,
    pub advice: Vec<Advice>,
    /// What is to be known before the figures are believed.
    pub notes: Vec<String>,
    pub candidates: Vec<CandidateResult>,
}

/// A trained architecture.
#[derive(Serialize)]
pub(crate) struct CandidateResult {
    pub architecture: &'static str,
    /// Its run.
    pub run: String,
    pub image_size: usize,
    /// What training started from: `imagenet` or `none`.
    pub weights: String,
    pub parameters: u64,
    pub macs: u64,
    pub epochs: usize,
    /// Of the epochs, without set-up and test.
    pub training_seconds: f64,
    pub models: Vec<ModelResult>,
}

/// A candidate in one precision.
#[derive(Serialize)]
pub(crate) struct ModelResult {
    pub precision: String,
    pub file: String,
    pub bytes: u64,
    /// 0 to 1, as are the ends of its 95% interval.
    pub accuracy: f64,
    pub accuracy_interval: [f64; 2],
    /// Whether it is the best: the most accurate, of equals the fastest.
    pub is_best: bool,
    /// From the best model to this one, photo by photo.
    pub to_best: Paired,
    /// Median time of a pass over one picture.
    pub latency_ms: f64,
    /// Between which half of the passes were.
    pub latency_quartiles_ms: [f64; 2],
    pub images_per_second: f64,
    /// Of a process that predicts one picture at a time; unknown outside Linux.
    pub peak_memory_bytes: Option<u64>,
    /// Whether no other model is at least as accurate and as fast, and better in one of both.
    pub pareto: bool,
    #[serde(skip)]
    pub predictions: Predictions,
}

impl Comparison {
    /// Every model with its candidate, in the order of the table.
    pub(crate) fn models(&self) -> impl Iterator<Item = (&CandidateResult, &ModelResult)> {
        let candidates = self.candidates.iter();
        candidates
            .flat_map(|candidate| candidate.models.iter().map(move |model| (candidate, model)))
    }

    /// Writes a line for each model, below a header.
    pub(crate) fn csv(&self, sink: impl Write) -> std::io::Result<()> {
        let mut writer = csv::Writer::from_writer(sink);
        for (candidate, model) in self.models() {
            let row = Row::of(candidate, model);
            writer.serialize(row).map_err(std::io::Error::other)?;
        }
        writer.flush()
    }

    /// Fills in the advice.
    ///
    /// # Errors
    /// When the models were not measured on the same photos.
    pub(crate) fn advise(&mut self, limits: Limits) -> Result<()> {
        let models = self.models();
        let choices: Vec<Choice<'_>> = models.map(|(c, model)| model.choice(c)).collect();
        self.advice = advice(&choices, limits)?;
        Ok(())
    }

    /// The file for programs.
    ///
    /// # Errors
    /// When a number is not finite.
    pub(crate) fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

impl CandidateResult {
    pub(crate) fn name(&self, model: &ModelResult) -> ModelName {
        ModelName {
            architecture: self.architecture,
            precision: model.precision.clone(),
        }
    }
}

impl ModelResult {
    /// The model as something to choose.
    pub(super) fn choice(&self, candidate: &CandidateResult) -> Choice<'_> {
        Choice {
            name: candidate.name(self),
            accuracy: self.accuracy,
            latency_ms: self.latency_ms,
            megabytes: self.bytes as f64 / 1e6,
            predictions: &self.predictions,
        }
    }
}

/// A line of the CSV file.
#[derive(Serialize)]
struct Row<'a> {
    architecture: &'a str,
    precision: &'a str,
    image_size: usize,
    weights: &'a str,
    parameters: u64,
    macs: u64,
    epochs: usize,
    training_seconds: f64,
    accuracy: f64,
    accuracy_low: f64,
    accuracy_high: f64,
    difference_to_best: f64,
    difference_low: f64,
    difference_high: f64,
    latency_ms: f64,
    images_per_second: f64,
    bytes: u64,
    peak_memory_bytes: Option<u64>,
    pareto: bool,
    file: &'a str,
}

impl<'a> Row<'a> {
    fn of(candidate: &'a CandidateResult, model: &'a ModelResult) -> Self {
        let [accuracy_low, accuracy_high] = model.accuracy_interval;
        let [difference_low, difference_high] = model.to_best.interval;
        Self {
            architecture: candidate.architecture,
            precision: &model.precision,
            image_size: candidate.image_size,
            weights: &candidate.weights,
            parameters: candidate.parameters,
            macs: candidate.macs,
            epochs: candidate.epochs,
            training_seconds: candidate.training_seconds,
            accuracy: model.accuracy,
            accuracy_low,
            accuracy_high,
            difference_to_best: model.to_best.difference,
            difference_low,
            difference_high,
            latency_ms: model.latency_ms,
            images_per_second: model.images_per_second,
            bytes: model.bytes,
            peak_memory_bytes: model.peak_memory_bytes,
            pareto: model.pareto,
            file: &model.file,
        }
    }
}
