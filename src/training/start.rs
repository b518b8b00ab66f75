//! Where a network starts: pretrained weights, a file, or chance.

use std::path::{Path, PathBuf};

use super::settings::Config;
use crate::error::{Error, Result, shown, some};
use crate::graph::{Graph, is_below};
use crate::models::{Architecture, pretrained};
use crate::progress::Progress;
use crate::weights::{self, StateDict};

/// Initial parameters, before it is known how many classes there are.
pub enum Start {
    /// Random parameters, and why if the user did not ask for them.
    Scratch { warning: Option<String> },
    /// Those of a file, as they are.
    Stored { path: PathBuf, weights: StateDict },
}

impl Start {
    /// Finds and reads what `--weights` asks for; downloads pretrained weights if need be.
    ///
    /// # Errors
    /// [`Error::Environment`] when pretrained weights can't be had, [`Error::Data`] for a file
    /// that holds none.
    pub fn locate(config: &Config, progress: &dyn Progress) -> Result<Self> {
        let source = &config.architecture()?.source;
        let path = match config.weights.as_str() {
            "none" => return Ok(Self::Scratch { warning: None }),
            "imagenet" => pretrained::fetch(source, progress)?,
            "auto" => match pretrained::fetch(source, progress) {
                Ok(path) => path,
                Err(cause) => {
                    let warning = format!(
                        "TRAINING FROM SCRATCH, accuracy on real photos will be lower: {cause:#}"
                    );
                    return Ok(Self::Scratch {
                        warning: Some(warning),
                    });
                }
            },
            file => file.into(),
        };
        let weights = weights::read(&path)?;
        Ok(Self::Stored { path, weights })
    }

    /// Parameters for a graph, and a line on where they come from. The classifier is taken over
    /// when it fits, and is random otherwise.
    ///
    /// # Errors
    /// [`Error::Data`] when a file does not fit the network, listing what is missing, unexpected,
    /// or of another shape.
    pub fn parameters(self, config: &Config, graph: &Graph) -> Result<(StateDict, String)> {
        let random = graph.initialise(config.seed);
        let Self::Stored { path, weights } = self else {
            return Ok((random, "random parameters".into()));
        };
        let (weights, kept) = fitted(config.architecture()?, graph, weights, random, &path)?;
        let head = if kept {
            "with its classifier"
        } else {
            "with a new classifier"
        };
        Ok((weights, format!("{}, {head}", shown(path))))
    }
}

/// Stored parameters for a graph, with the random classifier where the stored one does not fit.
/// Says whether the stored classifier was kept.
fn fitted(
    architecture: &Architecture,
    graph: &Graph,
    mut stored: StateDict,
    mut random: StateDict,
    path: &Path,
) -> Result<(StateDict, bool)> {
    let parameters: Vec<_> = graph.parameters().collect();
    let in_head = |name: &str| is_below(name, architecture.head);
    let keeps_head = parameters
        .iter()
        .filter(|parameter| in_head(&parameter.name))
        .all(|p| stored.get(&p.name).is_some_and(|t| t.shape == p.shape));
    let (mut missing, mut misshaped) = (Vec::new(), Vec::new());
    let mut weights = StateDict::new();
    for parameter in parameters {
        let name = parameter.name;
        let chance = random.remove(&name);
        let tensor = stored.remove(&name);
        let tensor = match tensor {
            _ if in_head(&name) && !keeps_head => chance,
            Some(tensor) if tensor.shape == parameter.shape => Some(tensor),
            Some(tensor) => {
                misshaped.push(format!(
                    "{name} {:?} instead of {:?}",
                    tensor.shape, parameter.shape
                ));
                None
            }
            // Checkpoints from before PyTorch 0.4.1 do not count batches.
            None if name.ends_with(".num_batches_tracked") => chance,
            None => {
                missing.push(name.clone());
                None
            }
        };
        weights.extend(tensor.map(|tensor| (name, tensor)));
    }
    let unexpected = stored.into_keys().filter(|name| !in_head(name)).collect();
    let kinds = [
        ("missing", missing),
        ("unexpected", unexpected),
        ("of another shape", misshaped),
    ];
    let lines: Vec<String> = kinds
        .iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(kind, names)| format!("{} {kind} ({})", names.len(), some(names.iter().map(shown))))
        .collect();
    if lines.is_empty() {
        Ok((weights, keeps_head))
    } else {
        let message = format!(
            "{} does not fit {}: parameters {}; give weights of this architecture, or the --arch \
             they belong to",
            shown(path),
            architecture.name,
            lines.join("; ")
        );
        Err(Error::Data(message).into())
    }
}
