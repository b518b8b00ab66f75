//! `flowers` turns a folder of photos into a tested image classifier.
//!
//! An architecture is a [`graph`]; everything else walks it. Imports go one way:
//!
//! ```text
//! main -> commands -> cli -> training, report, export, quantization, serving -> evaluation
//!      -> inference -> bundle, data -> models -> graph, weights, image, metrics
//!      -> labels, files, progress, names, values, error
//! ```
//!
//! Only `torch`, `training` and the backends of `inference` know libtorch (`tch`).

pub mod bundle;
pub mod cli;
pub mod commands;
pub mod data;
pub mod device;
pub mod error;
pub mod evaluation;
pub mod export;
pub mod files;
pub mod graph;
pub mod image;
pub mod inference;
pub mod labels;
pub mod machine;
pub mod memory;
pub mod metrics;
pub mod models;
pub mod names;
pub mod progress;
pub mod quantization;
pub mod report;
pub mod sample;
pub mod serving;
pub mod torch;
pub mod training;
pub mod values;
pub mod weights;
