//! Programs for libtorch that are written from Rust.

pub mod torchscript;
