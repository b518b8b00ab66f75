//! Exported files: what is in them, and that other runtimes answer alike.

mod bundles;
mod program;
mod runtimes;
mod structure;

pub use bundles::{bundle, int8};
