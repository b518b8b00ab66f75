//! The options of a training run, as the command line and a TOML file give them.

use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;

use super::config::{Config, WeightsSource, freeze_until};
use super::distillation::DistillMethod;
use super::optimizer::Algorithm;
use super::phase::LayerName;
use super::precision::PrecisionChoice;
use super::recipe;
use super::schedule::{LearningRate, Scheduler};
use crate::data::{CacheMode, CacheSize};
use crate::device::DeviceChoice;
use crate::error::{Error, Result};
use crate::graph::Channels;
use crate::image::policy::Policy;
use crate::machine;
use crate::models;
use crate::values::{count, number, seconds, seed};

/// The options of `flowers train` that a `--config` file may hold too, under the same names.
/// What is left out comes from the recipe.
#[derive(Debug, Clone, Default, PartialEq, Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[command(next_help_heading = "Training")]
pub struct Settings {
    /// Network to train; `flowers info` lists them [default: resnet18]
    #[arg(long, value_name = "NAME")]
    pub arch: Option<String>,
    /// Recipe, a set of defaults: classic, two-phase, fast or scratch; `flowers info` describes them
    /// [default: classic]
    #[arg(long, value_name = "NAME")]
    pub recipe: Option<String>,
    /// Initial weights: imagenet, none (random initialisation), auto (imagenet if available, else
    /// none), or a .pth or .safetensors file [default: imagenet]
    #[arg(long, value_name = "WEIGHTS")]
    pub weights: Option<String>,
    /// SHA-256 of the file that the weights were read from, recorded by the run.
    #[arg(skip)]
    pub weights_sha256: Option<String>,
    /// Passes over the training photos, per phase of the recipe [default: 25 for classic, 10 for
    /// two-phase, 6 for fast, 30 for scratch]
    #[arg(long, value_name = "N", value_parser = count)]
    pub epochs: Option<usize>,
    /// Photos per training step, of all processes together [default: 32]
    #[arg(long, value_name = "N", value_parser = count)]
    pub batch_size: Option<usize>,
    /// Peak learning rate, or auto to find one in a range test of some seconds (Smith, 2017)
    /// [default: 1e-4, 3e-4 for fast, 1e-3 for scratch; ten times as much for sgd]
    #[arg(long, value_name = "RATE", value_parser = LearningRate::parse)]
    pub lr: Option<LearningRate>,
    /// Optimizer [default: adam, or adamw for fast]
    #[arg(long)]
    pub optimizer: Option<Algorithm>,
    /// Learning rate schedule [default: step for classic, constant for two-phase, one-cycle for
    /// fast and scratch]
    #[arg(long)]
    pub scheduler: Option<Scheduler>,
    /// Epochs over which the learning rate rises from zero [default: 0]
    #[arg(long, value_name = "EPOCHS", value_parser = number)]
    pub warmup: Option<f64>,
    /// Weight decay, not applied to biases and normalisation layers [default: 0, or 0.01 for adamw]
    #[arg(long, value_name = "DECAY", value_parser = number)]
    pub weight_decay: Option<f64>,
    /// Label smoothing: the part of the target that is spread evenly over all classes [default:
    /// 0, or 0.1 for fast]
    #[arg(long, value_name = "FRACTION", value_parser = number)]
    pub label_smoothing: Option<f64>,
    /// Batches whose mean gradient is one training step, for larger steps than memory allows
    /// [default: 1]
    #[arg(long, value_name = "N", value_parser = count)]
    pub accumulate: Option<usize>,
    /// Clip the norm of all gradients together to this; 0 for never [default: 0]
    #[arg(long, value_name = "NORM", value_parser = number)]
    pub clip_grad_norm: Option<f64>,
    /// Keep an exponential moving average of the weights, e.g. with decay 0.999, and validate, save
    /// and test it in their place; 0 for none [default: 0, or 0.98 for fast]
    #[arg(long, value_name = "DECAY", value_parser = number)]
    pub ema: Option<f64>,
    /// MixUp: train on weighted sums of two photos, in proportions from a beta distribution with
    /// this alpha, e.g. 0.2; 0 for none [default: 0, or 0.2 for fast]
    #[arg(long, value_name = "ALPHA", value_parser = number)]
    pub mixup: Option<f64>,
    /// CutMix: replace a rectangle of each photo by that of another, in proportions from a beta
    /// distribution with this alpha, e.g. 1; with --mixup, each takes half of the batches; 0 for
    /// none [default: 0]
    #[arg(long, value_name = "ALPHA", value_parser = number)]
    pub cutmix: Option<f64>,
    /// Model to learn from besides the labels (knowledge distillation): a model file or the folder of a
    /// run. Its classes are matched by name. Several are averaged
    #[arg(long, value_name = "MODEL")]
    pub teacher: Option<Vec<PathBuf>>,
    /// SHA-256 of the teachers' files, recorded by the run.
    #[arg(skip)]
    pub teacher_sha256: Option<Vec<String>>,
    /// How to learn from the teachers [default: kd]
    #[arg(long)]
    pub distill_method: Option<DistillMethod>,
    /// Share of the loss that is the teachers'; the rest is that of the labels [default: 0.5]
    #[arg(long, value_name = "FRACTION", value_parser = number)]
    pub distill_weight: Option<f64>,
    /// What the logits of teachers and network are divided by for the loss; the larger, the more counts
    /// what the teachers think of other classes [default: 4]
    #[arg(long, value_name = "T", value_parser = number)]
    pub temperature: Option<f64>,
    /// Folder of photos without labels to train on too, in the classes that the teachers see in them; photos
    /// that the data set has are left out
    #[arg(long, value_name = "DIR")]
    pub unlabelled: Option<PathBuf>,
    /// SHA-256 of those photos, recorded by the run.
    #[arg(skip)]
    pub unlabelled_sha256: Option<String>,
    /// Units of a hidden layer in the classifier; 0 for none [default: 128 for two-phase, else 0]
    #[arg(long, value_name = "UNITS", value_parser = count)]
    pub hidden: Option<usize>,
    /// Dropout probability in front of the classifier [default: 0.2 for two-phase and fast, else
    /// the network's own]
    #[arg(long, value_name = "FRACTION", value_parser = number)]
    pub dropout: Option<f64>,
    /// First layer to train; the layers before it stay frozen. `flowers info ARCH` lists layers,
    /// `none` trains all [default: the last stage for two-phase and fast, else none]
    #[arg(long, value_name = "LAYER")]
    pub freeze_until: Option<String>,
    /// Weight classes in the loss by the inverse of their photo counts [default: false]
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub class_weights: Option<bool>,
    /// Patience: end a phase after this many epochs without improvement on the validation photos;
    /// 0 for never; fast always completes its last phase [default: 0]
    #[arg(long, value_name = "EPOCHS", value_parser = count)]
    pub early_stop: Option<usize>,
    /// Width and height of the images in pixels [default: the network's own, e.g. 224]
    #[arg(long, value_name = "PIXELS", value_parser = count)]
    pub image_size: Option<usize>,
    /// Random transforms of the training photos [default: recipe]
    #[arg(long, value_name = "POLICY")]
    pub augment: Option<Policy>,
    /// Probability that a rectangle of a training photo is erased (Zhong et al., 2017) [default: 0]
    #[arg(long, value_name = "PROBABILITY", value_parser = number)]
    pub random_erasing: Option<f64>,
    /// Threads that decode photos [default: one per core]
    #[arg(long, value_name = "N", value_parser = count)]
    pub workers: Option<usize>,
    /// Threads to compute with; they sleep sooner while other processes use the machine, unless
    /// OMP_WAIT_POLICY or GOMP_SPINCOUNT is set [default: one per core]
    #[arg(long, value_name = "N", value_parser = count)]
    pub threads: Option<usize>,
    /// Device to compute on [default: auto]
    #[arg(long)]
    pub device: Option<DeviceChoice>,
    /// Precision of convolutions and activations [default: auto]
    #[arg(long)]
    pub precision: Option<PrecisionChoice>,
    /// Keep decoded photos from one epoch to the next; random crops are then cut from photos whose
    /// shorter side is reduced to twice the image size [default: off]
    #[arg(long)]
    pub cache: Option<CacheMode>,
    /// Most bytes that decoded photos may take, e.g. 500MB; what is beyond is decoded in every epoch.
    /// As much for the features of the recipe fast, which are kept in the run's folder until it ends;
    /// fewer views of each photo are computed where all would take more [default: 4GB]
    #[arg(long, value_name = "SIZE")]
    pub cache_size: Option<CacheSize>,
    /// Random seed [default: 0]
    #[arg(long, value_name = "N", value_parser = seed)]
    pub seed: Option<u64>,
    /// Fraction of photos for validation, if the folder has no val part [default: 0.15]
    #[arg(long, value_name = "FRACTION", value_parser = number)]
    pub val: Option<f64>,
    /// Fraction of photos for testing, if the folder has no test part [default: 0.15]
    #[arg(long, value_name = "FRACTION", value_parser = number)]
    pub test: Option<f64>,
    /// Largest tolerated fraction of unreadable or damaged photos, 0 to 1; up to 5 photos are
    /// tolerated in any case, except at 0 [default: 0.01]
    #[arg(long, value_name = "FRACTION", value_parser = number)]
    pub max_bad: Option<f64>,
    /// Time for the whole run, e.g. 90s, 5m or 2h: as many epochs as fit, and with the recipe fast as
    /// many features [default: none]
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub time_budget: Option<f64>,
    /// Minutes between checkpoints within an epoch; 0 to save only at its end [default: 10]
    #[arg(long, value_name = "MINUTES", value_parser = number)]
    pub checkpoint_minutes: Option<f64>,
    /// Channels of a pruned network's layers, recorded by the run.
    #[arg(skip)]
    pub channels: Option<Channels>,
}

