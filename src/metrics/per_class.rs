//! Precision, recall and F1 of each class.

use serde::{Deserialize, Serialize};

use crate::labels::Labels;

/// How well one class is told from the others. Ratios lie in 0..=1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassMetrics {
    pub class: String,
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
    /// How many images are labelled with the class.
    pub support: u64,
}

/// The metrics of every class from the confusion matrix (rows actual, columns predicted), as
/// `sklearn.metrics.precision_recall_fscore_support` with `zero_division=0`: a class never
/// predicted has precision 0, one without images recall 0.
pub fn per_class(labels: &Labels, confusion: &[Vec<u64>]) -> Vec<ClassMetrics> {
    let ratio = |part: u64, whole: u64| match whole {
        0 => 0.0,
        _ => part as f64 / whole as f64,
    };
    let metrics = labels.names().iter().zip(confusion).enumerate();
    metrics
        .map(|(id, (class, row))| {
            let support: u64 = row.iter().sum();
            let predicted: u64 = confusion.iter().map(|row| row[id]).sum();
            ClassMetrics {
                class: class.clone(),
                precision: ratio(row[id], predicted),
                recall: ratio(row[id], support),
                f1: ratio(2 * row[id], support + predicted),
                support,
            }
        })
        .collect()
}

/// The unweighted mean of a metric over the classes.
pub fn macro_mean(classes: &[ClassMetrics], metric: impl Fn(&ClassMetrics) -> f64) -> f64 {
    classes.iter().map(metric).sum::<f64>() / classes.len() as f64
}

/// The mean of a metric over the classes, weighted by their support.
pub fn weighted_mean(classes: &[ClassMetrics], metric: impl Fn(&ClassMetrics) -> f64) -> f64 {
    let support: u64 = classes.iter().map(|class| class.support).sum();
    let weighted = |class: &ClassMetrics| metric(class) * class.support as f64;
    classes.iter().map(weighted).sum::<f64>() / support as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_without_a_denominator_are_zero() {
        let labels = Labels::new(["a", "b", "c"]).unwrap();
        let classes = per_class(&labels, &[vec![3, 1, 0], vec![2, 2, 0], vec![0, 0, 0]]);
        assert_eq!(classes[0].precision, 0.6);
        assert_eq!(classes[0].recall, 0.75);
        assert!((classes[0].f1 - 6.0 / 9.0).abs() < 1e-12);
        let nothing = &classes[2];
        assert_eq!(
            (nothing.precision, nothing.recall, nothing.f1),
            (0.0, 0.0, 0.0)
        );
        assert!((macro_mean(&classes, |class| class.recall) - 1.25 / 3.0).abs() < 1e-12);
        assert!((weighted_mean(&classes, |class| class.recall) - 0.625).abs() < 1e-12);
    }
}
