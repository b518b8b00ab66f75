//! Reads the images of a request from its body, within limits.

use std::future::ready;

use axum::body::{Body, Bytes};
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use axum::http::{HeaderMap, header};
use futures_util::TryStreamExt;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tower::{Layer, ServiceExt, service_fn};

use super::api_error::ApiError;
use crate::error::{shown, some};

/// Images per request.
pub const MAX_FILES: usize = 16;

/// Parts per form, images and others.
const MAX_PARTS: usize = 64;

/// Bytes of a text field.
const MAX_TEXT: usize = 1024;

/// Characters of a name that an error message repeats.
const MAX_NAME: usize = 40;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Upload {
    /// The images in their order; at least one.
    pub files: Vec<Bytes>,
    /// The field `label`.
    pub label: Option<String>,
    /// Printable names of other fields.
    pub other_fields: Vec<String>,
}

/// Reads the images of a request: the fields `file` of a form, or the body itself.
///
/// # Errors
/// [`ApiError::NoFile`], [`ApiError::NoFileField`], [`ApiError::UnsupportedMediaType`],
/// [`ApiError::UnsupportedEncoding`], [`ApiError::BadRequest`] for a malformed form, and
/// [`ApiError::PayloadTooLarge`] as soon as `Content-Length` or what has arrived exceeds `max_body`
/// bytes.
pub async fn read(request: Request, max_body: u64) -> Result<Upload, ApiError> {
    if content_length(request.headers()).is_some_and(|length| length > max_body) {
        return Err(ApiError::PayloadTooLarge { limit: max_body });
    }
    if let Some(encoding) = unsupported_encoding(request.headers()) {
        return Err(ApiError::UnsupportedEncoding(encoding));
    }
    let media_type = media_type(request.headers());
    let is_form = match media_type.as_deref() {
        Some("multipart/form-data") => true,
        Some("application/octet-stream") => false,
        Some(image) if image.starts_with("image/") => false,
        _ => return Err(ApiError::UnsupportedMediaType),
    };
    let (head, body) = request.into_parts();
    let body = read_body(body, max_body).await?;
    let upload = match is_form {
        true => form(Request::from_parts(head, Body::from(body))).await?,
        false => Upload {
            files: Some(body)
                .filter(|file| !file.is_empty())
                .into_iter()
                .collect(),
            ..Upload::default()
        },
    };
    match (upload.files.is_empty(), upload.other_fields.is_empty()) {
        (false, _) => Ok(upload),
        (true, true) => Err(ApiError::NoFile),
        (true, false) => Err(ApiError::NoFileField(some(upload.other_fields))),
    }
}

pub fn too_many_images(max: usize) -> ApiError {
    ApiError::bad_request(
        format!("more than {max} pictures: send them in several requests"),
        format!("图片超过 {max} 张，请分几次发送"),
    )
}

/// Reads a whole body into one buffer.
///
/// Forms too are parsed only from there: the parser searches for the end of a part's head from its
/// beginning each time that bytes arrive, and each chunk that it is given costs it memory.
async fn read_body(body: Body, limit: u64) -> Result<Bytes, ApiError> {
    let chunks = Limited::new(body, usize::try_from(limit).unwrap_or(usize::MAX));
    let whole = chunks
        .into_data_stream()
        .try_fold(Vec::new(), |mut whole, chunk| {
            whole.extend_from_slice(&chunk);
            ready(Ok(whole))
        });
    match whole.await {
        Ok(whole) => Ok(whole.into()),
        Err(cause) if cause.is::<LengthLimitError>() => Err(ApiError::PayloadTooLarge { limit }),
        Err(_) => Err(ApiError::bad_request(
            "the upload was cut off, or its encoding is damaged",
            "上传中断，或其编码已损坏",
        )),
    }
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// The encoding of a body that was not decompressed, in printable form.
fn unsupported_encoding(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_ENCODING)?;
    let value = String::from_utf8_lossy(value.as_bytes());
    let is_identity = value.trim().is_empty() || value.trim().eq_ignore_ascii_case("identity");
    (!is_identity).then(|| shown(value.chars().take(MAX_NAME).collect::<String>()))
}

/// The media type in lower case, without its parameters.
fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let media_type = value.split(';').next().unwrap_or(value);
    Some(media_type.trim().to_ascii_lowercase())
}

async fn form(request: Request) -> Result<Upload, ApiError> {
    let mut form = parser(request).await?;
    let mut upload = Upload::default();
    let mut parts = 0;
    while let Some(field) = form.next_field().await.map_err(malformed)? {
        parts += 1;
        if parts > MAX_PARTS {
            return Err(ApiError::bad_request(
                format!("the form has more than {MAX_PARTS} parts"),
                format!("表单不能超过 {MAX_PARTS} 个部分"),
            ));
        }
        match field.name() {
            Some("file") if upload.files.len() == MAX_FILES => {
                return Err(too_many_images(MAX_FILES));
            }
            Some("file") => {
                // Browsers send an empty part without a file name when none was chosen.
                let unnamed = field.file_name().is_none_or(str::is_empty);
                let file = field.bytes().await.map_err(malformed)?;
                upload
                    .files
                    .extend(Some(file).filter(|file| !(unnamed && file.is_empty())));
            }
            Some("label") => upload.label = Some(text(field).await?),
            other => {
                let name = other.unwrap_or_default().chars().take(MAX_NAME);
                upload.other_fields.push(shown(name.collect::<String>()));
                drop(field.bytes().await.map_err(malformed)?);
            }
        }
    }
    Ok(upload)
}

async fn parser(request: Request) -> Result<Multipart, ApiError> {
    let extract = service_fn(|request: Request<Body>| async {
        Ok::<_, std::convert::Infallible>(Multipart::from_request(request, &()).await)
    });
    // The body has been read within our own limit.
    let extract = DefaultBodyLimit::disable().layer(extract);
    let Ok(form) = extract.oneshot(request).await;
    form.map_err(|cause| ApiError::bad_request(cause.body_text(), "表单已损坏"))
}

async fn text(field: Field<'_>) -> Result<String, ApiError> {
    let bytes = field.bytes().await.map_err(malformed)?;
    if bytes.len() > MAX_TEXT {
        return Err(ApiError::bad_request(
            format!("the field `label` has more than {MAX_TEXT} bytes"),
            format!("label 字段不能超过 {MAX_TEXT} 字节"),
        ));
    }
    let text = String::from_utf8(bytes.into());
    text.map_err(|_| {
        ApiError::bad_request(
            "the field `label` is not UTF-8",
            "label 字段不是 UTF-8 编码",
        )
    })
}

fn malformed(error: MultipartError) -> ApiError {
    ApiError::bad_request(
        format!("the form is broken: {}", error.body_text()),
        "表单已损坏",
    )
}
