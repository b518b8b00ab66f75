//! The language of error messages: English, or Chinese for requests that ask for it.

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::refusal::Refusal;
use crate::image::DecodeError;

/// Translates the message of a refusal when `Accept-Language` names Chinese first; what has no
/// translation stays English.
pub async fn translate(request: Request, next: Next) -> Response {
    let chinese = prefers_chinese(request.headers());
    let mut response = next.run(request).await;
    let Some(refusal) = response.extensions_mut().remove::<Refusal>() else {
        return response;
    };
    if let Some(message) = of_refusal(&refusal).filter(|_| chinese) {
        let (parts, _) = response.into_parts();
        let mut translated = Json(json!({"error": message})).into_response();
        *translated.status_mut() = parts.status;
        for (name, value) in &parts.headers {
            if name != header::CONTENT_LENGTH {
                translated.headers_mut().insert(name, value.clone());
            }
        }
        let language = HeaderValue::from_static("zh-CN");
        translated
            .headers_mut()
            .insert(header::CONTENT_LANGUAGE, language);
        response = translated;
    }
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("accept-language"));
    response
}

fn prefers_chinese(headers: &HeaderMap) -> bool {
    let wanted = headers.get(header::ACCEPT_LANGUAGE);
    let wanted = wanted.and_then(|wanted| wanted.to_str().ok());
    let first = wanted.and_then(|wanted| wanted.trim().get(..2));
    first.is_some_and(|first| first.eq_ignore_ascii_case("zh"))
}

fn of_refusal(refusal: &Refusal) -> Option<String> {
    Some(match refusal {
        Refusal::NoFile | Refusal::OtherFields(_) => {
            "没有收到图片，请放在表单的 file 字段中".into()
        }
        Refusal::Picture { chinese, .. } | Refusal::TooManyPixels { chinese, .. } => {
            chinese.clone()?
        }
        Refusal::NoKey => "需要 API 密钥".into(),
        Refusal::SlowUpload => "上传时间过长".into(),
        Refusal::TooLarge { limit } => format!("文件不能超过 {limit} 字节，请缩小图片"),
        Refusal::MediaType => "请在表单的 file 字段中上传图片，或直接上传图片内容".into(),
        Refusal::Busy { retry_after } => format!("排队的图片过多，请在 {retry_after} 秒后重试"),
        Refusal::Deadline { within } => format!("{} 秒内没有得到结果", within.as_secs_f64()),
        Refusal::CollectionFull => "图库已满".into(),
        _ => return None,
    })
}

/// What is wrong with a picture, in Chinese.
pub fn of_picture(error: &DecodeError) -> Option<String> {
    Some(match error {
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
        DecodeError::TooMuchMemory { .. } => "解码图片所需的内存过多，请缩小图片".into(),
        DecodeError::Broken { format, .. } => {
            format!("{format} 文件已损坏，请重新复制或转换格式")
        }
        _ => return None,
    })
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
