//! Runs that belong together: in one folder, on one split, each resumed where it stopped.

mod folder;
mod split;
mod standing;

pub(crate) use folder::{open, remove};
pub(crate) use split::SharedSplit;
pub(crate) use standing::{Standing, differences};
