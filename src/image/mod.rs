//! From bytes to pixels: bounded decoding, preprocessing and augmentation.

pub mod augment;
mod cmyk;
mod colour;
pub mod decode;
pub mod fingerprint;
mod geometry;
#[cfg(feature = "heif")]
mod heif;
mod jpeg;
pub mod kind;
mod libjpeg;
mod limits;
pub mod policy;
pub mod preprocess;
mod repair;
mod resample;
mod sniff;
mod tiff;
pub mod transform;
mod warp;

pub use decode::decode;
pub use limits::{DecodeError, Decoded, Limits};
pub use preprocess::{Preprocessing, bounded};
