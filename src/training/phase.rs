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
}

/// What the batches of a phase are made of.
#[derive(Debug, Clone, PartialEq)]
pub enum Inputs {
    /// Photos, decoded in every epoch and augmented while training.
    Photos(Augmentations),
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
