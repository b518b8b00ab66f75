//! `POST /feedback`: keeps an image under the label that a person gave it.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::task::spawn_blocking;

use super::api_error::ApiError;
use super::pipeline::{Pipeline, incomplete};
use super::response::model_header;
use super::state::AppState;
use super::upload::Upload;

/// Sent by the page with its feedback, with any value.
pub const REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

#[derive(Debug, Serialize)]
struct FeedbackResponse {
    /// False if the image was in the collection already.
    stored: bool,
}

pub async fn feedback(
    State(state): State<Arc<AppState>>,
    request: Request,
) -> Result<Response, ApiError> {
    let Some(collection) = state.collection.clone() else {
        return Err(ApiError::NotFound);
    };
    // Any site can make its visitors' browsers post a form here, but not with a header of its own.
    let headers = request.headers();
    if headers.contains_key(header::ORIGIN) && !headers.contains_key(REQUESTED_WITH) {
        return Err(ApiError::CrossSite);
    }
    let model = state.model()?;
    let pipeline = Pipeline::new(&state);
    let Upload { files, label, .. } = pipeline.receive(request).await?;
    let missing = || ApiError::bad_request("the field `label` is missing", "缺少 label 字段");
    let label = label.ok_or_else(missing)?;
    let labels = &model.manifest.labels;
    let Some(label) = labels.id(&label).and_then(|id| labels.name(id)) else {
        return Err(ApiError::bad_request(
            "the model has no such label; see /labels",
            "模型没有这个标签；全部标签见 /labels",
        ));
    };
    let [file] = <[Bytes; 1]>::try_from(files)
        .map_err(|_| ApiError::bad_request("send one picture at a time", "请每次只发送一张图片"))?;
    let predictions = pipeline.predict(&model, vec![file.clone()], 3).await?;
    let prediction = predictions.into_iter().next().ok_or(ApiError::NoFile)??;
    let writer = pipeline.acquire(&state.collection_writer).await?;
    let (label, sha256) = (label.to_owned(), model.sha256.clone());
    let stored = spawn_blocking(move || {
        let _writer = writer;
        collection.store(&file, &label, &prediction.answer, &sha256)
    });
    let stored = stored.await.map_err(|_| incomplete())??;
    let response = Json(FeedbackResponse { stored });
    Ok((model_header(&model), response).into_response())
}
