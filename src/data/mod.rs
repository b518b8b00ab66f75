//! Photos as a data set: index, checks, split manifest, loader.

mod cache;
pub mod check;
pub mod content;
mod cut;
pub mod distinct;
pub mod folder;
mod hidden;
mod layout;
mod listed;
mod listing;
mod load_all;
pub mod loader;
pub mod manifest;
mod parts;
mod photo;
mod sampling;
mod scan;
mod shape;
pub mod similar;
pub mod source;
pub mod split;
mod undecodable;

pub use cut::SplitOptions;
pub use folder::Folder;
pub use hidden::is_hidden;
pub use layout::{Layout, Skipped};
pub use load_all::load_all;
pub use loader::{Batch, Loader, Transform};
pub use manifest::SplitManifest;
pub use photo::{Part, Photo, Unreadable};
pub use sampling::stratified;
pub use scan::{Depth, ScanOptions};
pub use source::Source;
pub use split::Split;
pub use undecodable::Undecodable;
