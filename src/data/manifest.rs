//! The split manifest, `split.json`: which photo is in which part, by content.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::content::{self, Hash, serde_hex};
use super::photo::Part;
use crate::error::{Error, Result, shown, some};
use crate::files;
use crate::labels::Labels;

/// The newest manifest schema that is understood.
pub const SCHEMA: u32 = 1;

/// A split, written down so that it can be repeated on any machine that has the same photos.
///
/// The text has one line a photo, sorted by class and hash: added photos are added lines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SplitManifest {
    pub schema: u32,
    pub seed: u64,
    pub fractions: Fractions,
    pub labels: Labels,
    pub train: Vec<Entry>,
    pub val: Vec<Entry>,
    pub test: Vec<Entry>,
}

/// The shares of each class that were asked for; a part that the folder came with has its own.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Fractions {
    pub val: f64,
    pub test: f64,
}

/// One photo of a part. The hash and the class identify it; the file's name is for the reader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    #[serde(with = "serde_hex")]
    pub sha256: Hash,
    pub class: String,
    pub file: String,
}

impl SplitManifest {
    pub fn part(&self, part: Part) -> &[Entry] {
        match part {
            Part::Train => &self.train,
            Part::Val => &self.val,
            Part::Test => &self.test,
        }
    }

    /// The manifest's text, JSON.
    ///
    /// # Errors
    /// None in practice: serialising strings and numbers to memory.
    pub fn to_json(&self) -> Result<String> {
        let mut text = format!(
            "{{\n  \"schema\": {},\n  \"seed\": {},\n  \"fractions\": {},\n  \"labels\": {}",
            self.schema,
            self.seed,
            serde_json::to_string(&self.fractions)?,
            serde_json::to_string(&self.labels)?,
        );
        for part in Part::ALL {
            write!(text, ",\n  \"{part}\": [")?;
            for (index, entry) in self.part(part).iter().enumerate() {
                let comma = if index == 0 { "" } else { "," };
                write!(text, "{comma}\n    {}", serde_json::to_string(entry)?)?;
            }
            text.push_str("\n  ]");
        }
        text.push_str("\n}\n");
        Ok(text)
    }

    /// SHA-256 of the manifest's text, hexadecimal: what `sha256sum split.json` says.
    ///
    /// # Errors
    /// Those of [`SplitManifest::to_json`].
    pub fn sha256(&self) -> Result<String> {
        Ok(content::hex(&content::sha256(&[self
            .to_json()?
            .as_bytes()])))
    }

    /// Writes the manifest, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Environment`] when the file can't be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = self.to_json()?;
        files::write_atomically(path, |sink| sink.write_all(text.as_bytes()))
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// [`Error::Data`] naming the file: not readable, not a manifest, of a newer schema, a class
    /// outside its labels, or a photo listed twice.
    pub fn read(path: &Path) -> Result<Self> {
        let refuse = |what: String| Error::Data(format!("{}: {what}", shown(path)));
        Ok(Self::parse(&files::read(path)?).map_err(refuse)?)
    }

    /// The manifest that a text holds, or what is wrong with it.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let corrupt = |cause: serde_json::Error| {
            format!("not a split manifest ({cause}); make one with `flowers data split`")
        };
        let schema: SchemaOnly = serde_json::from_slice(text).map_err(corrupt)?;
        if schema.schema > SCHEMA {
            return Err(format!(
                "the split manifest has schema {}, newer than {SCHEMA}; update flowers",
                schema.schema
            ));
        }
        let manifest: Self = serde_json::from_slice(text).map_err(corrupt)?;
        manifest.consistent()?;
        Ok(manifest)
    }

    fn consistent(&self) -> Result<(), String> {
        let mut seen = BTreeMap::new();
        for part in Part::ALL {
            for entry in self.part(part) {
                if self.labels.id(&entry.class).is_none() {
                    return Err(format!(
                        "{} has the class {}, which is not among the labels",
                        shown(&entry.file),
                        shown(&entry.class)
                    ));
                }
                if let Some(first) = seen.insert(entry.sha256, part) {
                    return Err(format!(
                        "{} is listed twice, in {first} and {part}",
                        shown(&entry.file)
                    ));
                }
            }
        }
        Ok(())
    }

    /// Compares the classes with a folder's.
    ///
    /// # Errors
    /// What differs, naming the classes.
    pub(super) fn same_classes(&self, folder: &Labels) -> Result<(), String> {
        let lacking = |from: &Labels, names: &[String]| -> Vec<String> {
            let lacks = |name: &&String| from.id(name).is_none();
            names.iter().filter(lacks).map(shown).collect()
        };
        let missing = lacking(folder, self.labels.names());
        let extra = lacking(&self.labels, folder.names());
        let mut differences = Vec::new();
        if !missing.is_empty() {
            differences.push(format!("lacks {}", some(missing)));
        }
        if !extra.is_empty() {
            differences.push(format!("also has {}", some(extra)));
        }
        if differences.is_empty() {
            return Ok(());
        }
        Err(differences.join(" and "))
    }
}

#[derive(Deserialize)]
struct SchemaOnly {
    schema: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(content: u8, class: &str) -> Entry {
        Entry {
            sha256: [content; 32],
            class: class.into(),
            file: format!("{class}/{content}.jpg"),
        }
    }

    fn manifest() -> SplitManifest {
        SplitManifest {
            schema: SCHEMA,
            seed: 7,
            fractions: Fractions {
                val: 0.15,
                test: 0.15,
            },
            labels: Labels::new(["a", "b"]).unwrap(),
            train: vec![entry(1, "a"), entry(2, "b")],
            val: vec![entry(3, "a")],
            test: vec![],
        }
    }

    #[test]
    fn the_text_has_a_line_a_photo_and_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("split.json");
        manifest().write(&path).unwrap();
        assert_eq!(SplitManifest::read(&path).unwrap(), manifest());
        let bytes = std::fs::read(&path).unwrap();
        let digest = content::hex(&content::sha256(&[&bytes]));
        assert_eq!(manifest().sha256().unwrap(), digest);
        let text = String::from_utf8(bytes).unwrap();
        let line = format!(
            r#"    {{"sha256":"{}","class":"a","file":"a/3.jpg"}}"#,
            "03".repeat(32)
        );
        assert!(text.lines().any(|found| found == line), "{text}");
    }

    #[test]
    fn a_photo_in_two_parts_is_refused() {
        let mut twice = manifest();
        twice.test.push(entry(1, "a"));
        let message = twice.consistent().unwrap_err();
        assert_eq!(message, "a/1.jpg is listed twice, in train and test");
    }

    #[test]
    fn a_class_outside_the_labels_is_refused() {
        let mut stray = manifest();
        stray.val.push(entry(9, "z"));
        assert!(stray.consistent().unwrap_err().contains("class z"));
    }
}
