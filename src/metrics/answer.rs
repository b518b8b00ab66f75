//! What a prediction looks like, on the command line and over HTTP.

use serde::Serialize;

use super::{softmax, top_k};
use crate::labels::Labels;

/// The likeliest class of a picture, and the next ones.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    pub class: String,
    /// Probability, 0 to 1.
    pub confidence: f64,
    /// The likeliest first.
    pub top_predictions: Vec<Guess>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Guess {
    pub class: String,
    /// Probability, 0 to 1.
    pub confidence: f64,
}

impl Answer {
    /// The `k` (at least one) likeliest classes of a picture's logits `(classes)`.
    ///
    /// # Panics
    /// If there are no logits.
    pub fn of(logits: &[f32], labels: &Labels, k: usize) -> Self {
        let probabilities = softmax(logits);
        let guess = |id: usize| Guess {
            class: labels.name(id).unwrap_or_default().into(),
            confidence: probabilities[id],
        };
        let top = top_k(logits, k.max(1)).into_iter().map(guess);
        let top: Vec<Guess> = top.collect();
        Self {
            class: top[0].class.clone(),
            confidence: top[0].confidence,
            top_predictions: top,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_comes_first() {
        let labels = Labels::new(["daisy", "rose", "tulip"]).unwrap();
        let logits = [1f32, 3.0, 2.0].map(f32::ln);
        let answer = Answer::of(&logits, &labels, 2);
        assert_eq!(answer.class, "rose");
        assert!((answer.confidence - 0.5).abs() < 1e-6);
        let classes: Vec<&str> = answer.top_predictions.iter().map(|g| &*g.class).collect();
        assert_eq!(classes, ["rose", "tulip"]);
        assert_eq!(Answer::of(&logits, &labels, 0).top_predictions.len(), 1);
        assert_eq!(Answer::of(&logits, &labels, 9).top_predictions.len(), 3);
    }
}
