//! Callbacks of a training run: they follow its events and can't change its result.

mod csv;
mod forecast;
mod log;
mod tensorboard;

pub use csv::Csv;
pub use forecast::Forecast;
pub use log::{Log, lines};
pub(super) use tensorboard::EVENTS;
pub use tensorboard::TensorBoard;

use super::checkpoint::Running;
use super::phase::Phase;
use crate::error::Result;
use crate::metrics::Epoch;

/// What happens in a run.
pub enum Event<'a> {
    /// A phase begins, or goes on after a resume.
    Phase { phase: &'a Phase },
    /// The features of the next view of the photos are going to be computed.
    Extracting {
        /// Counted from 0, which is the photos as evaluation sees them.
        view: usize,
        /// Views that are wanted.
        views: usize,
        images: usize,
    },
    /// The features of a batch were computed.
    Extracted { images: usize },
    /// The time budget ended the computation of features after so many of the images.
    FeaturesCut { images: usize, of: usize },
    /// The time budget allows a phase so many epochs.
    Planned { phase: &'a Phase, epochs: usize },
    /// The training half of an epoch begins, or goes on after `done` of its images.
    Training {
        /// Counted from 1, through all phases.
        epoch: usize,
        phase: &'a Phase,
        images: usize,
        done: usize,
        /// Images of the validation half.
        validated: usize,
        /// Epochs that follow, if none is stopped early.
        epochs_after: usize,
    },
    /// A training step was taken.
    Batch { images: usize, running: &'a Running },
    /// The validation half of an epoch begins.
    Validating { images: usize },
    /// A batch was validated.
    Validated { images: usize },
    /// The logits of the best epoch were divided by a temperature that fits the validation photos.
    Scaled { temperature: f64 },
    /// An epoch is over; the last row of the history is its own.
    Epoch { history: &'a [Epoch] },
}

/// A listener of a run.
pub trait Callback {
    /// Called for every event, in order.
    ///
    /// # Errors
    /// Ends the run, e.g. when a file can't be written.
    fn on_event(&mut self, event: &Event<'_>) -> Result<()>;
}

impl Callback for Vec<Box<dyn Callback>> {
    fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
        self.iter_mut()
            .try_for_each(|callback| callback.on_event(event))
    }
}
