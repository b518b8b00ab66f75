//! The configuration of a run: complete, checked, and stored with everything that the run writes.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::distillation::{DistillMethod, Distillation};
use super::optimizer::Algorithm;
use super::phase::{Frozen, Inputs, LayerName, Method, Phase, Views};
use super::precision::PrecisionChoice;
use super::recipe::{InputKind, PhaseTemplate, Recipe, TrainedLayers, VIEWS};
use super::schedule::Scheduler;
use crate::data::{CacheMode, CacheSize, SplitOptions};
use crate::device::DeviceChoice;
use crate::error::Result;
use crate::graph::Channels;
use crate::image::augment::Augmentations;
use crate::image::policy::Policy;
use crate::models::{self, Architecture, Head};

/// Defaults of distillation.
const DISTILL_WEIGHT: f64 = 0.5;
const TEMPERATURE: f64 = 4.0;

/// A complete, checked configuration. As TOML it is a `--config` file that repeats the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Config {
    pub arch: &'static Architecture,
    pub recipe: &'static Recipe,
    pub weights: WeightsSource,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights_sha256: Option<String>,
    pub epochs: usize,
    pub batch_size: usize,
    pub lr: f64,
    /// Whether a range test is still to replace that learning rate.
    #[serde(skip)]
    pub find_lr: bool,
    pub optimizer: Algorithm,
    pub scheduler: Scheduler,
    pub warmup: f64,
    pub weight_decay: f64,
    pub label_smoothing: f64,
    /// Batches whose mean gradient is one step.
    #[serde(default = "one")]
    pub accumulate: usize,
    /// The largest norm of the gradients as one vector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_grad_norm: Option<f64>,
    /// Decay of the moving average of the weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mixup: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cutmix: Option<f64>,
    /// Models to learn from besides the labels; absent, as the next four, where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub teacher: Vec<PathBuf>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub teacher_sha256: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distill_method: Option<DistillMethod>,
    /// Share of the loss that is the teachers'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distill_weight: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// A folder of photos without labels, for the teachers to label; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unlabelled: Option<PathBuf>,
    /// Of the hashes of those photos.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unlabelled_sha256: Option<String>,
    /// Units of a hidden layer in the classifier, 0 for none; `None` for the recipe's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden: Option<usize>,
    pub dropout: f64,
    /// The first layer that is trained; `None` trains all.
    #[serde(with = "freeze_until")]
    pub freeze_until: Option<LayerName>,
    pub class_weights: bool,
    /// Epochs without improvement that end a phase; 0 for never.
    pub early_stop: usize,
    pub image_size: usize,
    /// This and the next are absent in configurations written before they existed.
    #[serde(default)]
    pub augment: Policy,
    #[serde(default)]
    pub random_erasing: f64,
    pub workers: usize,
    pub threads: usize,
    pub device: DeviceChoice,
    /// Absent in configurations written before mixed precision existed.
    #[serde(default)]
    pub precision: PrecisionChoice,
    /// Absent, as the next, in configurations written before there was a cache.
    #[serde(default)]
    pub cache: CacheMode,
    #[serde(default)]
    pub cache_size: CacheSize,
    pub seed: u64,
    pub val: f64,
    pub test: f64,
    pub max_bad: f64,
    /// Seconds that the run may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_budget: Option<f64>,
    pub checkpoint_minutes: f64,
    /// Of layers that have fewer than the architecture's.
    #[serde(default, skip_serializing_if = "Channels::is_empty")]
    pub channels: Channels,
}

/// Where initial weights come from, as `--weights` names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum WeightsSource {
    /// Pretrained weights of the architecture.
    Imagenet,
    /// Random initialisation.
    None,
    /// Pretrained weights if they are available, else random initialisation.
    Auto,
    File(PathBuf),
}

impl WeightsSource {
    /// What `--weights` takes besides a file.
    pub const KEYWORDS: [&str; 3] = ["imagenet", "none", "auto"];
}

impl From<String> for WeightsSource {
    fn from(text: String) -> Self {
        match text.as_str() {
            "imagenet" => Self::Imagenet,
            "none" => Self::None,
            "auto" => Self::Auto,
            _ => Self::File(text.into()),
        }
    }
}

impl From<WeightsSource> for String {
    fn from(source: WeightsSource) -> Self {
        source.to_string()
    }
}

