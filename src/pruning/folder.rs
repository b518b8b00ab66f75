//! The folder of a pruning: its steps, and what was asked for.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::importance::Importance;
use crate::bundle;
use crate::error::{Error, Result, shown};
use crate::files;

/// What makes a pruning what it is, besides the configurations of its runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Asked {
    pub model_sha256: String,
    pub macs: Option<f64>,
    pub speedup: Option<f64>,
    pub max_drop: Option<f64>,
    pub steps: Option<usize>,
    pub importance: Importance,
    pub samples: u32,
    pub round_to: usize,
}

/// What it has come to.
#[derive(Serialize, Deserialize)]
struct Begun {
    asked: Asked,
    /// Fractions of the operations, step by step.
    fractions: Vec<f64>,
}

const BEGUN: &str = "steps.json";

/// What a pruning writes besides its steps.
const FILES: [&str; 4] = ["split.json", BEGUN, "prune.json", bundle::FILE];

/// The run of a step, counted from 1, and the pruned network that it starts from.
pub(crate) fn step(out: &Path, number: usize) -> (PathBuf, PathBuf) {
    let run = out.join(format!("step-{number}"));
    let start = out.join(format!("step-{number}.safetensors"));
    (run, start)
}

/// Whether a pruning writes a file or folder of this name.
pub(crate) fn is_own(name: &str) -> bool {
    let is_step = name.strip_prefix("step-").is_some_and(|rest| {
        let number = rest.strip_suffix(".safetensors").unwrap_or(rest);
        number.parse::<usize>().is_ok()
    });
    is_step || FILES.contains(&name)
}

impl Asked {
    /// The fractions of the steps as they were written down when the pruning began; `None` if it has not.
    ///
    /// # Errors
    /// [`Error::Usage`] when something else was asked for then, naming it; [`Error::Data`] for a
    /// damaged file.
    pub(crate) fn fractions(&self, out: &Path) -> Result<Option<Vec<f64>>> {
        let path = out.join(BEGUN);
        if !path.exists() {
            return Ok(None);
        }
        let begun: Begun = serde_json::from_slice(&files::read(&path)?)
            .map_err(|cause| Error::Data(format!("{} is damaged: {cause}", shown(&path))))?;
        let (was, is) = (options(&begun.asked)?, options(self)?);
        let differing = was
            .iter()
            .filter(|(name, value)| is.get(*name) != Some(value));
        let differing: Vec<String> = differing
            .map(|(name, value)| match name.as_str() {
                "model-sha256" => "another model".into(),
                name => format!("--{name} {}, not {}", text(value), text(&is[name])),
            })
            .collect();
        match differing.is_empty() {
            true => Ok(Some(begun.fractions)),
            false => Err(Error::Usage(format!(
                "{} was begun with {}: give the same options as then, or choose another --out",
                shown(out),
                differing.join(", ")
            ))
            .into()),
        }
    }

    /// Writes down what the steps are.
    ///
    /// # Errors
    /// [`Error::Environment`] when it can't be written.
    pub(crate) fn begin(&self, out: &Path, fractions: &[f64]) -> Result<()> {
        let begun = Begun {
            asked: self.clone(),
            fractions: fractions.to_vec(),
        };
        let text = serde_json::to_string_pretty(&begun)? + "\n";
        files::write_atomically(&out.join(BEGUN), |sink| sink.write_all(text.as_bytes()))
    }
}

fn options(asked: &Asked) -> Result<Map<String, Value>> {
    Ok(serde_json::from_value(serde_json::to_value(asked)?)?)
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_its_own() {
        for own in ["step-1", "step-12.safetensors", "prune.json"] {
            assert!(is_own(own), "{own}");
        }
        for other in ["step-x", "step-", "resnet18", "step-1.txt"] {
            assert!(!is_own(other), "{other}");
        }
    }

    #[test]
    fn other_options_are_named() {
        let out = tempfile::tempdir().unwrap();
        let asked = Asked {
            model_sha256: "ab".into(),
            macs: Some(0.5),
            speedup: None,
            max_drop: None,
            steps: None,
            importance: Importance::Taylor,
            samples: 512,
            round_to: 8,
        };
        assert_eq!(asked.fractions(out.path()).unwrap(), None);
        asked.begin(out.path(), &[0.7, 0.5]).unwrap();
        let again = asked.fractions(out.path()).unwrap();
        assert_eq!(again, Some(vec![0.7, 0.5]));
        let other = Asked {
            model_sha256: "cd".into(),
            macs: Some(0.25),
            steps: Some(2),
            ..asked
        };
        let refused = other.fractions(out.path()).unwrap_err().to_string();
        let differences = "another model, --macs 0.5, not 0.25, --steps none, not 2";
        assert!(refused.contains(differences), "{refused}");
    }
}
