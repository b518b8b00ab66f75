//! Photos as a data set: index, checks, split manifest, loader.

pub mod check;
pub mod content;
mod cut;
pub mod distinct;
pub mod folder;
mod hidden;
mod layout;
mod listed;
mod listing;
pub mod loader;
pub mod manifest;
mod parts;
mod shape;
pub mod similar;
pub mod source;
pub mod split;

pub use folder::{Folder, Part, Photo, ScanOptions};
pub use hidden::is_hidden;
pub use loader::{Batch, Loader, Transform};
pub use manifest::Manifest;
pub use source::Source;
pub use split::{Split, SplitOptions};
