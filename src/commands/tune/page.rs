//! A search as the page of the report shows it.

use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::text;
use crate::commands::facts::{self, fact};
use crate::error::shown;
use crate::report::{Axis, AxisValues, TrialLine, TuningPage, TuningRow};
use crate::tuning::{Dimension, Domain, Outcome, TrialResult, Tuning};
use crate::values::plural;

/// The least range of accuracies that their axis spans.
const NARROWEST: f64 = 0.04;

pub(super) fn page(tuning: &Tuning, config: &str) -> TuningPage {
    let name = Path::new(&tuning.data).file_name();
    let name = name.map_or_else(|| tuning.data.clone(), shown);
    let trials = plural(tuning.trials.len(), "trial");
    let row = |trial: &TrialResult| TuningRow {
        cells: text::cells(tuning, trial),
        is_best: trial.is_best,
        report: trial.is_best.then(|| format!("{}/report.html", trial.run)),
    };
    let (axes, lines) = plot(tuning);
    TuningPage {
        title: format!("{trials} of {} on {name}", tuning.architecture),
        facts: vec![
            fact("Data", tuning.data.clone()),
            fact("Recipe", format!("{}, seed {}", tuning.recipe, tuning.seed)),
            fact("Chosen on", format!("{} photos (val)", tuning.val_photos)),
            facts::duration(
                "Searched in",
                Duration::try_from_secs_f64(tuning.seconds).unwrap_or_default(),
            ),
            facts::date(SystemTime::now()),
        ],
        findings: tuning.notes.clone(),
        axes,
        lines,
        heads: text::heads(tuning),
        rows: tuning.trials.iter().map(row).collect(),
        config: config.into(),
        command: std::env::args_os().map(shown).collect(),
    }
}

/// An axis for each option and one for the accuracy, and the trials across them.
fn plot(tuning: &Tuning) -> (Vec<Axis>, Vec<TrialLine>) {
    let accuracies = tuning.trials.iter().filter_map(|trial| trial.val_accuracy);
    let (low, high) = ends(accuracies).unwrap_or((0.0, 1.0));
    // So that chance doesn't look like a difference.
    let margin = (0.05 * (high - low)).max((NARROWEST - (high - low)) / 2.0);
    let mut axes: Vec<Axis> = tuning.space.iter().map(|one| axis(one, tuning)).collect();
    axes.push(Axis {
        name: "val accuracy".into(),
        values: AxisValues::Percent {
            min: (low - margin).max(0.0),
            max: (high + margin).min(1.0),
        },
    });
    let line = |trial: &TrialResult| {
        let position = |(one, axis): (&Dimension, &Axis)| {
            let value = &trial.values[&one.option];
            match &axis.values {
                AxisValues::Words(words) => {
                    let at = words.iter().position(|word| *word == text::value(value));
                    at.map(|at| at as f64)
                }
                _ => value.as_f64(),
            }
        };
        let options = tuning.space.iter().zip(&axes).map(position);
        let accuracy = trial.val_accuracy;
        TrialLine {
            at: options.chain([accuracy]).collect(),
            shade: accuracy.map_or(0.0, |x| 1.0 - (high - x) / (high - low).max(1e-9)),
            is_best: trial.is_best,
            is_default: trial.is_default,
            is_complete: trial.outcome == Outcome::Complete,
            hint: hint(tuning, trial),
        }
    };
    let lines = tuning.trials.iter().map(line).collect();
    (axes, lines)
}

fn axis(one: &Dimension, tuning: &Tuning) -> Axis {
    let found = tuning.trials.iter().map(|trial| &trial.values[&one.option]);
    let values = match &one.domain {
        Domain::Range(range) => {
            let numbers = found.filter_map(Value::as_f64);
            // On a logarithmic axis, a default of 0 lies at the bottom.
            let numbers = numbers.filter(|&x| !range.log || x > 0.0);
            let both = numbers.chain([range.min, range.max]);
            let (min, max) = ends(both).unwrap_or((range.min, range.max));
            AxisValues::Numbers {
                min,
                max,
                log: range.log,
            }
        }
        Domain::Choices(choices) => {
            let listed = choices
                .iter()
                .filter_map(|choice| serde_json::to_value(choice).ok());
            let mut words: Vec<String> = Vec::new();
            for value in listed.chain(found.cloned()) {
                let word = text::value(&value);
                if !words.contains(&word) {
                    words.push(word);
                }
            }
            AxisValues::Words(words)
        }
    };
    Axis {
        name: one.option.clone(),
        values,
    }
}

fn ends(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |ends, value| match ends {
        None => Some((value, value)),
        Some((low, high)) => Some((low.min(value), high.max(value))),
    })
}

fn hint(tuning: &Tuning, trial: &TrialResult) -> String {
    let heads = text::heads(tuning);
    let cells = text::cells(tuning, trial);
    let both = heads
        .iter()
        .zip(&cells)
        .filter(|(_, cell)| !cell.is_empty());
    let words: Vec<String> = both
        .map(|(head, cell)| format!("{head} {cell}").trim().to_owned())
        .collect();
    words.join(", ")
}
