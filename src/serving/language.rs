//! Error messages in English, or in Chinese for clients that prefer it.

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::api_error::ApiError;

/// Middleware that translates the message of an [`ApiError`] if the client prefers Chinese.
pub async fn translate(request: Request, next: Next) -> Response {
    let chinese = prefers_chinese(request.headers());
    let mut response = next.run(request).await;
    let Some(error) = response.extensions_mut().remove::<ApiError>() else {
        return response;
    };
    if chinese {
        let (parts, _) = response.into_parts();
        response = Json(json!({"error": in_chinese(&error)})).into_response();
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

/// The message of an error in Chinese.
pub fn in_chinese(error: &ApiError) -> String {
    match error {
        ApiError::NoFile => "没有收到图片，请放在表单的 file 字段中".into(),
        ApiError::NoFileField(names) => {
            format!("没有收到图片，请放在表单的 file 字段中；表单里有 {names}")
        }
        ApiError::BadRequest(message)
        | ApiError::BadImage(message)
        | ApiError::ImageTooLarge(message) => message.chinese.clone(),
        ApiError::Unauthorized => {
            "需要 API 密钥，请在请求头中发送 Authorization: Bearer KEY 或 X-API-Key: KEY".into()
        }
        ApiError::CrossSite => "来自浏览器的反馈需要 X-Requested-With 请求头".into(),
        ApiError::NotFound => "没有这个地址；全部接口见 /openapi.json".into(),
        ApiError::MethodNotAllowed => "此地址不支持这种请求方法".into(),
        ApiError::UploadTimeout => "上传时间过长".into(),
        ApiError::PayloadTooLarge { limit } => {
            format!("请求不能超过 {limit} 字节，请缩小图片，或减少每次发送的图片")
        }
        ApiError::UnsupportedMediaType => {
            "请在表单的 file 字段中上传图片，或直接上传图片内容".into()
        }
        ApiError::UnsupportedEncoding(name) => {
            format!("不支持 Content-Encoding {name}，请用 gzip 压缩或不压缩发送")
        }
        ApiError::QueueFull { retry_after } => {
            format!("排队的图片过多，请在 {retry_after} 秒后重试")
        }
        ApiError::Loading => "模型正在加载".into(),
        ApiError::ShuttingDown => "服务器正在关闭".into(),
        ApiError::Timeout { limit } => {
            format!("{} 秒内没有得到结果，请稍后重试", limit.as_secs_f64())
        }
        ApiError::CollectionFull => "图库已满".into(),
        ApiError::Internal(_) => "服务器内部错误，详情见服务器日志".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_language_is_preferred() {
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
