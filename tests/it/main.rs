//! The integration tests: one binary, a module a topic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod architectures;
mod augmentation;
mod bad_input;
mod bench;
mod circles;
mod comparison;
mod data_set;
mod evaluation;
mod export;
mod formats;
mod golden;
mod heif;
mod http;
mod images;
mod inference;
mod info;
mod integers;
mod known;
mod metrics;
mod models;
mod networks;
mod policy;
mod prediction;
mod quantize;
mod readme;
mod report;
mod sample;
mod server;
mod serving;
mod shells;
mod support;
mod tidy;
mod tiffs;
mod training;
mod weights;
