//! What a file is, by its first bytes.

use image::ImageFormat;

/// A format that can be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Jpeg,
    Tiff,
    Png,
    #[cfg(feature = "heif")]
    Heif,
    /// What the `image` crate decodes, with the format's name.
    Other(ImageFormat, &'static str),
}

impl Format {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "JPEG",
            Self::Tiff => "TIFF",
            Self::Png => "PNG",
            #[cfg(feature = "heif")]
            Self::Heif => "HEIF",
            Self::Other(_, name) => name,
        }
    }
}

/// The allowed format that the first bytes announce.
pub(super) fn sniff(bytes: &[u8]) -> Option<Format> {
    #[cfg(feature = "heif")]
    if is_heic(bytes) || is_avif(bytes) {
        return Some(Format::Heif);
    }
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
        #[cfg(feature = "heif")]
        Format::Heif if is_avif(bytes) => "avif",
        #[cfg(feature = "heif")]
        Format::Heif => "heic",
        Format::Other(format, _) => format.extensions_str().first()?,
    })
}

/// A picture of a format that can't be decoded.
pub(super) fn other_picture(bytes: &[u8]) -> Option<&'static str> {
    let begins = |with: &[u8]| bytes.starts_with(with);
    if is_avif(bytes) {
        Some("an AVIF picture")
    } else if begins(b"\0\0\0\x0cjP  ") || begins(b"\xff\x4f\xff\x51") {
        Some("a JPEG 2000 picture")
    } else if begins(b"\0\0\0\x0cJXL ") || begins(b"\xff\x0a") {
        Some("a JPEG XL picture")
    } else if begins(b"\0\0\x01\0") {
        Some("an icon")
    } else if brand(bytes) == Some(b"crx ") || begins(b"FUJIFILMCCD-RAW") {
        Some("a camera raw file")
    } else {
        None
    }
}

/// What a file without an allowed format seems to be, for the error message.
pub(super) fn describe(bytes: &[u8]) -> &'static str {
    let head = &bytes[..bytes.len().min(1024)];
    if brand(bytes).is_some() {
        return "a video";
    }
    if head.starts_with(b"%PDF") {
        return "a PDF document";
    }
    if head.starts_with(b"PK\x03\x04") {
        return "a zip archive";
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

/// Whether the file is a photo in HEIF and HEVC, as phones make them.
pub(super) fn is_heic(bytes: &[u8]) -> bool {
    let brands: [&[u8]; 8] = [
        b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1",
    ];
    brand(bytes).is_some_and(|brand| brands.contains(&brand))
}

fn is_avif(bytes: &[u8]) -> bool {
    brand(bytes).is_some_and(|brand| matches!(brand, b"avif" | b"avis"))
}

/// The chief brand of a file of ISO's base media format, which videos and HEIF photos are.
fn brand(bytes: &[u8]) -> Option<&[u8]> {
    bytes.get(4..12)?.strip_prefix(b"ftyp")
}

#[cfg(test)]
mod tests {
    use crate::image::decode::{DecodeError, Limits, decode};

    #[test]
    fn strangers_are_described() {
        let described = [
            (&b"\0\0\0\x18ftypmp42\0\0\0\0"[..], "a video"),
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
    fn pictures_of_other_formats_are_named() {
        let named = [
            #[cfg(not(feature = "heif"))]
            (&b"\0\0\0\x1cftypavif\0\0\0\0"[..], "an AVIF picture"),
            (&b"\0\0\0\x0cjP  \r\n"[..], "a JPEG 2000 picture"),
            (b"\xff\x0a\xfa\x7f", "a JPEG XL picture"),
            (b"\0\0\x01\0\x01\0", "an icon"),
            (b"\0\0\0\x18ftypcrx \0\0\0\x01", "a camera raw file"),
        ];
        for (bytes, expected) in named {
            let error = decode(bytes, &Limits::default()).unwrap_err();
            assert!(
                matches!(error, DecodeError::Unsupported { what } if what == expected),
                "{error}"
            );
        }
    }

    #[test]
    #[cfg(not(feature = "heif"))]
    fn a_phones_photo_gets_the_command_that_converts_it() {
        for brand in ["heic", "mif1", "heix"] {
            let bytes = format!("\0\0\0\x18ftyp{brand}\0\0\0\0");
            let error = decode(bytes.as_bytes(), &Limits::default()).unwrap_err();
            assert!(error.to_string().contains("heif-convert"), "{error}");
        }
    }
}
