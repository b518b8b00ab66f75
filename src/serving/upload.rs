//! From the body of a request to the bytes of pictures, never more than allowed.

use axum::body::{Body, to_bytes};
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use axum::http::{HeaderMap, StatusCode, header};
use tower::{Layer, ServiceExt, service_fn};

use super::refusal::Refusal;

/// Pictures in one request.
pub const MAX_FILES: usize = 16;

/// Parts of one request, pictures and others.
const MAX_PARTS: usize = 64;

/// Bytes of a field that is no picture.
const MAX_TEXT: usize = 1024;

/// What a request brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Upload {
    /// The pictures in their order.
    pub files: Vec<Vec<u8>>,
    /// The field `label`.
    pub label: Option<String>,
}

/// Reads the pictures of a request: the fields `file` of a form, or the body itself.
///
/// # Errors
/// [`Refusal::NoFile`], [`Refusal::MediaType`], [`Refusal::TooLarge`] as soon as more than
/// `max_body` bytes are announced or have come, and [`Refusal::BadRequest`] for a broken form.
pub async fn read(request: Request, max_body: u64) -> Result<Upload, Refusal> {
    let too_large = Refusal::TooLarge { limit: max_body };
    if announced(request.headers()).is_some_and(|length| length > max_body) {
        return Err(too_large);
    }
    let limit = usize::try_from(max_body).unwrap_or(usize::MAX);
    let upload = match media_type(request.headers()).as_deref() {
        Some("multipart/form-data") => form(request, limit).await?,
        Some(kind) if kind.starts_with("image/") || kind == "application/octet-stream" => {
            let body = to_bytes(request.into_body(), limit).await;
            let body = body.map_err(|cause| broken_body(&cause, too_large))?;
            let whole = Vec::from(body);
            Upload {
                files: Some(whole)
                    .filter(|file| !file.is_empty())
                    .into_iter()
                    .collect(),
                label: None,
            }
        }
        _ => return Err(Refusal::MediaType),
    };
    match upload.files.is_empty() {
        true => Err(Refusal::NoFile),
        false => Ok(upload),
    }
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// The media type in lower case, without its parameters.
fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let kind = value.split(';').next().unwrap_or(value);
    Some(kind.trim().to_ascii_lowercase())
}

async fn form(request: Request, limit: usize) -> Result<Upload, Refusal> {
    let refusal = |error: MultipartError| broken_form(&error, limit);
    let mut form = limited(request, limit).await?;
    let mut upload = Upload::default();
    let mut parts = 0;
    while let Some(field) = form.next_field().await.map_err(refusal)? {
        parts += 1;
        if parts > MAX_PARTS {
            let message = format!("the form has more than {MAX_PARTS} parts");
            return Err(Refusal::BadRequest(message));
        }
        match field.name() {
            Some("file") if upload.files.len() == MAX_FILES => {
                let message = format!("more than {MAX_FILES} pictures: send the rest apart");
                return Err(Refusal::BadRequest(message));
            }
            Some("file") => {
                let file = bytes(field, limit).await.map_err(refusal)?;
                // Browsers send an empty part without a name when no file was chosen.
                upload.files.extend(file);
            }
            Some("label") => upload.label = Some(text(field).await.map_err(refusal)??),
            _ => skip(field).await.map_err(refusal)?,
        }
    }
    Ok(upload)
}

/// The form of a request whose body breaks off beyond the limit.
async fn limited(request: Request, limit: usize) -> Result<Multipart, Refusal> {
    let extract = service_fn(|request: Request<Body>| async {
        Ok::<_, std::convert::Infallible>(Multipart::from_request(request, &()).await)
    });
    let layered = DefaultBodyLimit::max(limit).layer(extract);
    let Ok(form) = layered.oneshot(request).await;
    form.map_err(|cause| Refusal::BadRequest(cause.body_text()))
}

/// The bytes of a field; `None` for the empty one that stands for no file.
async fn bytes(mut field: Field<'_>, limit: usize) -> Result<Option<Vec<u8>>, MultipartError> {
    let unnamed = field.file_name().is_none_or(str::is_empty);
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await? {
        bytes.reserve_exact(chunk.len().max(bytes.len() / 4).min(limit));
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some(bytes).filter(|bytes| !(unnamed && bytes.is_empty())))
}

async fn text(mut field: Field<'_>) -> Result<Result<String, Refusal>, MultipartError> {
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > MAX_TEXT {
            let message = format!("the field `label` has more than {MAX_TEXT} bytes");
            return Ok(Err(Refusal::BadRequest(message)));
        }
    }
    let text = String::from_utf8(bytes);
    Ok(text.map_err(|_| Refusal::BadRequest("the field `label` is no UTF-8".into())))
}

async fn skip(mut field: Field<'_>) -> Result<(), MultipartError> {
    while field.chunk().await?.is_some() {}
    Ok(())
}

fn broken_form(error: &MultipartError, limit: usize) -> Refusal {
    match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Refusal::TooLarge {
            limit: limit as u64,
        },
        _ => Refusal::BadRequest(format!("the form is broken: {}", error.body_text())),
    }
}

fn broken_body(error: &axum::Error, too_large: Refusal) -> Refusal {
    use http_body_util::LengthLimitError;
    use std::error::Error;

    let mut cause: Option<&dyn Error> = Some(error);
    while let Some(inner) = cause {
        if inner.is::<LengthLimitError>() {
            return too_large;
        }
        cause = inner.source();
    }
    Refusal::BadRequest("the upload broke off".into())
}
