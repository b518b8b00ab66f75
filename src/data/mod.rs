//! A folder of photos as a data set: index, checks, split manifest, loader and sample set.

pub mod check;
pub mod folder;
pub mod loader;
pub mod sample;
pub mod split;
