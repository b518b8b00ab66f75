//! Exported files: what is in them, and that other runtimes answer alike.

mod bundles;
mod program;
pub mod real;
mod runtimes;
mod structure;

pub use bundles::{bundle, int8};
