//! Exported files: what is in them, and that other runtimes answer alike.

mod apps;
mod faults;
mod program;
mod runtimes;
mod structure;

use flowers::export::Samples;

use crate::networks::{SIZE, bundle, int8, pictures};

/// Random pictures of no class.
fn samples(n: usize) -> Samples {
    Samples {
        pixels: pictures(n, SIZE),
        classes: Vec::new(),
    }
}
