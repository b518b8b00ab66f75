//! Quality gates: the least that a model must reach.

use std::collections::BTreeSet;

use super::evaluation::Evaluation;
use crate::error::{Error, Result, shown};
use crate::labels::Labels;

/// What is asked of an evaluation. Thresholds lie in 0..=1; an absent one asks nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Gates {
    pub min_accuracy: Option<f64>,
    pub min_macro_f1: Option<f64>,
    /// An earlier evaluation, of which accuracy and macro F1 are compared.
    pub baseline: Option<Evaluation>,
    /// How far below the baseline accuracy and macro F1 may fall.
    pub max_regression: f64,
}

/// One gate, judged.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct GateResult {
    pub name: &'static str,
    /// The least that passes.
    pub required: f64,
    pub actual: f64,
    pub passed: bool,
}

impl Gates {
    /// Checks what is asked before any work is done.
    ///
    /// # Errors
    /// [`Error::Usage`] for a threshold outside of 0..=1, [`Error::Data`] for a baseline with
    /// other classes than `labels` (their order doesn't matter).
    pub fn check(&self, labels: &Labels) -> Result<()> {
        let thresholds = [
            ("--min-accuracy", self.min_accuracy),
            ("--min-macro-f1", self.min_macro_f1),
            ("--max-regression", Some(self.max_regression)),
        ];
        for (option, value) in thresholds {
            if let Some(value) = value.filter(|value| !(0.0..=1.0).contains(value)) {
                let message = format!("{option} {value}: expected a number from 0 to 1");
                return Err(Error::Usage(message).into());
            }
        }
        match &self.baseline {
            Some(baseline) => same_classes(labels, &baseline.labels),
            None => Ok(()),
        }
    }

    /// One result a gate asked for; a value equal to the threshold passes.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn judge(&self, evaluation: &Evaluation) -> Result<Vec<GateResult>> {
        self.check(&evaluation.labels)?;
        let floor = |metric: fn(&Evaluation) -> f64| {
            self.baseline
                .as_ref()
                .map(|baseline| metric(baseline) - self.max_regression)
        };
        let accuracy = |evaluation: &Evaluation| evaluation.accuracy;
        let macro_f1 = |evaluation: &Evaluation| evaluation.macro_f1;
        let gates = [
            ("accuracy", self.min_accuracy, evaluation.accuracy),
            ("macro_f1", self.min_macro_f1, evaluation.macro_f1),
            ("accuracy_regression", floor(accuracy), evaluation.accuracy),
            ("macro_f1_regression", floor(macro_f1), evaluation.macro_f1),
        ];
        let judged = gates.into_iter().filter_map(|(name, required, actual)| {
            let required = required?;
            Some(GateResult {
                name,
                required,
                actual,
                // 0.9 - 0.01 in binary must not ask more than 0.89.
                passed: actual + 1e-9 >= required,
            })
        });
        Ok(judged.collect())
    }
}

fn same_classes(labels: &Labels, baseline: &Labels) -> Result<()> {
    let ours: BTreeSet<&String> = labels.names().iter().collect();
    let theirs: BTreeSet<&String> = baseline.names().iter().collect();
    if ours == theirs {
        return Ok(());
    }
    let list = |from: &BTreeSet<&String>, without: &BTreeSet<&String>| {
        let names: Vec<String> = from.difference(without).take(5).map(shown).collect();
        match names.is_empty() {
            true => "none".into(),
            false => names.join(", "),
        }
    };
    let message = format!(
        "the baseline has different classes (only in the baseline: {}; only in the model: {}): give \
         an evaluation of the same classes",
        list(&theirs, &ours),
        list(&ours, &theirs)
    );
    Err(Error::Data(message).into())
}
