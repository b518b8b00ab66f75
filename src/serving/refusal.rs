//! Why a request gets no prediction, and the status that says so.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::language::Message;
use crate::image::DecodeError;

/// An answer `{"error": ..}`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("No file provided")]
    NoFile,
    #[error("No file provided: send the picture in the form field `file`; the form has {0}")]
    OtherFields(String),
    #[error("{}", .0.english)]
    BadRequest(Message),
    #[error("{}", .0.english)]
    Picture(Message),
    #[error("an API key is required: send `Authorization: Bearer KEY` or `X-API-Key: KEY`")]
    NoKey,
    #[error(
        "feedback from browsers needs the header X-Requested-With, as the server's own page \
         sends it"
    )]
    OtherSite,
    #[error("not found; /openapi.json lists the routes")]
    NotFound,
    #[error("method not allowed for this path")]
    Method,
    #[error("the upload took too long")]
    SlowUpload,
    #[error(
        "the request exceeds the limit of {limit} bytes: scale the picture down, or send fewer at \
         once"
    )]
    TooLarge { limit: u64 },
    #[error(
        "send multipart/form-data with a field `file`, or the picture itself as image/jpeg, \
         image/png, and so on"
    )]
    MediaType,
    #[error("the Content-Encoding {0} is not supported: send the body with gzip or as it is")]
    Encoding(String),
    #[error("{}", .0.english)]
    TooManyPixels(Message),
    #[error("too many pictures are waiting; try again in {retry_after} s")]
    Busy { retry_after: u64 },
    #[error("the model is being loaded")]
    Loading,
    #[error("the server is shutting down")]
    ShuttingDown,
    #[error("no result within {within:?}; try again later")]
    Deadline { within: Duration },
    #[error("the collection of photos is full")]
    CollectionFull,
    #[error("{0}")]
    Internal(String),
}

impl Refusal {
    pub fn bad_request(english: impl Into<String>, chinese: impl Into<String>) -> Self {
        Self::BadRequest(Message::new(english, chinese))
    }

    pub fn status(&self) -> StatusCode {
        match self {
            Self::NoFile | Self::OtherFields(_) | Self::BadRequest(_) | Self::Picture(_) => {
                StatusCode::BAD_REQUEST
            }
            Self::NoKey => StatusCode::UNAUTHORIZED,
            Self::OtherSite => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::SlowUpload => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MediaType | Self::Encoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooManyPixels(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Busy { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Loading | Self::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
            Self::Deadline { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::CollectionFull => StatusCode::INSUFFICIENT_STORAGE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Seconds after which another try makes sense.
    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Busy { retry_after } => Some(*retry_after),
            Self::Loading | Self::ShuttingDown => Some(1),
            _ => None,
        }
    }
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        let message = Message::of(&error);
        match error {
            DecodeError::TooManyPixels { .. } | DecodeError::TooMuchMemory { .. } => {
                Self::TooManyPixels(message)
            }
            DecodeError::TooManyBytes { limit } => Self::TooLarge { limit },
            _ => Self::Picture(message),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = Json(json!({"error": self.to_string()}));
        let mut response = (self.status(), body).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Self::Encoding(_) = self {
            let known = HeaderValue::from_static("gzip");
            headers.insert(header::ACCEPT_ENCODING, known);
        }
        if self == Self::NoKey {
            let scheme = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        // Whoever knows the request may translate it.
        response.extensions_mut().insert(self);
        response
    }
}
