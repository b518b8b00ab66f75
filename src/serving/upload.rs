//! From the body of a request to the bytes of pictures, never more than allowed.

use axum::body::{Body, Bytes};
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt, service_fn};

use super::refusal::Refusal;
use crate::error::{shown, some};

/// Pictures in one request.
pub const MAX_FILES: usize = 16;

/// Parts of one request, pictures and others.
const MAX_PARTS: usize = 64;

/// Bytes of a field that is no picture.
const MAX_TEXT: usize = 1024;

/// Characters of a field's name that an error repeats.
const MAX_NAME: usize = 40;

/// What a request brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Upload {
    /// The pictures in their order.
    pub files: Vec<Bytes>,
    /// The field `label`.
    pub label: Option<String>,
    /// Names of other fields.
    pub others: Vec<String>,
}

/// Reads the pictures of a request: the fields `file` of a form, or the body itself.
///
/// # Errors
/// [`Refusal::NoFile`], [`Refusal::OtherFields`], [`Refusal::MediaType`], [`Refusal::Encoding`],
/// [`Refusal::TooLarge`] as soon as more than
/// `max_body` bytes are announced or have come, and [`Refusal::BadRequest`] for a broken form.
pub async fn read(request: Request, max_body: u64) -> Result<Upload, Refusal> {
    let too_large = Refusal::TooLarge { limit: max_body };
    if announced(request.headers()).is_some_and(|length| length > max_body) {
        return Err(too_large);
    }
    if let Some(encoding) = encoding(request.headers()) {
        return Err(Refusal::Encoding(encoding));
    }
    let limit = usize::try_from(max_body).unwrap_or(usize::MAX);
    let kind = media_type(request.headers());
    let is_form = match kind.as_deref() {
        Some("multipart/form-data") => true,
        Some(kind) if kind.starts_with("image/") || kind == "application/octet-stream" => false,
        _ => return Err(Refusal::MediaType),
    };
    let (head, body) = request.into_parts();
    let body = whole(body, limit).await?.ok_or(too_large)?;
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
    match (upload.files.is_empty(), upload.others.is_empty()) {
        (false, _) => Ok(upload),
        (true, true) => Err(Refusal::NoFile),
        (true, false) => Err(Refusal::OtherFields(some(upload.others))),
    }
}

pub fn too_many_pictures(most: usize) -> Refusal {
    Refusal::bad_request(
        format!("more than {most} pictures: send them in several requests"),
        format!("图片超过 {most} 张，请分几次发送"),
    )
}

/// A body in one piece, or `None` when it is longer than the limit.
///
/// A form too is parsed only when it has come: the parser looks for the end of a part's head from
/// its beginning each time that bytes arrive, and each chunk that it is given costs it memory.
async fn whole(mut body: Body, limit: usize) -> Result<Option<Bytes>, Refusal> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let broken = |_| {
            Refusal::bad_request(
                "the upload was cut off, or its encoding is damaged",
                "上传中断，或其编码已损坏",
            )
        };
        let Ok(data) = frame.map_err(broken)?.into_data() else {
            continue;
        };
        if data.len() > limit - whole.len() {
            return Ok(None);
        }
        whole.extend_from_slice(&data);
    }
    Ok(Some(whole.into()))
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// The encoding that the body still has, if any.
fn encoding(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_ENCODING)?;
    let value = String::from_utf8_lossy(value.as_bytes());
    let is_plain = value.trim().is_empty() || value.trim().eq_ignore_ascii_case("identity");
    (!is_plain).then(|| shown(value.chars().take(MAX_NAME).collect::<String>()))
}

/// The media type in lower case, without its parameters.
fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let kind = value.split(';').next().unwrap_or(value);
    Some(kind.trim().to_ascii_lowercase())
}

async fn form(request: Request) -> Result<Upload, Refusal> {
    let mut form = parser(request).await?;
    let mut upload = Upload::default();
    let mut parts = 0;
    while let Some(field) = form.next_field().await.map_err(broken)? {
        parts += 1;
        if parts > MAX_PARTS {
            return Err(Refusal::bad_request(
                format!("the form has more than {MAX_PARTS} parts"),
                format!("表单不能超过 {MAX_PARTS} 个部分"),
            ));
        }
        match field.name() {
            Some("file") if upload.files.len() == MAX_FILES => {
                return Err(too_many_pictures(MAX_FILES));
            }
            Some("file") => {
                // Browsers send an empty part without a name when no file was chosen.
                let unnamed = field.file_name().is_none_or(str::is_empty);
                let file = field.bytes().await.map_err(broken)?;
                upload
                    .files
                    .extend(Some(file).filter(|file| !(unnamed && file.is_empty())));
            }
            Some("label") => upload.label = Some(text(field).await?),
            other => {
                let name = other.unwrap_or_default().chars().take(MAX_NAME);
                upload.others.push(shown(name.collect::<String>()));
                drop(field.bytes().await.map_err(broken)?);
            }
        }
    }
    Ok(upload)
}

async fn parser(request: Request) -> Result<Multipart, Refusal> {
    let extract = service_fn(|request: Request<Body>| async {
        Ok::<_, std::convert::Infallible>(Multipart::from_request(request, &()).await)
    });
    // Its length is known to be within ours.
    let extract = DefaultBodyLimit::disable().layer(extract);
    let Ok(form) = extract.oneshot(request).await;
    form.map_err(|cause| Refusal::bad_request(cause.body_text(), "表单已损坏"))
}

async fn text(field: Field<'_>) -> Result<String, Refusal> {
    let bytes = field.bytes().await.map_err(broken)?;
    if bytes.len() > MAX_TEXT {
        return Err(Refusal::bad_request(
            format!("the field `label` has more than {MAX_TEXT} bytes"),
            format!("label 字段不能超过 {MAX_TEXT} 字节"),
        ));
    }
    let text = String::from_utf8(bytes.into());
    text.map_err(|_| {
        Refusal::bad_request(
            "the field `label` is not UTF-8",
            "label 字段不是 UTF-8 编码",
        )
    })
}

fn broken(error: MultipartError) -> Refusal {
    Refusal::bad_request(
        format!("the form is broken: {}", error.body_text()),
        "表单已损坏",
    )
}
