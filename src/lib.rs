//! `flowers` turns a folder of photos into a tested image classifier.
//!
//! An architecture is a [`graph`]; everything else walks it. Imports go one way:
//!
//! ```text
//! main -> commands -> cli -> comparison, pruning, tuning -> runs
//!      -> training, export, quantization, serving
//!      -> evaluation -> report -> inference -> bundle, data -> distributed -> models
//!      -> graph, weights, image, metrics
//!      -> labels, files, progress, names, values, error
//! ```
//!
//! Only `torch`, `distributed`, `training` and the backends of `inference` know libtorch (`tch`).

#![warn(unreachable_pub)]

pub mod bundle;
pub mod cli;
pub mod commands;
mod comparison;
pub mod data;
pub mod device;
pub mod distributed;
pub mod error;
mod evaluation;
pub mod export;
mod files;
pub mod graph;
pub mod image;
pub mod inference;
pub mod labels;
mod machine;
pub mod memory;
pub mod metrics;
pub mod models;
mod names;
pub mod progress;
mod pruning;
mod quantization;
pub mod report;
mod runs;
pub mod sample;
pub mod serving;
mod torch;
pub mod training;
mod tuning;
mod values;
pub mod weights;
