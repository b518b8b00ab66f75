//! The parameters that training starts from: pretrained weights, a file, or random ones.

use std::fmt;
use std::path::{Path, PathBuf};

use super::checkpoint;
use super::config::{Config, WeightsSource};
use super::positions;
use crate::bundle::{self, Bundle};
use crate::error::{Error, Result, shown, some};
use crate::graph::{Channels, Graph, Parameter, is_below};
use crate::models::{Architecture, pretrained};
use crate::names::{nearest, plain};
use crate::progress::Progress;
use crate::weights::{self, Dtype, StateDict, hashed, without_prefix};

/// What `--weights` refers to, read but not yet fitted to a network.
pub(super) enum InitialWeights {
    Random {
        /// Set if the user did not ask for random initialisation.
        warning: Option<String>,
    },
    File {
        path: PathBuf,
        sha256: String,
        weights: StateDict,
        /// Of the network that they are the weights of, where it says so itself.
        channels: Option<Channels>,
    },
}

/// Where the parameters of a network come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Origin {
    Random,
    File {
        path: PathBuf,
        /// Prefix that was removed from the names of the parameters.
        prefix: String,
        /// Whether the classifier is that of the file rather than a random one.
        with_classifier: bool,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::File {
            path,
            prefix,
            with_classifier,
        } = self
        else {
            return f.write_str("random initialisation");
        };
        let prefix = match prefix.as_str() {
            "" => String::new(),
            prefix => format!(" (prefix {} removed)", shown(prefix)),
        };
        let classifier = match with_classifier {
            true => "with its classifier",
            false => "with a new classifier",
        };
        write!(f, "{}{prefix}, {classifier}", shown(path))
    }
}

impl InitialWeights {
    /// Reads what `--weights` refers to. `None` if it has to be downloaded first, which can wait
    /// until everything else has been checked: see [`InitialWeights::download`].
    ///
    /// # Errors
    /// [`Error::Usage`] for a word that is neither a keyword nor a file, [`Error::Data`] for a file
    /// that holds no weights or is not the one that the configuration was written for,
    /// [`Error::Environment`] for weights that the user has to get.
    pub(super) fn read(config: &Config, progress: &dyn Progress) -> Result<Option<Self>> {
        match &config.weights {
            WeightsSource::None => Ok(Some(Self::Random { warning: None })),
            WeightsSource::Imagenet | WeightsSource::Auto => {
                match config.arch.source.is_downloaded() {
                    true => Ok(None),
                    false => Self::download(config, progress).map(Some),
                }
            }
            WeightsSource::File(named) => {
                let path = bundle::located(named.clone());
                if !path.exists()
                    && let Some(mistake) = mistaken(&named.display().to_string())
                {
                    return Err(mistake.into());
                }
                Self::of_file(path, config).map(Some)
            }
        }
    }

    /// Pretrained weights, downloaded if they are not in the cache.
    ///
    /// # Errors
    /// [`Error::Environment`] when they can't be downloaded and `--weights` is not `auto`.
    pub(super) fn download(config: &Config, progress: &dyn Progress) -> Result<Self> {
        match pretrained::fetch(&config.arch.source, progress) {
            Ok(path) => Self::of_file(path, config),
            Err(cause) if config.weights == WeightsSource::Auto => Ok(Self::Random {
                warning: Some(format!(
                    "TRAINING FROM SCRATCH, accuracy on real photos will be lower: {cause:#}"
                )),
            }),
            Err(cause) => Err(cause),
        }
    }

