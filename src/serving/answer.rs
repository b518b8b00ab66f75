//! What several predictions look like on the wire.

use serde::Serialize;

use super::refusal::Refusal;
use crate::metrics::Answer;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcomes {
    pub predictions: Vec<Outcome>,
}

/// The fate of one of several pictures.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Outcome {
    Answered(Answer),
    Refused { error: String },
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
