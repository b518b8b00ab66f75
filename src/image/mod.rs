//! From bytes to pixels: bounded decoding, preprocessing and augmentation.

pub mod augment;
mod colour;
pub mod decode;
pub mod preprocess;
mod resample;
mod shrink;
pub mod transform;

pub use decode::{DecodeError, Limits, decode};
pub use preprocess::Preprocessing;
