//! Why a request fails, and the HTTP status and body that say so.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::message::Message;
use crate::image::DecodeError;

/// Becomes a response with the body `{"error": ".."}`, in English; [`super::language`] translates it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    #[error("No file provided")]
    NoFile,
    /// A form without the field `file`; names the fields that it has.
    #[error("No file provided: send the picture in the form field `file`; the form has {0}")]
    NoFileField(String),
    #[error("{}", .0.english)]
    BadRequest(Message),
    #[error("{}", .0.english)]
    BadImage(Message),
    #[error("an API key is required: send `Authorization: Bearer KEY` or `X-API-Key: KEY`")]
    Unauthorized,
    #[error(
        "feedback from a browser needs the header X-Requested-With, which the server's own page \
         sends"
    )]
    CrossSite,
    #[error("not found; /openapi.json lists the routes")]
    NotFound,
    #[error("method not allowed for this path")]
    MethodNotAllowed,
    #[error("the upload took too long")]
    UploadTimeout,
    #[error(
        "the request exceeds the limit of {limit} bytes: scale the picture down, or send fewer \
         pictures at once"
    )]
    PayloadTooLarge { limit: u64 },
    #[error(
        "send multipart/form-data with a field `file`, or the picture itself with its content \
         type, such as image/jpeg or image/png"
    )]
    UnsupportedMediaType,
    #[error(
        "the Content-Encoding {0} is not supported: compress the body with gzip, or send it uncompressed"
    )]
    UnsupportedEncoding(String),
    /// The limit on pixels or on the memory for decoding.
    #[error("{}", .0.english)]
    ImageTooLarge(Message),
    #[error("too many pictures are waiting; try again in {retry_after} s")]
    QueueFull {
        /// Seconds.
        retry_after: u64,
    },
    #[error("the model is being loaded")]
    Loading,
    #[error("the server is shutting down")]
    ShuttingDown,
    #[error("no result within {limit:?}; try again later")]
    Timeout { limit: Duration },
    #[error("the collection of photos is full")]
    CollectionFull,
    #[error("{0}")]
    Internal(String),
}

impl ApiError {
    pub fn bad_request(english: impl Into<String>, chinese: impl Into<String>) -> Self {
        Self::BadRequest(Message::new(english, chinese))
    }

    pub fn status(&self) -> StatusCode {
        match self {
            Self::NoFile | Self::NoFileField(_) | Self::BadRequest(_) | Self::BadImage(_) => {
                StatusCode::BAD_REQUEST
            }
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::CrossSite => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::UploadTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::PayloadTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType | Self::UnsupportedEncoding(_) => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Self::ImageTooLarge(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::QueueFull { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Loading | Self::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::CollectionFull => StatusCode::INSUFFICIENT_STORAGE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The value of `Retry-After` in seconds.
    fn retry_after(&self) -> Option<u64> {
        match self {
            Self::QueueFull { retry_after } => Some(*retry_after),
            Self::Loading | Self::ShuttingDown => Some(1),
            _ => None,
        }
    }
}

impl From<DecodeError> for ApiError {
    fn from(error: DecodeError) -> Self {
        let message = Message::of(&error);
        match error {
            DecodeError::TooManyPixels { .. } | DecodeError::TooMuchMemory { .. } => {
                Self::ImageTooLarge(message)
            }
            DecodeError::TooManyBytes { limit } => Self::PayloadTooLarge { limit },
            _ => Self::BadImage(message),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = Json(json!({"error": self.to_string()}));
        let mut response = (self.status(), body).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after() {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Self::UnsupportedEncoding(_) = self {
            let supported = HeaderValue::from_static("gzip");
            headers.insert(header::ACCEPT_ENCODING, supported);
        }
        if self == Self::Unauthorized {
            let scheme = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        // For the middleware that translates it.
        response.extensions_mut().insert(self);
        response
    }
}
