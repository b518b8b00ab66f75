//! From bytes to pixels: bounded decoding, preprocessing and augmentation.

pub mod augment;
mod colour;
pub mod decode;
pub mod fingerprint;
#[cfg(feature = "heif")]
mod heif;
mod cmyk;
mod jpeg;
pub mod kind;
mod libjpeg;
mod limits;
mod repair;
pub mod preprocess;
mod resample;
mod sniff;
mod tiff;
pub mod transform;

pub use decode::decode;
pub use limits::{DecodeError, Decoded, Limits};
pub use preprocess::Preprocessing;
