//! A comparison as a table and sentences.

use std::path::Path;
use std::time::Duration;

use crate::commands::facts;
use crate::commands::table::table;
use crate::comparison::{CandidateResult, Comparison, ModelResult, milliseconds};
use crate::error::shown;
use crate::values::plural;

/// The heads of the table.
pub(super) const HEADS: [&str; 14] = [
    "network",
    "pixels",
    "params",
    "MACs",
    "training",
    "precision",
    "accuracy",
    "95% interval",
    "to best",
    "95% interval",
    "ms",
    "images/s",
    "MB",
    "peak MB",
];

/// The mark of a model on the Pareto front.
const FRONT: &str = "*";

/// What is printed.
pub(super) fn text(comparison: &Comparison, out: &Path) -> String {
    let mut rows = vec![
        [&HEADS[..], &[""]]
            .concat()
            .into_iter()
            .map(String::from)
            .collect(),
    ];
    let mut last = "";
    for (candidate, model) in comparison.models() {
        let mut cells = cells(candidate, model);
        // What holds for all precisions is said once.
        if candidate.architecture == last {
            cells[..5].fill(String::new());
        }
        last = candidate.architecture;
        let mark = if model.pareto { FRONT } else { "" };
        rows.push(cells.into_iter().chain([mark.into()]).collect());
    }
    let mut lines = vec![table(&rows), legend(comparison) + "\n"];
    lines.extend(
        comparison
            .advice
            .iter()
            .map(|advice| advice.sentence.clone()),
    );
    lines.extend(comparison.notes.iter().map(|note| format!("note: {note}")));
    lines.push(format!("\nreport  {}", shown(out.join("compare.html"))));
    lines.join("\n")
}

fn legend(comparison: &Comparison) -> String {
    let processor = match &*comparison.device {
        "cpu" => &*comparison.processor,
        device => device,
    };
    format!(
        "accuracy in % on {} photos ({}), differences in points; ms for one picture, images/s in batches \
         of {}, on {processor} with {};\nMB of the file, peak MB of a process that only predicts; \
         {FRONT} on the Pareto front of accuracy and ms",
        comparison.photos,
        comparison.measured_on,
        comparison.batch,
        plural(comparison.threads, "thread"),
    )
}

/// The cells of a model below [`HEADS`].
pub(super) fn cells(candidate: &CandidateResult, model: &ModelResult) -> Vec<String> {
    let [low, high] = model.accuracy_interval.map(|share| 100.0 * share);
    let seconds = Duration::try_from_secs_f64(candidate.training_seconds);
    let (to_best, interval) = match model.is_best {
        true => ("best".into(), String::new()),
        false => {
            let [low, high] = model.to_best.interval.map(|share| 100.0 * share);
            let difference = format!("{:+.1}", 100.0 * model.to_best.difference);
            (difference, format!("{low:+.1} to {high:+.1}"))
        }
    };
    vec![
        candidate.architecture.into(),
        candidate.image_size.to_string(),
        format!("{:.1}M", candidate.parameters as f64 / 1e6),
        format!("{:.2}G", candidate.macs as f64 / 1e9),
        facts::duration("", seconds.unwrap_or_default()).value,
        model.precision.clone(),
        format!("{:.1}", 100.0 * model.accuracy),
        format!("{low:.1} to {high:.1}"),
        to_best,
        interval,
        milliseconds(model.latency_ms),
        format!("{:.1}", model.images_per_second),
        megabytes(Some(model.bytes), 1),
        megabytes(model.peak_memory_bytes, 0),
    ]
}

fn megabytes(bytes: Option<u64>, decimals: usize) -> String {
    let text = |bytes: u64| format!("{:.decimals$}", bytes as f64 / 1e6);
    bytes.map(text).unwrap_or_default()
}
