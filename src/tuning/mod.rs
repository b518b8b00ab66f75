//! Hyper-parameter search: trials of options on the same photos, of which the better ones are trained
//! further.

mod asha;
mod default_space;
mod draw;
mod journal;
mod pace;
mod results;
mod search;
mod space;
mod trial;

pub(crate) use default_space::default_space;
pub(crate) use journal::is_own;
pub(crate) use results::{Outcome, TrialResult, Tuning, best, values};
pub(crate) use search::{Limits, Search, Task};
pub(crate) use space::{Dimension, Domain, read};
pub(crate) use trial::Trial;
