//! Listeners of a training run. They hear of everything and change nothing.

mod csv;
mod forecast;
mod log;
mod tensorboard;

pub use csv::Csv;
pub use forecast::Forecast;
pub use log::{Log, lines};
pub use tensorboard::TensorBoard;

use super::checkpoint::Running;
use super::recipe::Phase;
use crate::error::Result;
use crate::metrics::Epoch;

/// What happens in a run, in order.
pub enum Event<'a> {
    Phase {
        phase: &'a Phase,
    },
    /// An epoch's training begins, or goes on after `done` of its images.
    Training {
        epoch: usize,
        phase: &'a Phase,
        images: usize,
        done: usize,
        /// Images that it will be validated on.
        validated: usize,
        /// Epochs that follow, if none is stopped early.
        epochs_after: usize,
    },
    /// A batch was learned from.
    Batch {
        images: usize,
        running: &'a Running,
    },
    Validating {
        images: usize,
    },
    Validated {
        images: usize,
    },
    /// An epoch is over; the last row of the history is its own.
    Epoch {
        history: &'a [Epoch],
    },
}

/// Something that listens.
pub trait Observer {
    /// Hears of an event.
    ///
    /// # Errors
    /// What it writes can't be written.
    fn hear(&mut self, event: &Event<'_>) -> Result<()>;
}

impl Observer for Vec<Box<dyn Observer>> {
    fn hear(&mut self, event: &Event<'_>) -> Result<()> {
        self.iter_mut()
            .try_for_each(|observer| observer.hear(event))
    }
}
