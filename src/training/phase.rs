//! Phases: stretches of a run with one set of trained layers, one optimizer and one schedule.

use crate::image::augment::Augmentations;

/// One phase of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Phase {
    pub name: &'static str,
    pub epochs: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    pub inputs: Inputs,
    pub frozen: Frozen,
    pub method: Method,
    /// How far the weights that are measured and kept are on the way from those that the phase began
    /// with to the trained ones; `None` for the trained ones.
    pub interpolation: Option<f64>,
    /// Whether only the last epoch is a candidate for the model: the others are on the way there, and
    /// few validation photos tell them apart by chance.
    pub keeps_last: bool,
}

impl Phase {
    /// Whether the phase takes steps on features.
    pub(super) fn is_steps_on_features(&self) -> bool {
        self.method == Method::GradientDescent && matches!(self.inputs, Inputs::Features(_))
    }

    /// Limits the views of each photo.
    pub(super) fn limit_views(&mut self, most: usize) {
        if let Inputs::Features(views) = &mut self.inputs {
            views.count = views.count.min(most);
        }
    }
}

/// How the layers of a phase that are not frozen are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// By an optimizer, batch by batch.
    GradientDescent,
    /// The classifier is solved for on all features at once, in one epoch.
    LogisticRegression,
}

/// What the batches of a phase are made of.
#[derive(Debug, Clone, PartialEq)]
pub enum Inputs {
    /// Photos, decoded in every epoch and augmented while training.
    Photos(Augmentations),
    /// What the frozen layers give for each photo and for random transforms of it, computed once.
    Features(Views),
}

/// The views of each photo that features are computed of: the photo as evaluation sees it, and random
/// transforms of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Views {
    pub count: usize,
    pub augmentations: Augmentations,
}

/// Which layers a phase does not train.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frozen {
    Nothing,
    /// Everything but the classifier.
    Backbone,
    /// The layers before this one.
    Before(LayerName),
}

/// A layer by the prefix of its parameters in the `state_dict`, e.g. `layer4`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerName(String);

impl LayerName {
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}
