//! Progress bars on standard error, hidden when it is not a terminal.

use std::sync::{Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::output::note;
use crate::progress::Progress;

const TEMPLATE: &str = "{msg} [{bar:30}] {human_pos}/{human_len} {per_sec:.dim} {eta:.dim}";

/// A bar on standard error with position, rate and remaining time.
pub(super) fn bar(what: String, total: u64, unit: &'static str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
        let rate = move |state: &ProgressState, sink: &mut dyn std::fmt::Write| {
            write!(sink, "{:.1}{unit}/s", state.per_sec()).ok();
        };
        bar.set_style(style.with_key("per_sec", rate).progress_chars("=> "));
    }
    bar.with_message(what)
}

/// Shows each piece of work as a bar.
pub struct Bar {
    current: Mutex<ProgressBar>,
}

impl Bar {
    pub fn new() -> Self {
        Self {
            current: Mutex::new(ProgressBar::hidden()),
        }
    }

    /// Writes a line to standard error, above the bar.
    pub fn note(&self, line: impl std::fmt::Display) {
        self.current().suspend(|| note(line));
    }

    fn current(&self) -> ProgressBar {
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Default for Bar {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress for Bar {
    fn begin(&self, what: &str, total: u64) {
        let bar = bar(what.to_owned(), total, "");
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = bar;
    }

    fn advance(&self, units: u64) {
        self.current().inc(units);
    }

    fn finish(&self) {
        self.current().finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_counts_units_until_it_is_finished() {
        let bar = Bar::new();
        bar.begin("reading photos", 10);
        bar.advance(3);
        bar.advance(4);
        assert_eq!(bar.current().position(), 7);
        assert_eq!(bar.current().length(), Some(10));
        bar.finish();
        assert!(bar.current().is_finished());
        bar.begin("drawing", 2);
        assert_eq!(bar.current().position(), 0);
    }

    #[test]
    fn the_template_is_well_formed() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }
}
