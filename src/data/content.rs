//! The bytes of a photo, which are its identity: bounded reading, SHA-256, hexadecimal.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::image::Limits;

/// A SHA-256 digest.
pub type Hash = [u8; 32];

/// SHA-256 of the pieces, one after the other.
pub fn sha256(pieces: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new();
    for piece in pieces {
        hasher.update(piece);
    }
    hasher.finalize().into()
}

/// Reads a file, but never more than one byte beyond `limits.max_bytes`: enough for the decoder
/// to see, and to say, that it is too big.
///
/// # Errors
/// The operating system's, and `InvalidInput` for what is no regular file: a pipe would block.
pub fn read(path: &Path, limits: &Limits) -> io::Result<Vec<u8>> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        ));
    }
    let most = limits.max_bytes.saturating_add(1);
    let expected = usize::try_from(metadata.len().min(most)).unwrap_or(0);
    let mut bytes = Vec::with_capacity(expected);
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Lower-case hexadecimal.
pub fn hex(hash: &Hash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The inverse of [`hex`]; `None` for anything but 64 hexadecimal digits.
pub fn parse_hex(text: &str) -> Option<Hash> {
    let mut hash = [0; 32];
    if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(hash)
}

/// [`Hash`] fields as hexadecimal strings, for `#[serde(with = "...")]`.
pub(super) mod serde_hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::Hash;

    pub fn serialize<S: Serializer>(hash: &Hash, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::hex(hash))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Hash, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::parse_hex(&text)
            .ok_or_else(|| D::Error::custom(format!("{text:?} is no SHA-256: 64 digits expected")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_the_standard() {
        // FIPS 180-4, example "abc".
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(&sha256(&[b"a", b"bc"])), digest);
        assert_eq!(parse_hex(digest), Some(sha256(&[b"abc"])));
    }

    #[test]
    fn what_is_no_digest_is_refused() {
        assert_eq!(parse_hex("ba78"), None);
        assert_eq!(parse_hex(&"+1".repeat(32)), None);
        assert_eq!(parse_hex(&"é".repeat(32)), None);
    }

    #[test]
    fn a_big_file_is_read_up_to_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("big");
        std::fs::write(&path, vec![7; 100]).unwrap();
        let limits = |max_bytes| Limits {
            max_bytes,
            ..Limits::default()
        };
        assert_eq!(read(&path, &limits(10)).unwrap().len(), 11);
        assert_eq!(read(&path, &limits(100)).unwrap().len(), 100);
        assert!(read(folder.path(), &limits(100)).is_err());
    }
}
