//! Shows a training run on standard error: a bar on a terminal, plain lines elsewhere.

use std::time::Instant;

use indicatif::{HumanDuration, ProgressBar};

use super::output::note;
use super::progress::bar;
use crate::error::Result;
use crate::training::callback::{Callback, Event, Forecast, lines};

/// Shows the events of a run.
pub(super) struct Watch {
    bar: ProgressBar,
    name: String,
    forecast: Forecast,
    /// What an epoch's one line begins with, where the run is one of many.
    trial: Option<String>,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self {
            bar: ProgressBar::hidden(),
            name: String::new(),
            forecast: Forecast::default(),
            trial: None,
        }
    }

    /// Shows a run of many in a line an epoch, which begins with its name.
    pub(super) fn of_trial(name: String) -> Self {
        Self {
            trial: Some(name),
            ..Self::new()
        }
    }

    fn lines(&self, event: &Event<'_>) -> Vec<String> {
        let Some(trial) = &self.trial else {
            let mut lines = lines(event);
            if let Event::Epoch { .. } = event {
                lines.extend(Some(self.left()).filter(|left| !left.is_empty()));
            }
            return lines;
        };
        match event {
            Event::Epoch { history: [.., row] } => vec![format!(
                "{trial}, {}: train Loss: {:.4}, val Loss: {:.4} Acc: {:.4}",
                self.name, row.train_loss, row.val_loss, row.val_accuracy
            )],
            _ => Vec::new(),
        }
    }

    /// The estimated time until the run ends; empty while it is unknown, and for a run that is to
    /// pause before.
    fn left(&self) -> String {
        if self.trial.is_some() {
            return String::new();
        }
        let left = self.forecast.left().filter(|left| left.as_secs() > 0);
        left.map_or(String::new(), |left| {
            format!("about {} remaining", HumanDuration(left))
        })
    }

    fn begin(&mut self, what: String, images: usize, done: usize) {
        self.bar.finish_and_clear();
        self.bar = bar(what, images as u64, " images").with_position(done as u64);
        self.bar.reset_eta();
    }
}

impl Callback for Watch {
    fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
        self.forecast.update(event, Instant::now());
        for line in self.lines(event) {
            self.bar.suspend(|| note(line));
        }
        match event {
            Event::Training {
                epoch,
                images,
                done,
                epochs_after,
                ..
            } => {
                self.name = format!("epoch {epoch}/{}", epoch + epochs_after);
                self.begin(format!("{} train", self.name), *images, *done);
            }
            Event::Batch { images, running } => {
                let figures = format!(
                    "{} train loss {:.3} acc {:.3}  {}",
                    self.name,
                    running.loss(),
                    running.accuracy(),
                    self.left()
                );
                self.bar.set_message(figures);
                self.bar.inc(*images as u64);
            }
            Event::Extracting { view, images, .. } => {
                self.begin(format!("features, view {}", view + 1), *images, 0);
            }
            Event::Extracted { images } => self.bar.inc(*images as u64),
            Event::Validating { images } => self.begin(format!("{} val", self.name), *images, 0),
            Event::Validated { images } => self.bar.inc(*images as u64),
            Event::Epoch { .. } | Event::Scaled { .. } => self.bar.finish_and_clear(),
            Event::Phase { .. } | Event::FeaturesCut { .. } | Event::Planned { .. } => {}
        }
        Ok(())
    }
}
