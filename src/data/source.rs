//! Where the photos of a data set and their labels are.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf, absolute};

use serde::{Deserialize, Serialize};

use super::photo::Part;
use crate::error::{quoted, shown};

/// What a command line names as its data set. Serialised, paths may be any bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Source {
    /// A folder in one of the layouts.
    Folder(#[serde(with = "any_bytes")] PathBuf),
    /// A CSV file of labels; the paths in it start from `root`.
    Listed {
        #[serde(with = "any_bytes")]
        root: PathBuf,
        #[serde(with = "any_bytes")]
        table: PathBuf,
    },
    /// A folder of class folders for each part.
    Parts(Vec<PartFolder>),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartFolder {
    pub part: Part,
    #[serde(with = "any_bytes")]
    pub path: PathBuf,
}

impl Source {
    /// A file of labels whose paths start from where it is.
    pub fn listed(table: &Path) -> Self {
        let root = match table.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        Self::Listed {
            root: root.into(),
            table: table.into(),
        }
    }

    /// The folders that photos are read from.
    pub fn folders(&self) -> Vec<&Path> {
        match self {
            Self::Folder(path) | Self::Listed { root: path, .. } => vec![path],
            Self::Parts(parts) => parts.iter().map(|part| &*part.path).collect(),
        }
    }

    /// The deepest folder that holds all of [`Source::folders`].
    pub fn root(&self) -> PathBuf {
        let mut folders = self.folders().into_iter();
        let mut root = folders.next().unwrap_or(Path::new(""));
        for folder in folders {
            while !folder.starts_with(root) {
                root = root.parent().unwrap_or(Path::new(""));
            }
        }
        root.to_path_buf()
    }

    /// The same place from whatever folder the program runs in.
    ///
    /// # Errors
    /// When there is no working directory.
    pub fn absolute(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Folder(path) => Self::Folder(absolute(path)?),
            Self::Listed { root, table } => Self::Listed {
                root: absolute(root)?,
                table: absolute(table)?,
            },
            Self::Parts(parts) => {
                let absolute = |folder: &PartFolder| {
                    let (part, path) = (folder.part, absolute(&folder.path)?);
                    Ok(PartFolder { part, path })
                };
                Self::Parts(parts.iter().map(absolute).collect::<io::Result<_>>()?)
            }
        })
    }

    /// The command that looks for problems, as one line for a shell.
    pub fn check(&self) -> String {
        let words: Vec<String> = self.arguments().iter().map(quoted).collect();
        format!("flowers data check {}", words.join(" "))
    }

    /// The arguments that name it on a command line.
    pub fn arguments(&self) -> Vec<OsString> {
        match self {
            Self::Folder(path) => vec![path.into()],
            Self::Listed { root, table } => vec![root.into(), "--labels".into(), table.into()],
            Self::Parts(parts) => {
                let named = |folder: &PartFolder| {
                    let option = format!("--{}-dir", folder.part);
                    [option.into(), folder.path.clone().into()]
                };
                parts.iter().flat_map(named).collect()
            }
        }
    }
}

impl From<&Path> for Source {
    /// A folder, or what a CSV file lists.
    fn from(path: &Path) -> Self {
        let is_table = path
            .extension()
            .is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
        match is_table && !path.is_dir() {
            true => Self::listed(path),
            false => Self::Folder(path.into()),
        }
    }
}

/// One printable line.
impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => formatter.write_str(&shown(path)),
            Self::Listed { table, .. } => formatter.write_str(&shown(table)),
            Self::Parts(parts) => {
                let names: Vec<String> = parts.iter().map(|part| shown(&part.path)).collect();
                formatter.write_str(&names.join(" and "))
            }
        }
    }
}

/// Paths as the operating system's strings, which JSON text could not hold.
mod any_bytes {
    use std::ffi::OsString;
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        path.as_os_str().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<PathBuf, D::Error> {
        OsString::deserialize(deserializer).map(PathBuf::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> Source {
        let folder = |part, path: &str| PartFolder {
            part,
            path: path.into(),
        };
        Source::Parts(vec![
            folder(Part::Train, "photos/a/train"),
            folder(Part::Test, "photos/b"),
        ])
    }

    #[test]
    fn any_source_is_read_back() {
        let listed = Source::Listed {
            root: "photos".into(),
            table: "labels.csv".into(),
        };
        for source in [Source::Folder("photos".into()), listed, parts()] {
            let text = serde_json::to_string(&source).unwrap();
            assert_eq!(serde_json::from_str::<Source>(&text).unwrap(), source);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_name_may_be_any_bytes() {
        use std::os::unix::ffi::OsStringExt;
        let source = Source::Folder(OsString::from_vec(vec![b'a', 0xff]).into());
        let text = serde_json::to_string(&source).unwrap();
        assert_eq!(serde_json::from_str::<Source>(&text).unwrap(), source);
    }

    #[test]
    fn parts_have_a_root_and_a_name() {
        assert_eq!(parts().root(), Path::new("photos"));
        assert_eq!(parts().to_string(), "photos/a/train and photos/b");
        let arguments = ["--train-dir", "photos/a/train", "--test-dir", "photos/b"];
        assert_eq!(parts().arguments(), arguments);
        let table = Source::from(Path::new("my photos/labels.CSV"));
        let check = "flowers data check 'my photos' --labels 'my photos/labels.CSV'";
        assert_eq!(table.check(), check);
    }
}
