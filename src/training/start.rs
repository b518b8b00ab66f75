//! Where a network starts: pretrained weights, a file, or random ones.

use std::path::{Path, PathBuf};

use super::checkpoint;
use super::settings::Config;
use crate::bundle;
use crate::error::{Error, Result, shown, some};
use crate::graph::{Graph, is_below};
use crate::models::{Architecture, pretrained};
use crate::names::{nearest, plain};
use crate::progress::Progress;
use crate::weights::{self, Dtype, StateDict, hashed, without_prefix};

/// Pretrained weights of the architecture.
const IMAGENET: &str = "imagenet";
/// Random parameters.
const NONE: &str = "none";
/// Pretrained weights if they can be had, else random parameters.
const AUTO: &str = "auto";

/// Initial parameters, before it is known how many classes there are.
pub enum Start {
    /// Random parameters, and why if the user did not ask for them.
    Scratch { warning: Option<String> },
    /// Those of a file, as they are.
    Stored {
        path: PathBuf,
        sha256: String,
        weights: StateDict,
    },
}

impl Start {
    /// What `--weights` asks for, read; or nothing if it has to be downloaded first, which can wait
    /// until everything else is known to be in order: see [`Start::download`].
    ///
    /// # Errors
    /// [`Error::Usage`] for a word that is neither known nor a file, [`Error::Data`] for a file
    /// that holds no weights or is not the one that the configuration was written for,
    /// [`Error::Environment`] for weights that the user has to get.
    pub fn at_hand(config: &Config, progress: &dyn Progress) -> Result<Option<Self>> {
        let named = config.weights.as_str();
        if named == NONE {
            return Ok(Some(Self::Scratch { warning: None }));
        }
        if named == IMAGENET || named == AUTO {
            let source = &config.architecture()?.source;
            return match source.is_downloaded() {
                true => Ok(None),
                false => Self::download(config, progress).map(Some),
            };
        }
        let path = bundle::located(named.into());
        if !path.exists()
            && let Some(mistake) = mistaken(named)
        {
            return Err(mistake.into());
        }
        Self::stored(path, config).map(Some)
    }

    /// Pretrained weights, downloaded if they are not in the cache.
    ///
    /// # Errors
    /// [`Error::Environment`] when they can't be had, unless the user can do without.
    pub fn download(config: &Config, progress: &dyn Progress) -> Result<Self> {
        match pretrained::fetch(&config.architecture()?.source, progress) {
            Ok(path) => Self::stored(path, config),
            Err(cause) if config.weights == AUTO => Ok(Self::Scratch {
                warning: Some(format!(
                    "TRAINING FROM SCRATCH, accuracy on real photos will be lower: {cause:#}"
                )),
            }),
            Err(cause) => Err(cause),
        }
    }

    fn stored(path: PathBuf, config: &Config) -> Result<Self> {
        let weights = weights::read(&path)?;
        if let Some((what, remedy)) = unsuitable(&weights) {
            let message = format!("{} {what}: give {remedy}", shown(&path));
            return Err(Error::Data(message).into());
        }
        let sha256 = hashed::of_file(&path)
            .map_err(|cause| Error::Data(format!("can't read {}: {cause}", shown(&path))))?;
        match &config.weights_sha256 {
            Some(expected) if *expected != sha256 => Err(Error::Data(format!(
                "{} is not the file that the configuration was written for: its SHA-256 is \
                 {sha256}, not {expected}; give the same file, or choose this one with --weights",
                shown(&path)
            ))
            .into()),
            _ => Ok(Self::Stored {
                path,
                sha256,
                weights,
            }),
        }
    }

    /// Writes down what `--weights` came to, so that the configuration repeats the run.
    pub fn record(&self, config: &mut Config) {
        let (weights, sha256) = match self {
            Self::Scratch { .. } => (NONE, None),
            Self::Stored { sha256, .. } => (IMAGENET, Some(sha256.clone())),
        };
        if config.weights == AUTO {
            config.weights = weights.into();
        }
        config.weights_sha256 = sha256;
    }

