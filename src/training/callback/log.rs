//! The run as lines of text, for `train.log` and the terminal.

use std::io::Write;

use super::{Callback, Event};
use crate::error::{Error, Result};
use crate::metrics::history;
use crate::values::plural;

/// Writes a few lines an epoch.
pub struct Log<W: Write> {
    sink: W,
}

impl<W: Write> Log<W> {
    pub fn new(sink: W) -> Self {
        Self { sink }
    }
}

impl<W: Write> Callback for Log<W> {
    fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
        lines(event)
            .iter()
            .try_for_each(|line| writeln!(self.sink, "{line}"))
            .and_then(|()| self.sink.flush())
            .map_err(|cause| Error::Environment(format!("can't write the log: {cause}")).into())
    }
}

/// The lines to log for an event.
pub fn lines(event: &Event<'_>) -> Vec<String> {
    match event {
        Event::Training {
            epoch,
            phase,
            epochs_after,
            ..
        } => vec![format!(
            "Epoch {epoch}/{} ({})",
            epoch + epochs_after,
            phase.name
        )],
        Event::Extracting { view, views, .. } => {
            vec![format!("Features of view {} of {views}", view + 1)]
        }
        Event::FeaturesCut { images, of } => vec![format!(
            "warning: the time budget suffices for the features of {images} of {of} photos"
        )],
        Event::Planned { phase, epochs } => vec![format!(
            "The time budget allows {} of {}",
            plural(*epochs, "epoch"),
            phase.name
        )],
        Event::Scaled { temperature } => vec![format!(
            "Logits divided by {temperature:.3}, which fits the validation photos best"
        )],
        Event::Epoch { history } => {
            let Some(row) = history.last() else {
                return Vec::new();
            };
            let is_best = history::best(history).is_some_and(|best| best.epoch == row.epoch);
            vec![
                format!(
                    "train Loss: {:.4} Acc: {:.4}  ({:.1} images/s, waiting for data {:.1}%)",
                    row.train_loss,
                    row.train_accuracy,
                    row.images_per_second,
                    100.0 * row.waiting
                ),
                format!(
                    "val Loss: {:.4} Acc: {:.4}{}",
                    row.val_loss,
                    row.val_accuracy,
                    if is_best { "  (best so far)" } else { "" }
                ),
            ]
        }
        _ => Vec::new(),
    }
}
