//! Recipes: named sets of defaults for a training run.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

use super::optimizer::Algorithm;
use super::phase::Method;
use super::schedule::Scheduler;
use crate::error::Result;
use crate::image::augment::Augmentations;
use crate::names::{self, Named};

/// A named way to fine-tune. Serialized as its name.
pub struct Recipe {
    pub name: &'static str,
    /// One line for help texts.
    pub summary: &'static str,
    /// Epochs of each phase.
    pub epochs: usize,
    /// Peak learning rate.
    pub lr: f64,
    pub optimizer: Algorithm,
    pub scheduler: Scheduler,
    pub label_smoothing: f64,
    /// Decay of the moving average of the weights.
    pub ema: Option<f64>,
    /// Alpha of MixUp.
    pub mixup: Option<f64>,
    /// Units of a hidden layer in the classifier.
    pub hidden: Option<usize>,
    /// Dropout of the classifier; `None` leaves the architecture's own.
    pub dropout: Option<f64>,
    /// Whether `--freeze-until` defaults to the architecture's last stage rather than to `none`.
    pub freezes: bool,
    /// Whether the logits are divided by a temperature that fits the validation photos in the end.
    pub scales_logits: bool,
    /// The augmentations for images of this width and height in pixels.
    pub augmentations: fn(u32) -> Augmentations,
    pub phases: &'static [PhaseTemplate],
}

/// A phase relative to the run's configuration.
pub struct PhaseTemplate {
    pub name: &'static str,
    /// Factor on the configured learning rate.
    pub lr_factor: f64,
    pub trains: TrainedLayers,
    pub inputs: InputKind,
    pub method: Method,
    /// Epochs, where they are not those of `--epochs`.
    pub epochs: Option<usize>,
    /// How far the weights that are kept are on the way from those that the phase began with to the
    /// trained ones; `None` for the trained ones.
    pub interpolation: Option<f64>,
    /// Whether only the last epoch may be kept.
    pub keeps_last: bool,
}

impl PhaseTemplate {
    /// A phase that trains what is not frozen on photos.
    const PHOTOS: Self = Self {
        name: "train",
        lr_factor: 1.0,
        trains: TrainedLayers::Unfrozen,
        inputs: InputKind::Photos,
        method: Method::GradientDescent,
        epochs: None,
        interpolation: None,
        keeps_last: false,
    };
}

/// What the batches of a phase are made of.
pub enum InputKind {
    /// Photos, decoded in every epoch and augmented.
    Photos,
    /// Features of photos and of augmented views of them, computed once.
    Features,
}

/// Views of each photo that features are computed of.
pub(super) const VIEWS: usize = 4;

/// Which layers a phase trains.
pub enum TrainedLayers {
    Classifier,
    /// Those from `--freeze-until` on.
    Unfrozen,
}

const WHOLE_RUN: &[PhaseTemplate] = &[PhaseTemplate::PHOTOS];

/// The recipes by name; command line, help and runs read this table.
pub const RECIPES: &[Recipe] = &[
    Recipe {
        name: "classic",
        summary: "trains the whole network for 25 epochs: Adam at 1e-4, divided by 10 every 7 epochs",
        epochs: 25,
        lr: 1e-4,
        optimizer: Algorithm::Adam,
        scheduler: Scheduler::Step,
        label_smoothing: 0.0,
        ema: None,
        mixup: None,
        hidden: None,
        dropout: None,
        freezes: false,
        scales_logits: false,
        augmentations: Augmentations::classic,
        phases: WHOLE_RUN,
    },
    Recipe {
        name: "two-phase",
        summary: "trains a new head on a frozen backbone for 10 epochs at 1e-3, then the last \
                  stage too for 10 epochs at 1e-4",
        epochs: 10,
        lr: 1e-4,
        optimizer: Algorithm::Adam,
        scheduler: Scheduler::Constant,
        label_smoothing: 0.0,
        ema: None,
        mixup: None,
        hidden: Some(128),
        dropout: Some(0.2),
        freezes: true,
        scales_logits: false,
        augmentations: Augmentations::two_phase,
        phases: &[
            PhaseTemplate {
                name: "head",
                lr_factor: 10.0,
                trains: TrainedLayers::Classifier,
                ..PhaseTemplate::PHOTOS
            },
            PhaseTemplate {
                name: "fine-tune",
                ..PhaseTemplate::PHOTOS
            },
        ],
    },
    Recipe {
        name: "fast",
        summary: "computes what the frozen backbone gives for each photo once, solves for the \
                  head, and fine-tunes the last stage on cached activations: AdamW at 3e-4 in one \
                  cycle, 6 epochs",
        epochs: 6,
        lr: 3e-4,
        optimizer: Algorithm::Adamw,
        scheduler: Scheduler::OneCycle,
        label_smoothing: 0.1,
        ema: Some(0.98),
        mixup: Some(0.2),
        hidden: None,
        dropout: Some(0.2),
        freezes: true,
        scales_logits: true,
        augmentations: Augmentations::fast,
        phases: &[
            PhaseTemplate {
                name: "head",
                trains: TrainedLayers::Classifier,
                inputs: InputKind::Features,
                method: Method::LogisticRegression,
                epochs: Some(1),
                ..PhaseTemplate::PHOTOS
            },
            PhaseTemplate {
                name: "fine-tune",
                inputs: InputKind::Features,
                interpolation: Some(0.75),
                keeps_last: true,
                ..PhaseTemplate::PHOTOS
            },
        ],
    },
    Recipe {
        name: "scratch",
        summary: "for random initialisation and few photos: milder crops, Adam at 1e-3 in one \
                  cycle, 30 epochs",
        epochs: 30,
        lr: 1e-3,
        optimizer: Algorithm::Adam,
        scheduler: Scheduler::OneCycle,
        label_smoothing: 0.0,
        ema: None,
        mixup: None,
        hidden: None,
        dropout: None,
        freezes: false,
        scales_logits: false,
        augmentations: Augmentations::scratch,
        phases: WHOLE_RUN,
    },
];

/// Finds a recipe by name.
///
/// # Errors
/// [`crate::error::Error::Usage`] with the nearest one and all that there are.
pub fn find(name: &str) -> Result<&'static Recipe> {
    names::find("recipe", RECIPES, name)
}

impl Recipe {
    /// Whether a phase trains on what frozen layers give.
    pub(super) fn uses_features(&self) -> bool {
        let is_cached = |phase: &PhaseTemplate| matches!(phase.inputs, InputKind::Features);
        self.phases.iter().any(is_cached)
    }
}

impl Named for Recipe {
    fn name(&self) -> &'static str {
        self.name
    }
}

impl PartialEq for Recipe {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl fmt::Debug for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Serialize for Recipe {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

impl<'de> Deserialize<'de> for &'static Recipe {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        find(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
