//! What is wrong with a request, in English and Chinese.

use crate::image::DecodeError;

/// An error message in both languages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub english: String,
    pub chinese: String,
}

impl Message {
    pub fn new(english: impl Into<String>, chinese: impl Into<String>) -> Self {
        Self {
            english: english.into(),
            chinese: chinese.into(),
        }
    }

    /// What is wrong with an image.
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
