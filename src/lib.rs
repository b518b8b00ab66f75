//! `flowers` turns a folder of photos into a tested image classifier.
//!
//! An architecture is a [`graph`]; everything else walks it. Imports go one way:
//!
//! ```text
//! main -> commands -> cli -> training, report, export, quantization, serving -> engine
//!      -> bundle, data -> models -> graph, weights, image, metrics
//!      -> labels, files, progress, names, values, error
//! ```
//!
//! Only `training`, the engine's sessions and the commands that start them know libtorch (`tch`).

pub mod bundle;
pub mod cli;
pub mod commands;
pub mod data;
pub mod engine;
pub mod error;
pub mod export;
pub mod files;
pub mod graph;
pub mod image;
pub mod labels;
pub mod memory;
pub mod metrics;
pub mod models;
pub mod names;
pub mod progress;
pub mod quantization;
pub mod report;
pub mod serving;
pub mod training;
pub mod values;
pub mod weights;