impl Settings {
    /// Reads a `--config` file.
    ///
    /// # Errors
    /// [`Error::Usage`] for an unknown key or a value of the wrong type.
    pub fn from_toml(text: &str) -> Result<Self> {
        toml::from_str(text).map_err(|cause| Error::Usage(one_line(&cause.to_string())).into())
    }

    /// These settings, completed by those of `below`.
    pub fn over(self, mut below: Self) -> Self {
        if self.weights.is_some() || self.arch.is_some() {
            // The hash belongs to other weights.
            below.weights_sha256 = None;
            below.channels = None;
        }
        if self.teacher.is_some() {
            below.teacher_sha256 = None;
        }
        if self.unlabelled.is_some() {
            below.unlabelled_sha256 = None;
        }
        macro_rules! pick {
            ($($field:ident),*) => { Self { $($field: self.$field.or(below.$field)),* } };
        }
        pick!(
            arch,
            recipe,
            weights,
            weights_sha256,
            epochs,
            batch_size,
            lr,
            optimizer,
            scheduler,
            warmup,
            weight_decay,
            label_smoothing,
            accumulate,
            clip_grad_norm,
            ema,
            mixup,
            cutmix,
            teacher,
            teacher_sha256,
            distill_method,
            distill_weight,
            temperature,
            unlabelled,
            unlabelled_sha256,
            hidden,
            dropout,
            freeze_until,
            class_weights,
            early_stop,
            image_size,
            augment,
            random_erasing,
            workers,
            threads,
            device,
            precision,
            cache,
            cache_size,
            seed,
            val,
            test,
            max_bad,
            time_budget,
            checkpoint_minutes,
            channels
        )
    }

