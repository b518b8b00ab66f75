//! Class names and their ids: indices into the sorted names.

pub mod flora;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use unicode_normalization::{UnicodeNormalization, is_nfc};

use crate::error::{Error, Result, shown};
use crate::names::plain;

/// The classes of a data set or model. A class's id is its index among the sorted names.
///
/// Names are in Unicode's normal form C, so that a folder which a Mac made has the same class as
/// one that looks the same elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Labels(Vec<String>);

impl Labels {
    /// Sorts the names by bytes.
    ///
    /// # Errors
    /// [`Error::Data`] for an empty or repeated name.
    pub fn new(names: impl IntoIterator<Item = impl Into<String>>) -> Result<Self> {
        let mut names: Vec<String> = names.into_iter().map(Into::into).map(composed).collect();
        names.sort();
        Self::in_order(names)
    }

    /// Takes the names in the order given, as a model file stores them.
    fn in_order(names: Vec<String>) -> Result<Self> {
        let mut seen = std::collections::BTreeSet::new();
        for name in &names {
            if name.is_empty() {
                return Err(Error::Data("a class has an empty name".into()).into());
            }
            if !seen.insert(name) {
                let message = format!("two classes have the name {}", shown(name));
                return Err(Error::Data(message).into());
            }
        }
        Ok(Self(names))
    }

    /// Names that differ in case, spaces or punctuation only, and so may well be one class.
    pub fn lookalikes(&self) -> Vec<Vec<&str>> {
        let mut alike: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for name in &self.0 {
            alike.entry(plain(name)).or_default().push(name);
        }
        alike.remove("");
        alike
            .into_values()
            .filter(|names| names.len() > 1)
            .collect()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn id(&self, name: &str) -> Option<usize> {
        let name = normalized(name);
        self.0.iter().position(|known| *known == name)
    }

    /// The name of a class, or `None` past the last.
    pub fn name(&self, id: usize) -> Option<&str> {
        self.0.get(id).map(String::as_str)
    }

    pub fn names(&self) -> &[String] {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        Self::in_order(names.into_iter().map(composed).collect()).map_err(serde::de::Error::custom)
    }
}

/// A name in Unicode's normal form C.
pub fn normalized(name: &str) -> Cow<'_, str> {
    if is_nfc(name) {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(name.nfc().collect())
    }
}

fn composed(name: String) -> String {
    match normalized(&name) {
        Cow::Borrowed(_) => name,
        Cow::Owned(composed) => composed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_the_sorted_names() {
        let labels = Labels::new(["tulip", "daisy", "Rose"]).unwrap();
        assert_eq!(labels.names(), ["Rose", "daisy", "tulip"]);
        assert_eq!(labels.id("tulip"), Some(2));
        assert_eq!(labels.id("orchid"), None);
        assert_eq!(labels.name(3), None);
    }

    #[test]
    fn a_repeated_name_is_refused() {
        assert!(Labels::new(["a", "a"]).is_err());
        assert!(serde_json::from_str::<Labels>(r#"["b", "b"]"#).is_err());
    }

    #[test]
    fn a_name_is_the_same_however_it_is_composed() {
        let (composed, decomposed) = ("c\u{e9}leri", "ce\u{301}leri");
        let labels = Labels::new([decomposed]).unwrap();
        assert_eq!(labels.names(), [composed]);
        assert_eq!(labels.id(decomposed), Some(0));
        let stored: Labels = serde_json::from_str(&format!("[\"{decomposed}\"]")).unwrap();
        assert_eq!(stored, labels);
        assert!(Labels::new([composed, decomposed]).is_err());
    }

    #[test]
    fn names_that_nearly_agree_are_noticed() {
        let labels = Labels::new(["Rose", "rose", "sun flower", "sunflower", "tulip", "+", "-"]);
        let alike = labels.unwrap();
        assert_eq!(
            alike.lookalikes(),
            [vec!["Rose", "rose"], vec!["sun flower", "sunflower"]]
        );
    }

    #[test]
    fn a_stored_order_is_kept() {
        let labels: Labels = serde_json::from_str(r#"["b", "a"]"#).unwrap();
        assert_eq!(labels.id("b"), Some(0));
    }
}
