//! Shows a training run on standard error: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::note;
use crate::error::Result;
use crate::training::observe::{Event, Observer, lines};

const TEMPLATE: &str = "{msg} [{bar:30}] {human_pos}/{human_len} {per_sec:.dim} {eta:.dim}";

/// Watches a run.
pub struct Watch {
    bar: ProgressBar,
    /// Epochs of the whole run.
    epochs: usize,
    name: String,
}

impl Watch {
    pub fn new(epochs: usize) -> Self {
        Self {
            bar: ProgressBar::hidden(),
            epochs,
            name: String::new(),
        }
    }

    fn begin(&mut self, what: String, images: usize, done: usize) {
        self.bar.finish_and_clear();
        let target = if std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        self.bar =
            ProgressBar::with_draw_target(Some(images as u64), target).with_position(done as u64);
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            let rate = |state: &indicatif::ProgressState, sink: &mut dyn std::fmt::Write| {
                write!(sink, "{:.1} images/s", state.per_sec()).ok();
            };
            self.bar
                .set_style(style.with_key("per_sec", rate).progress_chars("=> "));
        }
        self.bar.reset_eta();
        self.bar.set_message(what);
    }
}

impl Observer for Watch {
    fn hear(&mut self, event: &Event<'_>) -> Result<()> {
        for line in lines(event, self.epochs) {
            self.bar.suspend(|| note(line));
        }
        match event {
            Event::Training {
                epoch,
                images,
                done,
                ..
            } => {
                self.name = format!("epoch {epoch}/{}", self.epochs);
                self.begin(format!("{} train", self.name), *images, *done);
            }
            Event::Batch { images, running } => {
                let figures = format!(
                    "{} train loss {:.3} acc {:.3}",
                    self.name,
                    running.loss(),
                    running.accuracy()
                );
                self.bar.set_message(figures);
                self.bar.inc(*images as u64);
            }
            Event::Validating { images } => self.begin(format!("{} val", self.name), *images, 0),
            Event::Validated { images } => self.bar.inc(*images as u64),
            Event::Epoch { .. } => self.bar.finish_and_clear(),
            Event::Phase { .. } => {}
        }
        Ok(())
    }
}
