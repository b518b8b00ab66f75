//! Models measured on data sets.

mod measured;
pub mod parts;
mod predictions;
mod report;

pub use measured::{Measured, Photos, measure, predicted};
pub use parts::Seen;
pub use report::ReportContext;
