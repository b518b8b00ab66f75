//! Architectures compared on the same photos: what is still to train, and what is measured.

mod choice;
mod measure;
mod memory;
mod plan;
mod quantized;
mod results;

pub(crate) use choice::{Limits, milliseconds};
pub(crate) use measure::{Bench, Subject, measured};
pub(crate) use plan::{Candidate, candidates, is_own};
pub(crate) use quantized::Quantizer;
pub(crate) use results::{CandidateResult, Comparison, ModelResult};