    /// Parses names, fills in the defaults of recipe and machine, and checks every value.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the option and the values it takes.
    pub fn resolve(self) -> Result<Config> {
        let recipe = recipe::find(self.recipe.as_deref().unwrap_or("classic"))?;
        let architecture = models::find(self.arch.as_deref().unwrap_or("resnet18"))?;
        let optimizer = self.optimizer.unwrap_or(recipe.optimizer);
        let last_stage = || LayerName::new(architecture.fine_tune_from);
        let config = Config {
            arch: architecture,
            recipe,
            weights: self
                .weights
                .map_or(WeightsSource::Imagenet, WeightsSource::from),
            weights_sha256: self.weights_sha256,
            epochs: self.epochs.unwrap_or(recipe.epochs),
            batch_size: self.batch_size.unwrap_or(32),
            lr: match self.lr {
                Some(LearningRate::Rate(rate)) => rate,
                _ => recipe.lr * optimizer.usual_rate(),
            },
            find_lr: self.lr == Some(LearningRate::AUTO),
            optimizer,
            scheduler: self.scheduler.unwrap_or(recipe.scheduler),
            warmup: self.warmup.unwrap_or(0.0),
            weight_decay: self.weight_decay.unwrap_or(optimizer.usual_decay()),
            label_smoothing: self.label_smoothing.unwrap_or(recipe.label_smoothing),
            accumulate: self.accumulate.unwrap_or(1),
            clip_grad_norm: unless_zero(self.clip_grad_norm),
            ema: self
                .ema
                .map_or(recipe.ema, |decay| unless_zero(Some(decay))),
            mixup: self
                .mixup
                .map_or(recipe.mixup, |alpha| unless_zero(Some(alpha))),
            cutmix: unless_zero(self.cutmix),
            teacher: self.teacher.unwrap_or_default(),
            teacher_sha256: self.teacher_sha256.unwrap_or_default(),
            distill_method: self.distill_method,
            distill_weight: self.distill_weight,
            temperature: self.temperature,
            unlabelled: self.unlabelled,
            unlabelled_sha256: self.unlabelled_sha256,
            hidden: self.hidden,
            dropout: self
                .dropout
                .or(recipe.dropout)
                .unwrap_or(architecture.dropout),
            freeze_until: match self.freeze_until {
                Some(text) => freeze_until::parse(text),
                None => recipe.freezes.then(last_stage),
            },
            class_weights: self.class_weights.unwrap_or(false),
            early_stop: self.early_stop.unwrap_or(0),
            image_size: self.image_size.unwrap_or(architecture.image_size),
            augment: self.augment.unwrap_or_default(),
            random_erasing: self.random_erasing.unwrap_or(0.0),
            workers: self.workers.unwrap_or_else(machine::cores),
            threads: self.threads.unwrap_or_else(machine::compute_threads),
            device: self.device.unwrap_or(DeviceChoice::Auto),
            precision: self.precision.unwrap_or(PrecisionChoice::Auto),
            cache: self.cache.unwrap_or_default(),
            cache_size: self.cache_size.unwrap_or_default(),
            seed: self.seed.unwrap_or(0),
            val: self.val.unwrap_or(0.15),
            test: self.test.unwrap_or(0.15),
            max_bad: self.max_bad.unwrap_or(0.01),
            time_budget: self.time_budget,
            checkpoint_minutes: self.checkpoint_minutes.unwrap_or(10.0),
            channels: self.channels.unwrap_or_default(),
        };
        config.check()?;
        Ok(config)
    }
}

