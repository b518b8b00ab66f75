//! Models measured on data sets.

mod predictions;

pub use predictions::predictions;
