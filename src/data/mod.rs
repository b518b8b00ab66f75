//! A folder of photos as a data set: index, checks, split manifest, loader and sample set.

pub mod check;
pub mod content;
pub mod distinct;
pub mod folder;
mod layout;
pub mod loader;
pub mod manifest;
pub mod sample;
pub mod split;

pub use folder::{Folder, Part, Photo, ScanOptions};
pub use layout::is_hidden;
pub use loader::{Batch, Loader, Transform};
pub use manifest::Manifest;
pub use split::{Split, SplitOptions};
