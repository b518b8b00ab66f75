//! The command line: clap definitions only.

pub mod data;
