//! What several predictions look like on the wire.

use serde::Serialize;

use super::language;
use super::refusal::Refusal;
use crate::image::decode::Warning;
use crate::metrics::Answer;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcomes {
    pub predictions: Vec<Outcome>,
}

/// What a picture shows, and what is amiss with its file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    #[serde(flatten)]
    pub answer: Answer,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

/// The fate of one of several pictures.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Outcome {
    Answered(Prediction),
    Refused { error: String },
}

impl Outcome {
    pub fn of(result: Result<Prediction, Refusal>, in_chinese: bool) -> Self {
        match result {
            Ok(prediction) => Self::Answered(prediction),
            Err(refusal) if in_chinese => Self::Refused {
                error: language::in_chinese(&refusal),
            },
            Err(refusal) => Self::Refused {
                error: refusal.to_string(),
            },
        }
    }
}
