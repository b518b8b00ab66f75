//! Structured pruning: channels that go together, which matter least, and the smaller network.

mod choice;
mod folder;
mod groups;
mod importance;
mod prunable;
mod schedule;
mod weights;

pub(crate) use choice::{Choice, Scores};
pub(crate) use folder::{Asked, is_own, step};
pub(crate) use importance::Importance;
pub(crate) use prunable::Prunable;
pub(crate) use schedule::{Schedule, for_speedup};
