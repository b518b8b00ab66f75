//! From bytes to pixels: bounded decoding, preprocessing and augmentation.

pub mod augment;
pub mod decode;
pub mod preprocess;

pub use decode::{DecodeError, Limits, decode};
pub use preprocess::Preprocessing;