    fn of_file(path: PathBuf, config: &Config) -> Result<Self> {
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
            _ => Ok(Self::File {
                channels: channels(&path, config),
                path,
                sha256,
                weights,
            }),
        }
    }

    /// Records in the configuration what `auto` came to, the file's hash, and the channels of a
    /// pruned network, so that the configuration repeats the run.
    pub(super) fn record(&self, config: &mut Config) {
        let (source, sha256) = match self {
            Self::Random { .. } => (WeightsSource::None, None),
            Self::File { sha256, .. } => (WeightsSource::Imagenet, Some(sha256.clone())),
        };
        if config.weights == WeightsSource::Auto {
            config.weights = source;
        }
        config.weights_sha256 = sha256;
        if let Self::File {
            channels: Some(channels),
            ..
        } = self
        {
            config.channels.clone_from(channels);
        }
    }

    /// Parameters for a graph. The classifier is taken from the file if it fits, and is random
    /// otherwise.
    ///
    /// # Errors
    /// [`Error::Data`] when a file does not fit the network, listing what is missing, unexpected,
    /// or of another shape.
    pub(super) fn parameters(self, config: &Config, graph: &Graph) -> Result<(StateDict, Origin)> {
        let random = graph.initialise(config.seed);
        let Self::File { path, weights, .. } = self else {
            return Ok((random, Origin::Random));
        };
        let is_known = |name: &str| {
            let renamed = (config.arch.renamed)(name);
            random.contains_key(renamed.as_deref().unwrap_or(name))
        };
        let (stored, prefix) = without_prefix(weights, is_known);
        let mut stored = translated(config.arch, stored);
        positions::resample(graph, &mut stored)?;
        let with_classifier = fits_classifier(config.arch, graph, &stored);
        let (weights, mismatch) = fitted(config.arch, graph, stored, random, with_classifier);
        if let Some(mismatch) = mismatch.described() {
            let message = format!(
                "{} does not fit {}: parameters {mismatch}; give weights of this architecture, or \
                 choose the --arch that they belong to",
                shown(path),
                config.arch.name,
            );
            return Err(Error::Data(message).into());
        }
        let origin = Origin::File {
            path,
            prefix,
            with_classifier,
        };
        Ok((weights, origin))
    }
}

/// The channels of the network in a model file; `None` for other files and other architectures.
fn channels(path: &Path, config: &Config) -> Option<Channels> {
    let (Bundle { manifest, .. }, _) = Bundle::read(path).ok()?;
    (manifest.architecture == config.arch.name).then_some(manifest.channels)
}

/// Why weights can't be trained from, and what to give instead.
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

/// What a word that is no file was probably meant to be; `None` if it looks like a file's name.
fn mistaken(named: &str) -> Option<Error> {
    const FILES: [&str; 6] = ["pth", "pt", "safetensors", "ckpt", "bin", "th"];
    let extension = Path::new(named).extension().and_then(|e| e.to_str());
    if extension.is_some_and(|extension| FILES.contains(&extension)) {
        return None;
    }
    let word = plain(named);
    let is_one_of = |words: &[&str]| words.contains(&&*word);
    let meant = if is_one_of(&["random", "scratch", "no", "false", "null"]) {
        Some("none")
    } else if ["imagenet", "default", "pretrained"]
        .iter()
        .any(|part| word.contains(part))
        || is_one_of(&["true", "yes"])
    {
        Some("imagenet")
    } else {
        nearest(named, WeightsSource::KEYWORDS)
    };
    let is_word = !named.contains(['.', '/', '\\']);
    let meant = match meant {
        Some(meant) => format!(", did you mean {meant}?"),
        None if is_word => ".".into(),
        None => return None,
    };
    Some(Error::Usage(format!(
        "--weights {named:?}: there is no such file{meant} Choices: {}, or a .pth or .safetensors \
         file",
        WeightsSource::KEYWORDS.join(", ")
    )))
}

/// Stored parameters by the names that the network has for them, without those that it does without.
fn translated(architecture: &Architecture, stored: StateDict) -> StateDict {
    let is_ignored = |name: &str| {
        let mut ignored = architecture.ignored.iter();
        ignored.any(|layer| is_below(name, layer))
    };
    let kept = stored.into_iter().filter(|(name, _)| !is_ignored(name));
    kept.map(|(name, tensor)| ((architecture.renamed)(&name).unwrap_or(name), tensor))
        .collect()
}

fn in_classifier(architecture: &Architecture, parameter: &Parameter) -> bool {
    is_below(&parameter.name, architecture.head)
}

/// Whether stored weights have the whole classifier of a graph.
fn fits_classifier(architecture: &Architecture, graph: &Graph, stored: &StateDict) -> bool {
    let mut parameters = graph
        .parameters()
        .filter(|p| in_classifier(architecture, p));
    parameters.all(|p| stored.get(&p.name).is_some_and(|t| t.shape == p.shape))
}

