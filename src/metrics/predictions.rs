//! What a model said of every image, kept as the few facts that the metrics need.

use super::scores::log_softmax;
use crate::error::{Error, Result, shown};
use crate::labels::Labels;

/// What a model said of one image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// The class that the image is labelled with.
    pub truth: usize,
    /// The class with the highest logit, the lower id among equals.
    pub predicted: usize,
    /// Probability of `predicted`, in 0..=1.
    pub confidence: f64,
    /// How many classes stand before the true one: 0 is a correct prediction. Equal logits are
    /// ordered by class id.
    pub rank: usize,
    /// Natural logarithm of the probability of the true class.
    pub log_likelihood: f64,
}

/// An image that was taken for something else.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mistake {
    /// The image's index among the predictions.
    pub index: usize,
    pub actual: usize,
    pub predicted: usize,
    /// Probability of `predicted`, in 0..=1.
    pub confidence: f64,
}

/// The outcomes of a data set part, in its order.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    labels: Labels,
    outcomes: Vec<Outcome>,
}

impl Predictions {
    pub fn new(labels: Labels) -> Self {
        Self {
            labels,
            outcomes: Vec::new(),
        }
    }

    /// Those of a data set part that was predicted in pieces.
    pub(crate) fn of_outcomes(labels: Labels, outcomes: Vec<Outcome>) -> Self {
        Self { labels, outcomes }
    }

    /// Takes all outcomes at once: `truth` holds n class ids, `logits` is row-major (n, classes).
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn from_logits(labels: Labels, truth: &[usize], logits: &[f32]) -> Result<Self> {
        let classes = labels.len();
        if logits.len() != truth.len() * classes {
            let message = format!(
                "{} logits do not fit {} images of {classes} classes",
                logits.len(),
                truth.len()
            );
            return Err(Error::Data(message).into());
        }
        let mut predictions = Self::new(labels);
        for (&truth, row) in truth.iter().zip(logits.chunks(classes.max(1))) {
            predictions.push(truth, row)?;
        }
        Ok(predictions)
    }

    /// Adds an image: the id of its class, and one logit (or log-probability) a class.
    ///
    /// # Errors
    /// [`Error::Data`] when the model's output has another number of classes or holds a value
    /// that is not finite, or the class is unknown.
    pub fn push(&mut self, truth: usize, logits: &[f32]) -> Result<()> {
        let (number, classes) = (self.outcomes.len() + 1, self.labels.len());
        if logits.len() != classes {
            let message = format!(
                "the model gives {} scores for the {classes} classes of the data set",
                logits.len()
            );
            return Err(Error::Data(message).into());
        }
        if truth >= classes {
            let message = format!("image {number} has class id {truth}, of {classes} classes");
            return Err(Error::Data(message).into());
        }
        if let Some(id) = logits.iter().position(|x| !x.is_finite()) {
            let class = self.labels.name(id).map(shown).unwrap_or_default();
            let message = format!(
                "the model's score of image {number} for class {class} is {}: its weights are \
                 broken; train it again, perhaps with a lower learning rate",
                logits[id]
            );
            return Err(Error::Data(message).into());
        }
        self.outcomes.push(Outcome::of(truth, logits));
        Ok(())
    }

    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    pub fn outcomes(&self) -> &[Outcome] {
        &self.outcomes
    }

    /// The wrong predictions, the surest first, at most `limit`.
    pub fn worst_mistakes(&self, limit: usize) -> Vec<Mistake> {
        let wrong = self.outcomes.iter().enumerate().filter(|(_, o)| o.rank > 0);
        let mut mistakes: Vec<Mistake> = wrong
            .map(|(index, outcome)| Mistake {
                index,
                actual: outcome.truth,
                predicted: outcome.predicted,
                confidence: outcome.confidence,
            })
            .collect();
        mistakes.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
        mistakes.truncate(limit);
        mistakes
    }
}

impl Outcome {
    /// `logits` are finite, one a class, and `truth` is the id of one.
    fn of(truth: usize, logits: &[f32]) -> Self {
        let logs = log_softmax(logits);
        let before =
            |a: usize, b: usize| logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
        let ids = 0..logits.len();
        let predicted = ids
            .clone()
            .fold(0, |best, id| if before(id, best) { id } else { best });
        Self {
            truth,
            predicted,
            confidence: logs[predicted].exp(),
            rank: ids.filter(|&id| before(id, truth)).count(),
            log_likelihood: logs[truth],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(n: usize) -> Labels {
        Labels::new((0..n).map(|id| format!("class{id}"))).unwrap()
    }

    #[test]
    fn equal_logits_are_ordered_by_id() {
        let predictions = Predictions::from_logits(labels(3), &[2], &[1.0; 3]).unwrap();
        let outcome = predictions.outcomes()[0];
        assert_eq!((outcome.predicted, outcome.rank), (0, 2));
        assert!((outcome.confidence - 1.0 / 3.0).abs() < 1e-12);
        assert!((outcome.log_likelihood + 3f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn the_surest_mistake_comes_first() {
        let logits = [3.0, 0.0, 9.0, 0.0, 5.0, 0.0];
        let predictions = Predictions::from_logits(labels(2), &[1, 0, 1], &logits).unwrap();
        let mistakes = predictions.worst_mistakes(8);
        let found: Vec<usize> = mistakes.iter().map(|mistake| mistake.index).collect();
        assert_eq!(found, [2, 0]);
        assert_eq!(predictions.worst_mistakes(1).len(), 1);
    }

    #[test]
    fn what_is_no_prediction_is_refused() {
        for (truth, logits) in [
            (vec![0], vec![f32::NAN, 0.0]),
            (vec![0], vec![0.0, f32::INFINITY]),
            (vec![2], vec![0.0, 0.0]),
            (vec![0], vec![0.0]),
        ] {
            let error = Predictions::from_logits(labels(2), &truth, &logits).unwrap_err();
            assert_eq!(crate::error::exit_code(&error), 3, "{error}");
        }
    }
}
