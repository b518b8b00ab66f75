//! Class names and their ids: the sorted names, each at its place.

pub mod flora;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, shown};

/// The classes of a data set or model. A class's id is its place among the sorted names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Labels(Vec<String>);

impl Labels {
    /// Sorts the names by bytes.
    ///
    /// # Errors
    /// [`Error::Data`] for an empty or repeated name.
    pub fn new(names: impl IntoIterator<Item = impl Into<String>>) -> Result<Self> {
        let mut names: Vec<String> = names.into_iter().map(Into::into).collect();
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

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn id(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|known| known == name)
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
        let names = Vec::deserialize(deserializer)?;
        Self::in_order(names).map_err(serde::de::Error::custom)
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
    fn a_stored_order_is_kept() {
        let labels: Labels = serde_json::from_str(r#"["b", "a"]"#).unwrap();
        assert_eq!(labels.id("b"), Some(0));
    }
}
