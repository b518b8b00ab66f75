//! A search as a table and sentences.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::commands::facts;
use crate::commands::table::table;
use crate::error::{Result, shown};
use crate::training::Config;
use crate::tuning::{self, Dimension, Outcome, TrialResult, Tuning};

/// What is printed.
pub(super) fn text(tuning: &Tuning, out: &Path) -> String {
    let mut rows = vec![heads(tuning)];
    rows.extend(tuning.trials.iter().map(|trial| cells(tuning, trial)));
    let mut lines = vec![table(&rows)];
    lines.push(format!(
        "accuracy in % on {} validation photos: of a trial's model, or of what it would be had it ended where it \
         was stopped\n",
        tuning.val_photos
    ));
    lines.extend(tuning.notes.clone());
    let best = tuning.trials.iter().find(|one| one.is_best);
    let run = best.map_or(String::new(), |best| shown(out.join(&best.run)));
    lines.push(format!(
        "\nconfig  {}\nrun     {run}\nreport  {}",
        shown(out.join("best.toml")),
        shown(out.join("tune.html"))
    ));
    lines.join("\n")
}

/// The heads of the table.
pub(super) fn heads(tuning: &Tuning) -> Vec<String> {
    let options = tuning.options();
    let heads = ["trial"].into_iter().chain(options);
    let heads = heads.chain(["epochs", "accuracy", "95% interval", "time", ""]);
    heads.map(String::from).collect()
}

/// The cells of a trial below [`heads`].
pub(super) fn cells(tuning: &Tuning, trial: &TrialResult) -> Vec<String> {
    let all = tuning.rungs.last().copied().unwrap_or_default();
    let seconds = Duration::try_from_secs_f64(trial.seconds).unwrap_or_default();
    let percent = |share: f64| format!("{:.1}", 100.0 * share);
    let interval = trial.val_accuracy_interval;
    let interval = interval.map(|[low, high]| format!("{} to {}", percent(low), percent(high)));
    let mut cells = vec![trial.trial.to_string()];
    cells.extend(tuning.options().map(|option| value(&trial.values[option])));
    cells.extend([
        format!("{}/{all}", trial.epochs),
        trial.val_accuracy.map(percent).unwrap_or_default(),
        interval.unwrap_or_default(),
        facts::duration("", seconds).value,
        remarks(trial).join(", "),
    ]);
    cells
}

fn remarks(trial: &TrialResult) -> Vec<String> {
    let mut remarks = Vec::new();
    if trial.is_best {
        remarks.push("best".into());
    }
    if trial.is_default {
        remarks.push("defaults".into());
    }
    match (trial.outcome, &trial.failure) {
        (Outcome::Failed, why) => remarks.extend(why.clone()),
        (Outcome::Stopped, _) => remarks.push("stopped".into()),
        (Outcome::Complete, _) => {}
    }
    remarks
}

/// Values of the searched options, as `lr 3e-4, dropout 0.2`.
pub(super) fn values(space: &[Dimension], config: &Config) -> Result<String> {
    let values = tuning::values(space, config)?;
    let each = values
        .iter()
        .map(|(option, found)| format!("{option} {}", value(found)));
    Ok(each.collect::<Vec<_>>().join(", "))
}

/// A value in as few characters as it takes.
pub(super) fn value(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => shown(text),
        Value::Number(number) => match number.as_f64() {
            Some(x) if number.is_f64() && x != 0.0 && x.abs() < 1e-3 => format!("{x:e}"),
            Some(x) if number.is_f64() => x.to_string(),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_short() {
        let values = [
            "3e-4", "0.001", "0.25", "0.0", "224", "\"none\"", "null", "true",
        ];
        let short = values.map(|text| value(&serde_json::from_str(text).unwrap()));
        assert_eq!(
            short,
            ["3e-4", "0.001", "0.25", "0", "224", "none", "-", "true"]
        );
    }
}
