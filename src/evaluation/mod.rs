//! Models measured on data sets.

mod measured;
pub(crate) mod parts;
mod predictions;
mod report;
pub(crate) mod speed;

pub(crate) use measured::{Measured, Photos, measure, predicted, predicted_by};
pub(crate) use parts::Seen;
pub(crate) use predictions::{each_logits, predictions};
pub(crate) use report::ReportContext;
