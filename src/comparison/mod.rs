//! Architectures compared on the same photos: what is still to train, and what is measured.

mod choice;
mod folder;
mod measure;
mod memory;
mod plan;
mod quantized;
mod results;
mod split;
mod standing;

pub(crate) use choice::{Limits, milliseconds};
pub(crate) use folder::open;
pub(crate) use measure::{Bench, Subject, measured};
pub(crate) use plan::{Candidate, candidates};
pub(crate) use quantized::Quantizer;
pub(crate) use results::{CandidateResult, Comparison, ModelResult};
pub(crate) use split::SharedSplit;
pub(crate) use standing::Standing;
