//! `history.csv`: a row an epoch.

use std::path::PathBuf;

use super::{Event, Observer};
use crate::error::Result;
use crate::files;
use crate::metrics::history;

/// Writes the history anew after every epoch, so that a resumed run repeats no row.
pub struct Csv(pub PathBuf);

impl Observer for Csv {
    fn hear(&mut self, event: &Event<'_>) -> Result<()> {
        match event {
            Event::Epoch { history } => {
                files::write_atomically(&self.0, |sink| history::write(history, sink))
            }
            _ => Ok(()),
        }
    }
}
