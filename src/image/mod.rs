//! From bytes to pixels: bounded decoding, preprocessing and augmentation.

pub mod augment;
mod colour;
pub mod decode;
#[cfg(feature = "heif")]
mod heif;
mod inks;
mod jpeg;
mod libjpeg;
mod mended;
pub mod preprocess;
mod resample;
mod sniff;
mod tiff;
pub mod transform;

pub use decode::{DecodeError, Decoded, Limits, decode};
pub use preprocess::Preprocessing;
