//! `history.csv`: one row per epoch.

use std::path::PathBuf;

use super::{Callback, Event};
use crate::error::Result;
use crate::files;
use crate::metrics::history;

/// Rewrites the whole history after every epoch, so that a resumed run repeats no row.
pub struct Csv(pub PathBuf);

impl Callback for Csv {
    fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
        match event {
            Event::Epoch { history } => {
                files::write_atomically(&self.0, |sink| history::write(history, sink))
            }
            _ => Ok(()),
        }
    }
}