impl fmt::Display for WeightsSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Imagenet => f.write_str("imagenet"),
            Self::None => f.write_str("none"),
            Self::Auto => f.write_str("auto"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

fn one() -> usize {
    1
}

/// `--freeze-until` as text: a layer, or `none`.
pub(super) mod freeze_until {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::LayerName;
    use crate::error::Result;

    const NONE: &str = "none";

    pub(crate) fn parse(text: String) -> Option<LayerName> {
        (text != NONE).then(|| LayerName::new(text))
    }

    pub(crate) fn serialize<S: Serializer>(
        layer: &Option<LayerName>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(layer.as_ref().map_or(NONE, LayerName::as_str))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<LayerName>, D::Error> {
        String::deserialize(deserializer).map(parse)
    }
}

impl Config {
    /// The phases of the run, in order.
    pub fn phases(&self) -> Vec<Phase> {
        let templates = self.recipe.phases.iter();
        templates
            .map(|template| Phase {
                name: template.name,
                epochs: template.epochs.unwrap_or(self.epochs),
                learning_rate: template.lr_factor * self.lr,
                inputs: self.inputs(template),
                method: template.method,
                interpolation: template.interpolation,
                keeps_last: template.keeps_last,
                frozen: match (&template.trains, &self.freeze_until) {
                    (TrainedLayers::Classifier, _) => Frozen::Backbone,
                    (TrainedLayers::Unfrozen, Some(layer)) => Frozen::Before(layer.clone()),
                    (TrainedLayers::Unfrozen, None) => Frozen::Nothing,
                },
            })
            .collect()
    }

    /// Epochs in which the classifier is solved for, and epochs of training steps, if no phase is
    /// stopped early.
    pub fn epochs_by_method(&self) -> [usize; 2] {
        let phases = self.phases();
        [Method::LogisticRegression, Method::GradientDescent].map(|method| {
            let own = phases.iter().filter(|phase| phase.method == method);
            own.map(|phase| phase.epochs).sum()
        })
    }

    /// How the network learns from its teachers, if it has any.
    pub(super) fn distillation(&self) -> Option<Distillation> {
        (!self.teacher.is_empty()).then(|| Distillation {
            method: self.distill_method.unwrap_or_default(),
            weight: self.distill_weight.unwrap_or(DISTILL_WEIGHT),
            temperature: self.temperature.unwrap_or(TEMPERATURE),
        })
    }

    /// The random transforms of the training photos.
    pub(super) fn augmentations(&self) -> Augmentations {
        let size = self.image_size as u32;
        let mean = (self.arch.preprocessing)(size).mean;
        let of_recipe = (self.recipe.augmentations)(size);
        let augmentations = of_recipe.with_policy(self.augment);
        augmentations.with_erasing(self.random_erasing, mean)
    }

    fn inputs(&self, template: &PhaseTemplate) -> Inputs {
        let augmentations = self.augmentations();
        let trains_all =
            matches!(template.trains, TrainedLayers::Unfrozen) && self.freeze_until.is_none();
        match template.inputs {
            // Nothing is frozen whose values could be kept.
            InputKind::Features if trains_all => Inputs::Photos(augmentations),
            InputKind::Photos => Inputs::Photos(augmentations),
            InputKind::Features => Inputs::Features(Views {
                count: VIEWS,
                augmentations,
            }),
        }
    }

    /// How the photos are split.
    pub fn split_options(&self) -> SplitOptions {
        SplitOptions {
            val: self.val,
            test: self.test,
            seed: self.seed,
        }
    }

    /// Units of the hidden layer in the classifier, if it has one.
    pub(super) fn hidden(&self) -> Option<usize> {
        let units = self.hidden.or(self.recipe.hidden);
        units.filter(|&units| units > 0)
    }

    /// The network to build for this many classes.
    pub fn model_options(&self, classes: usize) -> models::Options {
        models::Options {
            classes,
            image_size: self.image_size,
            head: Head {
                hidden: self.hidden(),
                dropout: self.dropout,
            },
            channels: self.channels.clone(),
        }
    }

    /// The configuration as a `--config` file.
    pub fn to_toml(&self) -> Result<String> {
        Ok(toml::to_string(self)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::{LearningRate, Settings};

    /// What flowers 0.1 wrote before there was a choice of precision.
    const OLD: &str = r#"
arch = "mobilenet_v2"
recipe = "two-phase"
weights = "photos/weights.pth"
epochs = 3
batch-size = 16
lr = 0.0001
optimizer = "adam"
scheduler = "constant"
warmup = 0.0
weight-decay = 0.0
label-smoothing = 0.0
dropout = 0.2
freeze-until = "features.14"
class-weights = false
early-stop = 0
image-size = 96
workers = 2
threads = 2
device = "cpu"
seed = 7
val = 0.15
test = 0.15
max-bad = 0.01
checkpoint-minutes = 10.0
"#;

    #[test]
    fn configurations_of_older_runs_load_and_keep_their_form() {
        let config: Config = toml::from_str(OLD).unwrap();
        assert_eq!(config.arch.head, "classifier.1");
        assert_eq!(
            config.weights,
            WeightsSource::File("photos/weights.pth".into())
        );
        assert_eq!(config.freeze_until, Some(LayerName::new("features.14")));
        let added = "precision = \"float32\"\ncache = \"off\"\ncache-size = \"4GB\"\nseed";
        let with_defaults = OLD
            .replace("seed", added)
            .replace("dropout", "accumulate = 1\ndropout")
            .replace(
                "workers",
                "augment = \"recipe\"\nrandom-erasing = 0.0\nworkers",
            );
        assert_eq!(config.to_toml().unwrap(), with_defaults.trim_start());
    }

    #[test]
    fn keywords_are_no_files() {
        for keyword in WeightsSource::KEYWORDS {
            let source = WeightsSource::from(keyword.to_owned());
            assert!(!matches!(source, WeightsSource::File(_)), "{keyword}");
            assert_eq!(source.to_string(), keyword);
        }
    }

    #[test]
    fn two_phase_trains_the_classifier_and_then_the_last_stage() {
        let settings = Settings {
            recipe: Some("two-phase".into()),
            lr: Some(LearningRate::Rate(0.5)),
            ..Settings::default()
        };
        let [head, fine_tune] = settings.resolve().unwrap().phases().try_into().unwrap();
        assert_eq!((head.learning_rate, head.frozen), (5.0, Frozen::Backbone));
        assert_eq!(fine_tune.learning_rate, 0.5);
        assert_eq!(fine_tune.frozen, Frozen::Before(LayerName::new("layer4")));
    }
}
