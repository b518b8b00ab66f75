//! What a prediction looks like on the wire.

use serde::Serialize;

use super::refusal::Refusal;
use crate::labels::Labels;
use crate::metrics::{softmax, top_k};

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    pub class: String,
    pub confidence: f64,
    pub top_predictions: Vec<Guess>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Guess {
    pub class: String,
    pub confidence: f64,
}

/// The fate of one of several pictures.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Outcome {
    Answered(Answer),
    Refused { error: String },
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcomes {
    pub predictions: Vec<Outcome>,
}

impl Answer {
    /// The `k` likeliest classes of a picture's logits `(classes)`, the likeliest first.
    pub fn of(logits: &[f32], labels: &Labels, k: usize) -> Result<Self, Refusal> {
        let probabilities = softmax(logits);
        let guess = |id: usize| Guess {
            class: labels.name(id).unwrap_or_default().into(),
            confidence: probabilities[id],
        };
        let guesses: Vec<Guess> = top_k(logits, k.max(1)).into_iter().map(guess).collect();
        let first = guesses.first();
        let first = first.ok_or_else(|| Refusal::Internal("the model has no classes".into()))?;
        Ok(Self {
            class: first.class.clone(),
            confidence: first.confidence,
            top_predictions: guesses,
        })
    }
}

impl From<Result<Answer, Refusal>> for Outcome {
    fn from(result: Result<Answer, Refusal>) -> Self {
        match result {
            Ok(answer) => Self::Answered(answer),
            Err(refusal) => Self::Refused {
                error: refusal.to_string(),
            },
        }
    }
}