    /// Parameters for a graph, and a line on where they come from. The classifier is taken over
    /// when it fits, and is random otherwise.
    ///
    /// # Errors
    /// [`Error::Data`] when a file does not fit the network, listing what is missing, unexpected,
    /// or of another shape.
    pub fn parameters(self, config: &Config, graph: &Graph) -> Result<(StateDict, String)> {
        let random = graph.initialise(config.seed);
        let Self::Stored { path, weights, .. } = self else {
            return Ok((random, "random parameters".into()));
        };
        let is_known = |name: &str| random.contains_key(name);
        let (weights, prefix) = without_prefix(weights, is_known);
        let prefix = match prefix.is_empty() {
            true => String::new(),
            false => format!(" (prefix {} removed)", shown(&prefix)),
        };
        let (weights, kept) = fitted(config.architecture()?, graph, weights, random, &path)?;
        let head = if kept {
            "with its classifier"
        } else {
            "with a new classifier"
        };
        Ok((weights, format!("{}{prefix}, {head}", shown(path))))
    }
}

/// What weights are that nothing is trained from, and what to give instead.
fn unsuitable(weights: &StateDict) -> Option<(&'static str, &'static str)> {
    let is_checkpoint = weights
        .keys()
        .any(|name| name.starts_with(checkpoint::NETWORK));
    let is_int8 = weights.values().any(|tensor| tensor.dtype() == Dtype::I8);
    if is_checkpoint {
        Some((
            "is the checkpoint of a run",
            "the model.safetensors beside it",
        ))
    } else if is_int8 {
        Some(("is an int8 model", "the float model that it was made from"))
    } else {
        None
    }
}

/// What a word that is no file was probably meant to be, and what there is.
fn mistaken(named: &str) -> Option<Error> {
    const FILES: [&str; 6] = ["pth", "pt", "safetensors", "ckpt", "bin", "th"];
    let extension = Path::new(named).extension().and_then(|e| e.to_str());
    if extension.is_some_and(|extension| FILES.contains(&extension)) {
        return None;
    }
    let word = plain(named);
    let is_one_of = |words: &[&str]| words.contains(&&*word);
    let meant = if is_one_of(&["random", "scratch", "no", "false", "null"]) {
        Some(NONE)
    } else if ["imagenet", "default", "pretrained"]
        .iter()
        .any(|part| word.contains(part))
        || is_one_of(&["true", "yes"])
    {
        Some(IMAGENET)
    } else {
        nearest(named, [IMAGENET, NONE, AUTO])
    };
    let is_word = !named.contains(['.', '/', '\\']);
    let meant = match meant {
        Some(meant) => format!(", did you mean {meant}?"),
        None if is_word => ".".into(),
        None => return None,
    };
    Some(Error::Usage(format!(
        "--weights {named:?}: there is no such file{meant} Choices: {IMAGENET}, {NONE}, {AUTO}, \
         or a .pth or .safetensors file"
    )))
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
        let initial = random.remove(&name);
        let tensor = stored.remove(&name);
        let tensor = match tensor {
            _ if in_head(&name) && !keeps_head => initial,
            Some(tensor) if tensor.shape == parameter.shape => Some(tensor),
            Some(tensor) => {
                misshaped.push(format!(
                    "{name} {:?} instead of {:?}",
                    tensor.shape, parameter.shape
                ));
                None
            }
            // Checkpoints from before PyTorch 0.4.1 do not count batches.
            None if name.ends_with(".num_batches_tracked") => initial,
            None => {
                missing.push(name.clone());
                None
            }
        };
        weights.extend(tensor.map(|tensor| (name, tensor)));
    }
    let unexpected = stored.into_iter().map(|(name, _)| name);
    let unexpected = unexpected.filter(|name| !in_head(name)).collect();
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
            "{} does not fit {}: parameters {}; give weights of this architecture, or choose the \
             --arch that they belong to",
            shown(path),
            architecture.name,
            lines.join("; ")
        );
        Err(Error::Data(message).into())
    }
}
