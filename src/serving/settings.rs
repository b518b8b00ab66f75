//! How to serve, validated.

use std::path::PathBuf;
use std::time::Duration;

use axum::http::HeaderValue;

use super::client::Trusted;
use super::collect::Bounds;
use super::keys::Keys;
use crate::image::Limits;
use crate::inference;

pub struct Settings {
    pub model: PathBuf,
    pub inference: inference::Options,
    /// Threads that the model computes with.
    pub threads: usize,
    /// Path before every route: empty, or `/` and more without one at the end.
    pub base_path: String,
    pub trusted: Trusted,
    /// What one picture may cost.
    pub picture: Limits,
    /// From the head of a request to its answer.
    pub timeout: Duration,
    /// Pictures between upload and answer.
    pub max_queue: usize,
    /// Pictures that the model takes at once.
    pub max_batch: usize,
    pub connections: Connections,
    /// Origins that browsers may call from; `*` for all.
    pub cors_origins: Vec<HeaderValue>,
    pub keys: Option<Keys>,
    pub collect: Option<(PathBuf, Bounds)>,
    /// Of the page; what the model knows gives one otherwise.
    pub title: Option<String>,
    /// Confidence below which the page calls an answer a guess, 0 to 1.
    pub unsure_below: f64,
    /// Whether every request is logged.
    pub access_log: bool,
}

/// What one connection may do, and how many there may be.
#[derive(Debug, Clone, Copy)]
pub struct Connections {
    pub max: usize,
    /// For the head of a request to come, for a client to take bytes of an answer, and for a
    /// connection to be idle.
    pub head_timeout: Duration,
    /// After SIGTERM, for what was accepted.
    pub drain_timeout: Duration,
}
