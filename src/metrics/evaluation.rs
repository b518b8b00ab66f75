//! An evaluation: every metric of one model on one data set part, and its JSON form.

use serde::{Deserialize, Serialize};

use super::accuracy::{cross_entropy, top_k_accuracy, wilson_interval};
use super::calibration::{bins, expected_calibration_error};
use super::confusion::confusion_matrix;
use super::per_class::{ClassMetrics, macro_mean, per_class, weighted_mean};
use super::predictions::Predictions;
use crate::error::{Error, Result};
use crate::labels::Labels;

/// The metrics of a model, in the order in which `metrics.json` and `--json` hold them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Share of right predictions, in 0..=1.
    pub accuracy: f64,
    /// The 95% Wilson interval of `accuracy`: low, high.
    pub accuracy_interval: [f64; 2],
    /// Share of the images whose class is among the three most probable ones.
    pub top3_accuracy: f64,
    /// Mean cross-entropy in nats.
    pub loss: f64,
    /// Mean of the classes' F1.
    pub macro_f1: f64,
    /// Mean of the classes' F1, weighted by support.
    pub weighted_f1: f64,
    /// Expected calibration error: 15 equal-width bins over top-1 confidence.
    pub ece: f64,
    /// Number of images.
    pub n: u64,
    /// How many of them the model learned from: 0 in a test. `None` where that is not known.
    #[serde(default)]
    pub trained_on: Option<u64>,
    pub per_class: Vec<ClassMetrics>,
    /// Rows actual, columns predicted.
    pub confusion: Vec<Vec<u64>>,
    pub labels: Labels,
}

impl Evaluation {
    /// # Errors
    /// [`Error::Data`] when there is no prediction.
    pub fn of(predictions: &Predictions) -> Result<Self> {
        let (labels, outcomes) = (predictions.labels(), predictions.outcomes());
        if outcomes.is_empty() {
            let message = "there are no photos to evaluate on: this part of the data set is empty";
            return Err(Error::Data(message.into()).into());
        }
        let hits = outcomes.iter().filter(|outcome| outcome.rank == 0).count();
        let confusion = confusion_matrix(outcomes, labels.len());
        let per_class = per_class(labels, &confusion);
        Ok(Self {
            accuracy: top_k_accuracy(outcomes, 1),
            accuracy_interval: wilson_interval(hits, outcomes.len()),
            top3_accuracy: top_k_accuracy(outcomes, 3),
            loss: cross_entropy(outcomes),
            macro_f1: macro_mean(&per_class, |class| class.f1),
            weighted_f1: weighted_mean(&per_class, |class| class.f1),
            ece: expected_calibration_error(&bins(outcomes)),
            n: outcomes.len() as u64,
            trained_on: None,
            per_class,
            confusion,
            labels: labels.clone(),
        })
    }

    /// Reads a stored evaluation, as `metrics.json` holds it. Unknown fields are
    /// ignored.
    ///
    /// # Errors
    /// [`Error::Data`] when it is not an evaluation, or its parts are inconsistent. The caller
    /// adds the file's name.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let wrong = |reason: String| {
            Error::Data(format!(
                "not an evaluation as `flowers eval --json` writes it: {reason}"
            ))
        };
        let evaluation: Self = serde_json::from_slice(json).map_err(|e| wrong(e.to_string()))?;
        evaluation
            .inconsistency()
            .map_or(Ok(()), |reason| Err(wrong(reason.into())))?;
        Ok(evaluation)
    }

    fn inconsistency(&self) -> Option<&'static str> {
        let classes = self.labels.len();
        let square = self.confusion.iter().all(|row| row.len() == classes);
        let listed = self.per_class.iter().map(|class| &class.class);
        let counted = self.confusion.iter().flatten();
        let n = counted.fold(0u64, |n, &count| n.saturating_add(count));
        let ratios = [self.accuracy, self.macro_f1, self.weighted_f1, self.ece];
        if self.n == 0 || n != self.n {
            Some("`confusion` does not add up to `n`")
        } else if self.confusion.len() != classes || !square {
            Some("`confusion` does not have a row and a column per label")
        } else if !listed.eq(self.labels.names()) {
            Some("`per_class` does not list the classes of `labels`")
        } else if !ratios.iter().all(|ratio| (0.0..=1.0).contains(ratio)) {
            Some("a metric is not between 0 and 1")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluation() -> Evaluation {
        let labels = Labels::new(["a", "b"]).unwrap();
        let logits = [2.0, 0.0, 0.0, 1.0, 1.0, 0.0];
        let predictions = Predictions::from_logits(labels, &[0, 1, 1], &logits).unwrap();
        Evaluation::of(&predictions).unwrap()
    }

    #[test]
    fn the_json_object_has_exactly_the_promised_keys() {
        let json = serde_json::to_value(evaluation()).unwrap();
        let keys: Vec<&str> = json
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let promised = "accuracy accuracy_interval top3_accuracy loss macro_f1 weighted_f1 ece n \
                        trained_on per_class confusion labels";
        assert_eq!(keys.join(" "), promised);
        let class: Vec<_> = json["per_class"][0].as_object().unwrap().keys().collect();
        assert_eq!(class, ["class", "precision", "recall", "f1", "support"]);
        assert_eq!(json["confusion"], serde_json::json!([[1, 0], [1, 1]]));
    }

    #[test]
    fn a_stored_evaluation_comes_back() {
        let json = serde_json::to_vec(&evaluation()).unwrap();
        assert_eq!(Evaluation::from_json(&json).unwrap(), evaluation());
    }

    #[test]
    fn a_stored_evaluation_must_be_whole() {
        let breaks: [fn(&mut Evaluation); 4] = [
            |evaluation| evaluation.n = 7,
            |evaluation| evaluation.per_class.truncate(1),
            |evaluation| evaluation.macro_f1 = 1.5,
            |evaluation| evaluation.confusion = vec![vec![3]],
        ];
        for damage in breaks {
            let mut damaged = evaluation();
            damage(&mut damaged);
            let json = serde_json::to_vec(&damaged).unwrap();
            let error = Evaluation::from_json(&json).unwrap_err();
            assert_eq!(crate::error::exit_code(&error), 3);
        }
        assert!(Evaluation::from_json(b"{}").is_err());
        assert!(Evaluation::from_json(b"\xff").is_err());
    }

    #[test]
    fn no_image_is_no_evaluation() {
        let predictions = Predictions::new(Labels::new(["a", "b"]).unwrap());
        assert!(Evaluation::of(&predictions).is_err());
    }
}
