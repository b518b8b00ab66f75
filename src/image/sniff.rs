//! What a file is, by its first bytes.

use image::ImageFormat;

/// A format that can be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Jpeg,
    Tiff,
    Png,
    /// What the `image` crate decodes, with the format's name.
    Other(ImageFormat, &'static str),
}

impl Format {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "JPEG",
            Self::Tiff => "TIFF",
            Self::Png => "PNG",
            Self::Other(_, name) => name,
        }
    }
}

/// The allowed format that the first bytes announce.
pub(super) fn sniff(bytes: &[u8]) -> Option<Format> {
    // Large TIFFs have another version.
    if bytes.starts_with(b"II+\0") || bytes.starts_with(b"MM\0+") {
        return Some(Format::Tiff);
    }
    Some(match image::guess_format(bytes).ok()? {
        ImageFormat::Jpeg => Format::Jpeg,
        ImageFormat::Tiff => Format::Tiff,
        ImageFormat::Png => Format::Png,
        ImageFormat::WebP => Format::Other(ImageFormat::WebP, "WebP"),
        ImageFormat::Gif => Format::Other(ImageFormat::Gif, "GIF"),
        ImageFormat::Bmp => Format::Other(ImageFormat::Bmp, "BMP"),
        ImageFormat::Pnm => Format::Other(ImageFormat::Pnm, "PNM"),
        _ => return None,
    })
}

/// The usual ending of the name of such a picture; `None` for what can't be decoded.
pub fn extension(bytes: &[u8]) -> Option<&'static str> {
    Some(match sniff(bytes)? {
        Format::Jpeg => "jpg",
        Format::Tiff => "tiff",
        Format::Png => "png",
        Format::Other(format, _) => format.extensions_str().first()?,
    })
}

/// What a file without an allowed format seems to be, for the error message.
pub(super) fn describe(bytes: &[u8]) -> &'static str {
    let head = &bytes[..bytes.len().min(1024)];
    if let Some(brand) = bytes.get(4..12).and_then(|b| b.strip_prefix(b"ftyp")) {
        return match brand {
            b"avif" | b"avis" => "an AVIF picture",
            _ => "a video",
        };
    }
    if head.starts_with(b"%PDF") {
        return "a PDF document";
    }
    if head.starts_with(b"PK\x03\x04") {
        return "a zip archive";
    }
    if head.starts_with(b"\0\0\0\x0cjP  ") || head.starts_with(b"\xff\x4f\xff\x51") {
        return "a JPEG 2000 picture";
    }
    if head.starts_with(b"\0\0\x01\0") {
        return "an icon";
    }
    if head.starts_with(b"\xff\x0a") || head.starts_with(b"\0\0\0\x0cJXL ") {
        return "a JPEG XL picture";
    }
    if head.iter().all(|&byte| byte == 0) {
        return "zero bytes";
    }
    if head.contains(&0) {
        return "unknown binary data";
    }
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    if text.contains("<svg") {
        "an SVG drawing"
    } else if text.contains("<html") || text.contains("<!doctype html") {
        "an HTML page"
    } else if text.contains(char::REPLACEMENT_CHARACTER) && bytes.len() < 1024 {
        "unknown binary data"
    } else {
        "text"
    }
}

/// Whether the file is a photo in HEIF, of whatever kind, as phones make them.
pub(super) fn is_heif(bytes: &[u8]) -> bool {
    let brand = bytes.get(4..12).and_then(|head| head.strip_prefix(b"ftyp"));
    let brands: [&[u8]; 8] = [
        b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1",
    ];
    brand.is_some_and(|brand| brands.contains(&brand))
}

#[cfg(test)]
mod tests {
    use crate::image::decode::{DecodeError, Limits, decode};

    #[test]
    fn strangers_are_described() {
        let described = [
            (&b"\0\0\0\x1cftypavif\0\0\0\0"[..], "an AVIF picture"),
            (b"\0\0\0\x18ftypmp42\0\0\0\0", "a video"),
            (b"\0\0\0\x0cjP  \r\n", "a JPEG 2000 picture"),
            (b"\0\0\x01\0\x01\0", "an icon"),
            (b"%PDF-1.7", "a PDF document"),
            (b"PK\x03\x04", "a zip archive"),
            (b"\0\0\0", "zero bytes"),
            (b"<!DOCTYPE html><p>404", "an HTML page"),
            (b"<svg xmlns=", "an SVG drawing"),
            (b"a rose is a rose", "text"),
            (b"\x93\x01\x02\xf5", "unknown binary data"),
        ];
        for (bytes, expected) in described {
            let error = decode(bytes, &Limits::default()).unwrap_err();
            assert!(
                matches!(error, DecodeError::NotAPicture { looks_like } if looks_like == expected),
                "{error}"
            );
        }
    }

    #[test]
    fn a_phones_photo_gets_the_command_that_converts_it() {
        for brand in ["heic", "mif1", "heix"] {
            let bytes = format!("\0\0\0\x18ftyp{brand}\0\0\0\0");
            let error = decode(bytes.as_bytes(), &Limits::default()).unwrap_err();
            assert!(error.to_string().contains("heif-convert"), "{error}");
        }
    }
}
