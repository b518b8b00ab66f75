//! Features: what the frozen layers of a network give for each photo, computed once.

mod cache;
mod copied;
mod cut;
mod extract;
mod rows;
mod source;
mod store;

pub(super) use cache::FeatureCache;
pub(super) use cut::Cut;
pub(super) use extract::ViewCost;
pub(super) use source::FeatureSource;
