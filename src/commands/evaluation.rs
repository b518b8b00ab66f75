//! A measurement as `train` and `eval` print it.

use crate::evaluation::Measured;

/// The measurement as a person reads it.
pub(super) fn text(measured: &Measured) -> String {
    let e = &measured.evaluation;
    let [low, high] = e.accuracy_interval;
    // Of three classes, the right one is always among the first three.
    let top3 = match e.labels.len() {
        ..=3 => String::new(),
        _ => format!("top-3 {:.4}, ", e.top3_accuracy),
    };
    let caveat = measured.caveat().map(|line| format!("\nWARNING: {line}"));
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
