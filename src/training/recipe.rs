//! Recipes: named sets of defaults for a training run.

use super::schedule::Scheduler;
use super::settings::Config;
use crate::error::Result;
use crate::image::augment::Augmentations;
use crate::names::{self, Named};

/// A named way to fine-tune.
pub struct Recipe {
    pub name: &'static str,
    /// One line for help texts.
    pub summary: &'static str,
    /// Epochs of each phase.
    pub epochs: usize,
    /// Peak learning rate.
    pub lr: f64,
    pub scheduler: Scheduler,
    /// Units of a hidden layer in the classifier.
    pub hidden: Option<usize>,
    /// Dropout of the classifier; `None` leaves the architecture's own.
    pub dropout: Option<f64>,
    /// Whether part of the backbone stays frozen by default.
    pub freezes: bool,
    pub augmentations: fn(u32) -> Augmentations,
    phases: fn(&Config) -> Vec<Phase>,
}

/// Epochs with one set of trained layers, one optimizer and one schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct Phase {
    pub name: &'static str,
    pub epochs: usize,
    pub learning_rate: f64,
    pub frozen: Frozen,
}

/// What of a network is not trained.
#[derive(Debug, Clone, PartialEq)]
pub enum Frozen {
    Nothing,
    /// Everything but the classifier.
    Backbone,
    /// What comes before this layer.
    Until(String),
}

/// The recipes by name; command line, help and runs read this table.
pub const RECIPES: &[Recipe] = &[
    Recipe {
        name: "classic",
        summary: "trains the whole network for 25 epochs: Adam at 1e-4, divided by 10 every 7 epochs",
        epochs: 25,
        lr: 1e-4,
        scheduler: Scheduler::Step,
        hidden: None,
        dropout: None,
        freezes: false,
        augmentations: Augmentations::classic,
        phases: one_phase,
    },
    Recipe {
        name: "two-phase",
        summary: "trains a new head on a frozen backbone for 10 epochs at 1e-3, then the last \
                  stage too for 10 epochs at 1e-4",
        epochs: 10,
        lr: 1e-4,
        scheduler: Scheduler::Constant,
        hidden: Some(128),
        dropout: Some(0.2),
        freezes: true,
        augmentations: Augmentations::two_phase,
        phases: |config| {
            vec![
                Phase {
                    name: "head",
                    epochs: config.epochs,
                    learning_rate: 10.0 * config.lr,
                    frozen: Frozen::Backbone,
                },
                Phase {
                    name: "fine-tune",
                    epochs: config.epochs,
                    learning_rate: config.lr,
                    frozen: config.frozen(),
                },
            ]
        },
    },
    Recipe {
        name: "scratch",
        summary: "for random weights and few photos: milder crops, Adam at 1e-3 in one cycle, \
                  30 epochs",
        epochs: 30,
        lr: 1e-3,
        scheduler: Scheduler::OneCycle,
        hidden: None,
        dropout: None,
        freezes: false,
        augmentations: Augmentations::scratch,
        phases: one_phase,
    },
];

fn one_phase(config: &Config) -> Vec<Phase> {
    vec![Phase {
        name: "train",
        epochs: config.epochs,
        learning_rate: config.lr,
        frozen: config.frozen(),
    }]
}

/// Finds a recipe by name.
///
/// # Errors
/// [`crate::error::Error::Usage`] with the nearest one and all that there are.
pub fn find(name: &str) -> Result<&'static Recipe> {
    names::find("recipe", RECIPES, name)
}

impl Named for Recipe {
    fn name(&self) -> &'static str {
        self.name
    }
}

impl Config {
    /// The phases of the run, in order.
    pub fn phases(&self) -> Result<Vec<Phase>> {
        Ok((self.recipe()?.phases)(self))
    }

    fn frozen(&self) -> Frozen {
        match self.frozen_until() {
            Some(layer) => Frozen::Until(layer.into()),
            None => Frozen::Nothing,
        }
    }
}
