//! What a prediction looks like on the wire.

use axum::http::HeaderName;
use serde::Serialize;

use super::api_error::ApiError;
use super::language;
use super::model::Model;
use crate::image::decode::Warning;
use crate::metrics::Answer;

/// The SHA-256 of the model file that a response comes from, in hex.
pub const MODEL_HEADER: HeaderName = HeaderName::from_static("x-model-sha256");

pub fn model_header(model: &Model) -> [(HeaderName, String); 1] {
    [(MODEL_HEADER, model.sha256.clone())]
}

/// The classes of one image, and what is damaged in its file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    #[serde(flatten)]
    pub answer: Answer,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

/// The response to several images, in their order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BatchResponse {
    pub predictions: Vec<ImageResult>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ImageResult {
    Prediction(Prediction),
    Error { error: String },
}

impl ImageResult {
    /// With the message of an error in Chinese or English.
    pub fn new(result: Result<Prediction, ApiError>, in_chinese: bool) -> Self {
        match result {
            Ok(prediction) => Self::Prediction(prediction),
            Err(error) if in_chinese => Self::Error {
                error: language::in_chinese(&error),
            },
            Err(error) => Self::Error {
                error: error.to_string(),
            },
        }
    }
}
