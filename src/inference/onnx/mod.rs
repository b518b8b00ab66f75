//! Runs ONNX models operator by operator, as the specification words them: it shares nothing with the
//! writer but the layout of the file.

mod attributes;
mod interpreter;
mod operators;
pub mod proto;

use std::ops::RangeInclusive;

pub use interpreter::Interpreter;

use crate::error::Result;

/// Versions of the operators that are read and written.
pub const OPSETS: RangeInclusive<i64> = 11..=21;

pub(super) fn status() -> Result<String> {
    let (first, last) = (OPSETS.start(), OPSETS.end());
    Ok(format!("opsets {first} to {last}; devices: cpu"))
}

#[cfg(test)]
mod tests;
