//! `POST /predict`: classifies the images of a request.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::api_error::ApiError;
use super::language::prefers_chinese;
use super::pipeline::Pipeline;
use super::response::{BatchResponse, ImageResult, model_header};
use super::state::AppState;

#[derive(Debug, Deserialize)]
pub struct PredictQuery {
    #[serde(default = "default_top_k")]
    top_k: usize,
}

fn default_top_k() -> usize {
    3
}

/// The prediction of a single image, or the result of each of several.
pub async fn predict(
    State(state): State<Arc<AppState>>,
    query: Result<Query<PredictQuery>, QueryRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let top_k = match query {
        Ok(Query(PredictQuery { top_k })) if top_k > 0 => top_k,
        _ => {
            return Err(ApiError::bad_request(
                "top_k must be a whole number of at least 1",
                "top_k 必须是不小于 1 的整数",
            ));
        }
    };
    let model = state.model()?;
    let in_chinese = prefers_chinese(request.headers());
    let pipeline = Pipeline::new(&state);
    let files = pipeline.receive(request).await?.files;
    let several = files.len() > 1;
    let mut results = pipeline.predict(&model, files, top_k).await?.into_iter();
    let response = if several {
        let predictions = results.map(|result| ImageResult::new(result, in_chinese));
        Json(BatchResponse {
            predictions: predictions.collect(),
        })
        .into_response()
    } else {
        let prediction = results.next().ok_or(ApiError::NoFile)??;
        Json(prediction).into_response()
    };
    Ok((model_header(&model), response).into_response())
}