/// Stored parameters for a graph, and what does not fit. Without its stored classifier, the graph
/// gets the random one.
fn fitted(
    architecture: &Architecture,
    graph: &Graph,
    mut stored: StateDict,
    mut random: StateDict,
    with_classifier: bool,
) -> (StateDict, Mismatch) {
    let mut weights = StateDict::new();
    let mut mismatch = Mismatch::default();
    for parameter in graph.parameters() {
        let is_new = in_classifier(architecture, &parameter) && !with_classifier;
        let (name, shape) = (parameter.name, parameter.shape);
        let initial = random.remove(&name);
        let tensor = match stored.remove(&name) {
            _ if is_new => initial,
            Some(tensor) if tensor.shape == shape => Some(tensor),
            Some(tensor) => {
                let line = format!("{name} {:?} instead of {shape:?}", tensor.shape);
                mismatch.misshaped.push(line);
                None
            }
            // Files from before PyTorch 0.4.1 do not count batches.
            None if name.ends_with(".num_batches_tracked") => initial,
            None => {
                mismatch.missing.push(name.clone());
                None
            }
        };
        weights.extend(tensor.map(|tensor| (name, tensor)));
    }
    let rest = stored.into_iter().map(|(name, _)| name);
    let unexpected = rest.filter(|name| !is_below(name, architecture.head));
    mismatch.unexpected = unexpected.collect();
    (weights, mismatch)
}

/// Parameters that keep a file from fitting a network.
#[derive(Default)]
struct Mismatch {
    missing: Vec<String>,
    unexpected: Vec<String>,
    misshaped: Vec<String>,
}

impl Mismatch {
    fn described(&self) -> Option<String> {
        let kinds = [
            ("missing", &self.missing),
            ("unexpected", &self.unexpected),
            ("of another shape", &self.misshaped),
        ];
        let lines: Vec<String> = kinds
            .iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(kind, names)| {
                let listed = some(names.iter().map(shown));
                format!("{} {kind} ({listed})", names.len())
            })
            .collect();
        (!lines.is_empty()).then(|| lines.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models;
    use crate::training::Settings;

    /// The parameters for a network of 1000 classes that a file's are taken for.
    fn initial(arch: &str, weights: StateDict) -> Result<(StateDict, Origin)> {
        let settings = Settings {
            arch: Some(arch.into()),
            ..Settings::default()
        };
        let config = settings.resolve()?;
        let graph = config.arch.graph(&config.model_options(1000))?;
        let file = InitialWeights::File {
            path: "file.pth".into(),
            sha256: String::new(),
            weights,
            channels: None,
        };
        file.parameters(&config, &graph)
    }

    fn published(arch: &str) -> StateDict {
        let architecture = models::find(arch).unwrap();
        let graph = architecture.graph(&architecture.imagenet()).unwrap();
        graph.initialise(7)
    }

    fn with_names(weights: &StateDict, name: impl Fn(&str) -> String) -> StateDict {
        let renamed = weights
            .iter()
            .map(|(key, tensor)| (name(key), tensor.clone()));
        renamed.collect()
    }

    #[test]
    fn older_names_and_wrappers_are_understood() {
        let weights = published("densenet121");
        let old = |name: &str| {
            let parts = [
                ("norm1.", "norm.1."),
                ("norm2.", "norm.2."),
                ("conv1.", "conv.1."),
                ("conv2.", "conv.2."),
            ];
            let mut name = name.to_owned();
            if name.contains("denselayer") {
                for (new, old) in parts {
                    name = name.replace(new, old);
                }
            }
            name
        };
        let stored = with_names(&weights, old);
        assert!(stored.contains_key("features.denseblock1.denselayer1.norm.1.weight"));
        let (found, origin) = initial("densenet121", stored.clone()).unwrap();
        assert_eq!(found, weights);
        let expected = Origin::File {
            path: "file.pth".into(),
            prefix: String::new(),
            with_classifier: true,
        };
        assert_eq!(origin, expected);
        for wrapper in ["module.", "model.", "net.", "module._orig_mod."] {
            let wrapped = with_names(&stored, |name| format!("{wrapper}{name}"));
            let (found, origin) = initial("densenet121", wrapped).unwrap();
            assert_eq!(found, weights, "{wrapper}");
            assert!(origin.to_string().contains(wrapper), "{origin}");
        }
    }

    #[test]
    fn auxiliary_classifiers_are_passed_over() {
        let weights = published("googlenet");
        let mut stored = weights.clone();
        for name in ["aux1.conv.conv.weight", "aux2.fc2.bias"] {
            stored.insert(name.into(), weights["fc.bias"].clone());
        }
        let (found, _) = initial("googlenet", stored.clone()).unwrap();
        assert_eq!(found, weights);
        stored.insert("aux3.weight".into(), weights["fc.bias"].clone());
        let message = initial("googlenet", stored).unwrap_err().to_string();
        assert!(message.contains("1 unexpected (aux3.weight)"), "{message}");
    }
}
