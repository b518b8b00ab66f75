//! The size of a cache as people write it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

const UNITS: [(&str, u64); 4] = [
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
];

/// A number of bytes, e.g. `500MB` or `1.5 GB`, in units of a thousand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CacheSize(pub u64);

impl Default for CacheSize {
    fn default() -> Self {
        Self(4_000_000_000)
    }
}

impl FromStr for CacheSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected a size, e.g. 500MB or 4GB".to_string();
        let split = text.find(|c: char| c.is_ascii_alphabetic());
        let (number, unit) = text.split_at(split.ok_or_else(expected)?);
        let unit = UNITS
            .into_iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(unit))
            .ok_or_else(expected)?;
        let number: f64 = number.trim().parse().map_err(|_| expected())?;
        let bytes = number * unit.1 as f64;
        if !(1.0..=1e18).contains(&bytes) {
            return Err(expected());
        }
        Ok(Self(bytes as u64))
    }
}

impl TryFrom<String> for CacheSize {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<CacheSize> for String {
    fn from(size: CacheSize) -> Self {
        size.to_string()
    }
}

/// In the largest unit that gives at least 1, without loss.
impl fmt::Display for CacheSize {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = UNITS.into_iter().find(|(_, bytes)| self.0 >= *bytes);
        let (name, bytes) = found.unwrap_or(("kB", 1_000));
        write!(formatter, "{}{name}", self.0 as f64 / bytes as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        let sizes = [
            ("4GB", 4_000_000_000, "4GB"),
            ("1.5 gb", 1_500_000_000, "1.5GB"),
            ("500mb", 500_000_000, "500MB"),
            ("20kB", 20_000, "20kB"),
            ("2TB", 2_000_000_000_000, "2TB"),
        ];
        for (text, bytes, written) in sizes {
            let size: CacheSize = text.parse().unwrap();
            assert_eq!((size.0, size.to_string()), (bytes, written.to_string()));
        }
        for wrong in [
            "", "4", "GB", "0GB", "-1GB", "4GiB", "4 G B", "nanGB", "1e99TB",
        ] {
            let refused = wrong.parse::<CacheSize>().unwrap_err();
            assert!(refused.starts_with("expected a size"), "{wrong}");
        }
    }
}
