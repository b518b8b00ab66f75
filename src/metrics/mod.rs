//! How good a classifier is: scores to metrics, metrics to gates, epochs to a history.

pub mod accuracy;
pub mod answer;
pub mod calibration;
pub mod confusion;
pub mod evaluation;
pub mod gates;
pub mod history;
pub mod junit;
pub mod paired;
pub mod per_class;
pub mod predictions;
mod report;
pub mod scores;
mod temperature;

pub use answer::{Answer, Guess};
pub use evaluation::Evaluation;
pub use gates::{GateResult, Gates};
pub use history::Epoch;
pub use paired::Paired;
pub use per_class::ClassMetrics;
pub use predictions::{Mistake, Outcome, Predictions};
pub use scores::{log_softmax, softmax, top_k};
pub use temperature::{cross_entropy, temperature};
