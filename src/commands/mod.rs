//! One file a verb: arguments to validated configuration, call, print.

pub mod data;
pub mod output;
pub mod progress;
