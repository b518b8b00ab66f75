//! The hash of a photo's bytes, which is its identity.

use sha2::{Digest, Sha256};

pub use crate::weights::hashed::hex;

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

    pub(crate) fn serialize<S: Serializer>(hash: &Hash, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::hex(hash))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Hash, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::parse_hex(&text)
            .ok_or_else(|| D::Error::custom(format!("{text:?} is not a SHA-256 hash of 64 digits")))
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
}
