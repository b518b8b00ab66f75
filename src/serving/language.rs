//! The language of error messages: English, or Chinese for requests that ask for it.

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::refusal::Refusal;
use crate::image::DecodeError;

/// What is wrong with a request, in both languages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub english: String,
    pub chinese: String,
}

/// Translates the message of a refusal when `Accept-Language` names Chinese first.
pub async fn translate(request: Request, next: Next) -> Response {
    let chinese = prefers_chinese(request.headers());
    let mut response = next.run(request).await;
    let Some(refusal) = response.extensions_mut().remove::<Refusal>() else {
        return response;
    };
    if chinese {
        let (parts, _) = response.into_parts();
        response = Json(json!({"error": in_chinese(&refusal)})).into_response();
        *response.status_mut() = parts.status;
        let headers = response.headers_mut();
        for (name, value) in &parts.headers {
            if name != header::CONTENT_LENGTH {
                headers.insert(name, value.clone());
            }
        }
        headers.insert(header::CONTENT_LANGUAGE, HeaderValue::from_static("zh-CN"));
    }
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("accept-language"));
    response
}

/// Whether `Accept-Language` names Chinese first.
pub fn prefers_chinese(headers: &HeaderMap) -> bool {
    let wanted = headers.get(header::ACCEPT_LANGUAGE);
    let wanted = wanted.and_then(|wanted| wanted.to_str().ok());
    let first = wanted.and_then(|wanted| wanted.trim().get(..2));
    first.is_some_and(|first| first.eq_ignore_ascii_case("zh"))
}

/// The message of a refusal in Chinese.
pub fn in_chinese(refusal: &Refusal) -> String {
    match refusal {
        Refusal::NoFile => "没有收到图片，请放在表单的 file 字段中".into(),
        Refusal::OtherFields(names) => {
            format!("没有收到图片，请放在表单的 file 字段中；表单里有 {names}")
        }
        Refusal::BadRequest(message)
        | Refusal::Picture(message)
        | Refusal::TooManyPixels(message) => message.chinese.clone(),
        Refusal::NoKey => {
            "需要 API 密钥，请在请求头中发送 Authorization: Bearer KEY 或 X-API-Key: KEY".into()
        }
        Refusal::OtherSite => "来自浏览器的反馈需要 X-Requested-With 请求头".into(),
        Refusal::NotFound => "没有这个地址；全部接口见 /openapi.json".into(),
        Refusal::Method => "此地址不支持这种请求方法".into(),
        Refusal::SlowUpload => "上传时间过长".into(),
        Refusal::TooLarge { limit } => {
            format!("请求不能超过 {limit} 字节，请缩小图片，或减少每次发送的图片")
        }
        Refusal::MediaType => "请在表单的 file 字段中上传图片，或直接上传图片内容".into(),
        Refusal::Encoding(name) => {
            format!("不支持 Content-Encoding {name}，请用 gzip 压缩或不压缩发送")
        }
        Refusal::Busy { retry_after } => format!("排队的图片过多，请在 {retry_after} 秒后重试"),
        Refusal::Loading => "模型正在加载".into(),
        Refusal::ShuttingDown => "服务器正在关闭".into(),
        Refusal::Deadline { within } => format!("{} 秒内没有得到结果", within.as_secs_f64()),
        Refusal::CollectionFull => "图库已满".into(),
        Refusal::Internal(_) => "服务器内部错误，详情见服务器日志".into(),
    }
}

impl Message {
    pub fn new(english: impl Into<String>, chinese: impl Into<String>) -> Self {
        Self {
            english: english.into(),
            chinese: chinese.into(),
        }
    }

    /// What is wrong with a picture.
    pub fn of(error: &DecodeError) -> Self {
        let english = match error {
            DecodeError::Empty => "the file is empty".into(),
            _ => error.to_string(),
        };
        Self::new(english, chinese_of(error))
    }
}

fn chinese_of(error: &DecodeError) -> String {
    match error {
        DecodeError::Empty => "文件为空".into(),
        DecodeError::NotAPicture { .. } => {
            "不是图片；支持 JPEG、PNG、WebP、GIF、BMP、TIFF 和 PPM 格式".into()
        }
        DecodeError::Heic => {
            "无法读取 HEIC 照片，请转换为 JPEG，或将手机相机格式设为 JPEG（iPhone：设置、相机、格式、兼容性最佳）".into()
        }
        DecodeError::Unsupported { .. } => "不支持这种编码方式，请转换为 PNG 或普通 JPEG".into(),
        DecodeError::TooManyPixels {
            width,
            height,
            limit,
        } => format!("图片为 {width}x{height} 像素，超过了 {limit} 像素的上限，请缩小图片"),
        DecodeError::TooManyBytes { limit } => format!("文件不能超过 {limit} 字节，请缩小图片"),
        DecodeError::TooMuchMemory { .. } => "解码图片所需的内存过多，请缩小图片".into(),
        DecodeError::Broken { format, .. } => {
            format!("{format} 文件已损坏，请重新复制或转换格式")
        }
        DecodeError::Io(_) => "无法读取文件".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_language_counts() {
        for (value, chinese) in [
            ("zh-CN,zh;q=0.9,en;q=0.8", true),
            ("ZH", true),
            ("en-GB,zh;q=0.5", false),
            ("*", false),
            ("", false),
        ] {
            let value = HeaderValue::from_static(value);
            let headers = HeaderMap::from_iter([(header::ACCEPT_LANGUAGE, value)]);
            assert_eq!(prefers_chinese(&headers), chinese);
        }
        assert!(!prefers_chinese(&HeaderMap::new()));
    }
}
