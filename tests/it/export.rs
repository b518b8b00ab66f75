//! Exported files: what is in them, and that other runtimes answer alike.

mod faults;
mod program;
mod runtimes;
mod structure;

use crate::networks::{bundle, int8};
