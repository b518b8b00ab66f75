//! Exported files: what is in them, and that other runtimes answer alike.

mod program;
pub mod real;
mod runtimes;
mod structure;

use crate::networks::{bundle, int8};
