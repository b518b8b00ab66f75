//! The integration tests: one binary, a module a topic.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod augmentation;
mod data_sample;
mod data_set;
mod images;
mod metrics;
mod models;
mod report;
mod tidy;
mod weights;
