//! What a file is by its first bytes, for messages about files that were given by mistake.

/// Bytes that [`kind`] wants to see.
pub const START: usize = 128;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Safetensors,
    /// Parameters or programs that PyTorch saved.
    Torch(&'static str),
    /// A network of another runtime.
    Network(&'static str),
    Picture(&'static str),
    Other(&'static str),
}

/// Beginnings of files, the longer ones first.
const BEGINNINGS: &[(&[u8], Kind)] = &[
    (
        b"version https://git-lfs",
        Kind::Other("a Git LFS pointer (fetch the file itself with `git lfs pull`)"),
    ),
    (
        b"\x89HDF\r\n\x1a\n",
        Kind::Network("an HDF5 file, as Keras writes them"),
    ),
    (b"\x89PNG\r\n\x1a\n", Kind::Picture("a PNG picture")),
    (b"\xff\xd8\xff", Kind::Picture("a JPEG picture")),
    (b"GIF8", Kind::Picture("a GIF picture")),
    (b"II*\0", Kind::Picture("a TIFF picture")),
    (b"MM\0*", Kind::Picture("a TIFF picture")),
    (b"PK\x05\x06", Kind::Other("an empty zip file")),
    (b"PK\x03\x04", Kind::Other("a zip file")),
    (
        b"\x80",
        Kind::Torch("a pickle, as PyTorch's older .pth files are"),
    ),
    (
        b"\x1f\x8b",
        Kind::Other("compressed with gzip (unpack it first)"),
    ),
    (b"%PDF", Kind::Other("a PDF document")),
    (b"\x08", Kind::Network("perhaps an ONNX file")),
    (
        b"<",
        Kind::Other("a web page, perhaps from a download that failed"),
    ),
    (b"{", Kind::Other("JSON text")),
];

impl Kind {
    /// With its article: "a JPEG picture".
    pub fn name(self) -> &'static str {
        match self {
            Self::Safetensors => "a safetensors file",
            Self::Torch(name) | Self::Network(name) | Self::Picture(name) | Self::Other(name) => {
                name
            }
        }
    }
}

/// Whether a file begins as the safetensors format does: the size of its header, and JSON.
pub fn is_safetensors(start: &[u8]) -> bool {
    matches!(start, [_, _, _, _, _, _, 0, 0, b'{', ..])
}

/// What begins like this: the first [`START`] bytes of a file, or all of a shorter one.
pub fn kind(start: &[u8]) -> Kind {
    let has = |word: &[u8]| start.windows(word.len()).any(|part| part == word);
    match start {
        [] => Kind::Other("empty"),
        _ if is_safetensors(start) => Kind::Safetensors,
        [b'P', b'K', 3, 4, ..] if has(b"/data.pkl") => Kind::Torch("a PyTorch file (.pth, .pt)"),
        [_, _, _, _, b'T', b'F', b'L', b'3', ..] => Kind::Network("a TensorFlow Lite file"),
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => Kind::Picture("a WebP picture"),
        // The size, and reserved zeros.
        [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => Kind::Picture("a BMP picture"),
        [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] => match brand {
            [b'h', b'e', ..] | [b'm', b'i' | b's', b'f', b'1', ..] => {
                Kind::Picture("a HEIC picture")
            }
            [b'a', b'v', b'i', ..] => Kind::Picture("an AVIF picture"),
            _ => Kind::Other("a video"),
        },
        _ => {
            let known = BEGINNINGS
                .iter()
                .find(|(magic, _)| start.starts_with(magic));
            known.map_or(Kind::Other(unknown(start)), |(_, kind)| *kind)
        }
    }
}

fn unknown(start: &[u8]) -> &'static str {
    let is_text = |byte: &u8| !byte.is_ascii_control() || b"\t\n\r\x0c".contains(byte);
    match start {
        _ if start.is_ascii() && start.iter().all(is_text) => "text",
        // Of which no format could be told.
        _ if start.len() < 9 => "cut short",
        _ => "of an unknown format",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_by_how_they_begin() {
        for (start, name) in [
            (&b"\xff\xd8\xff\xe0\0\x10JFIF"[..], "a JPEG picture"),
            (
                b"PK\x03\x04____archive/data.pkl",
                "a PyTorch file (.pth, .pt)",
            ),
            (b"PK\x03\x04____photos/rose.jpg", "a zip file"),
            (b"\x1c\0\0\0TFL3", "a TensorFlow Lite file"),
            (b"RIFF____WEBPVP8 ", "a WebP picture"),
            (b"\0\0\0\x18ftypheic", "a HEIC picture"),
            (b"\0\0\0\x18ftypmif1", "a HEIC picture"),
            (b"\0\0\0\x18ftypavif", "an AVIF picture"),
            (b"\0\0\0\x18ftypmp42", "a video"),
            (b"BM\x36\x10\0\0\0\0\0\0\x36", "a BMP picture"),
            (b"BMW and other makes", "text"),
            (b"\x08\x00\0\0\0\0\0\0{\"a\"", "a safetensors file"),
            (b"\x08\x09\x12\x07pytorch", "perhaps an ONNX file"),
            (b"a rose is a rose", "text"),
            (b"\x01\x02\x03", "cut short"),
            (
                b"\x01\x02\x03\x04\x05\x06\x07\x08\x09",
                "of an unknown format",
            ),
            (b"", "empty"),
        ] {
            assert_eq!(kind(start).name(), name);
        }
    }
}
