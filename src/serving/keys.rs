//! API keys, compared in constant time.

use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use axum::http::{HeaderMap, HeaderName, header};
use subtle::{Choice, ConstantTimeEq};

use crate::data::content::{Hash, sha256};
use crate::error::{Error, Result, shown};
use crate::files;

pub const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The keys of a file, one per line; empty lines and those that begin with `#` are ignored.
pub struct ApiKeys {
    file: PathBuf,
    /// All of the same length, so that comparing them does not reveal a key's.
    hashes: RwLock<Vec<Hash>>,
}

impl ApiKeys {
    /// # Errors
    /// [`Error::Data`] for a file that can't be read or holds no key.
    pub fn read(file: &Path) -> Result<Self> {
        Ok(Self {
            hashes: RwLock::new(hashes(file)?),
            file: file.into(),
        })
    }

    /// Reads the file again; keeps the keys if that fails.
    ///
    /// # Errors
    /// As [`ApiKeys::read`].
    pub fn reload(&self) -> Result<()> {
        let read = hashes(&self.file)?;
        *self.hashes.write().unwrap_or_else(PoisonError::into_inner) = read;
        Ok(())
    }

    /// Whether a request has one of the keys, as `Authorization: Bearer` or `X-API-Key`.
    pub fn authorize(&self, headers: &HeaderMap) -> bool {
        let bearer = headers
            .get(header::AUTHORIZATION)
            .map(|value| value.as_bytes());
        let bearer = bearer.and_then(|value| match value.split_at_checked(7)? {
            (scheme, key) if scheme.eq_ignore_ascii_case(b"bearer ") => Some(key),
            _ => None,
        });
        let given = headers.get(API_KEY).map(|value| value.as_bytes());
        let Some(key) = given.or(bearer) else {
            return false;
        };
        let hash = sha256(&[key.trim_ascii()]);
        let hashes = self.hashes.read().unwrap_or_else(PoisonError::into_inner);
        let same = hashes.iter().map(|known| known.ct_eq(&hash));
        same.fold(Choice::from(0), |any, one| any | one).into()
    }
}

fn hashes(file: &Path) -> Result<Vec<Hash>> {
    let bytes = files::read(file)?;
    let lines = bytes.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    let keys = lines.filter(|line| !line.is_empty() && !line.starts_with(b"#"));
    let hashes: Vec<Hash> = keys.map(|key| sha256(&[key])).collect();
    if hashes.is_empty() {
        let message = format!("{} contains no API key: write one per line", shown(file));
        return Err(Error::Data(message).into());
    }
    Ok(hashes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn keys_come_in_two_headers_and_are_read_anew() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        std::fs::write(&file, "# ours\n\nsecret-one\r\n secret-two \n").unwrap();
        let keys = ApiKeys::read(&file).unwrap();
        let authorized = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            keys.authorize(&headers)
        };
        assert!(authorized("x-api-key", "secret-one"));
        assert!(authorized("authorization", "bearer secret-two"));
        for (name, value) in [
            ("x-api-key", "secret-on"),
            ("x-api-key", ""),
            ("x-api-key", "# ours"),
            ("authorization", "secret-one"),
            ("authorization", "Basic secret-one"),
            ("authorization", "Bearer"),
        ] {
            assert!(!authorized(name, value), "{name}: {value}");
        }
        assert!(!keys.authorize(&HeaderMap::new()));

        std::fs::write(&file, "\n").unwrap();
        assert!(keys.reload().is_err());
        assert!(authorized("x-api-key", "secret-one"));
        std::fs::write(&file, "another").unwrap();
        keys.reload().unwrap();
        assert!(!authorized("x-api-key", "secret-one"));
        assert!(authorized("x-api-key", "another"));
    }
}