/// 0 switches off.
fn unless_zero(value: Option<f64>) -> Option<f64> {
    value.filter(|&value| value != 0.0)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolved_config_is_a_config_file() {
        let settings = Settings {
            recipe: Some("two-phase".into()),
            arch: Some("mobilenet_v2".into()),
            ..Settings::default()
        };
        let config = settings.resolve().unwrap();
        let again = Settings::from_toml(&config.to_toml().unwrap()).unwrap();
        assert_eq!(again.resolve().unwrap(), config);
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let line = Settings {
            epochs: Some(3),
            ..Settings::default()
        };
        let file = Settings {
            epochs: Some(9),
            lr: Some(LearningRate::Rate(0.5)),
            ..Settings::default()
        };
        let both = line.over(file);
        assert_eq!(
            (both.epochs, both.lr),
            (Some(3), Some(LearningRate::Rate(0.5)))
        );
    }

    #[test]
    fn a_learning_rate_is_a_number_or_to_be_found() {
        for (text, lr, find) in [
            ("lr = \"auto\"", 1e-4, true),
            ("lr = 1", 1.0, false),
            ("lr = 0.5", 0.5, false),
            ("", 1e-4, false),
        ] {
            let config = Settings::from_toml(text).unwrap().resolve().unwrap();
            assert_eq!((config.lr, config.find_lr), (lr, find), "{text}");
        }
        for text in ["lr = \"fast\"", "lr = true"] {
            assert!(Settings::from_toml(text).is_err(), "{text}");
        }
        assert_eq!(LearningRate::parse("auto"), Ok(LearningRate::AUTO));
        assert!(LearningRate::parse("x").unwrap_err().contains("auto"));
    }

    #[test]
    fn zero_switches_off() {
        let text = "ema = 0\nmixup = 0.0\ncutmix = 0\nclip-grad-norm = 0";
        let config = Settings::from_toml(text).unwrap().resolve().unwrap();
        let off = Settings::default().resolve().unwrap();
        assert_eq!(config, off);
        for (text, option) in [
            ("accumulate = 0", "--accumulate must be 1 to 4096"),
            ("ema = 1.0", "--ema must be"),
            ("mixup = -1", "--mixup must be"),
            ("cutmix = inf", "--cutmix must be"),
            ("clip-grad-norm = -0.5", "--clip-grad-norm must be"),
        ] {
            let settings = Settings::from_toml(text).unwrap();
            let said = settings.resolve().unwrap_err().to_string();
            assert!(said.contains(option), "{said}");
        }
    }

    #[test]
    fn the_hash_of_weights_goes_with_them() {
        let file = Settings {
            weights: Some("imagenet".into()),
            weights_sha256: Some("f37072fd".into()),
            ..Settings::default()
        };
        let weights = Settings {
            weights: Some("none".into()),
            ..Settings::default()
        };
        let arch = Settings {
            arch: Some("resnet34".into()),
            ..Settings::default()
        };
        for other in [weights, arch] {
            assert_eq!(other.over(file.clone()).weights_sha256, None);
        }
        let same = Settings::default().over(file.clone());
        assert_eq!(same.weights_sha256, file.weights_sha256);
    }

    #[test]
    fn mistakes_name_the_option() {
        let wrong = |settings: Settings| settings.resolve().unwrap_err().to_string();
        let lr = Settings {
            lr: Some(LearningRate::Rate(-1.0)),
            ..Settings::default()
        };
        assert_eq!(wrong(lr), "--lr must be a positive number");
        let layer = Settings {
            freeze_until: Some("layer9".into()),
            ..Settings::default()
        };
        assert!(wrong(layer).contains("layer4"));
        let arch = Settings {
            arch: Some("vgg".into()),
            ..Settings::default()
        };
        assert!(wrong(arch).contains("mobilenet_v2"));
        assert!(
            Settings::from_toml("epoch = 3")
                .unwrap_err()
                .to_string()
                .contains("epoch")
        );
    }
}
