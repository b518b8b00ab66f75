//! The server's configuration, validated.

use std::path::PathBuf;
use std::time::Duration;

use axum::http::HeaderValue;

use super::client::TrustedProxies;
use super::collection::Quota;
use super::keys::ApiKeys;
use crate::image::Limits;
use crate::inference;

pub struct ServerConfig {
    pub model: PathBuf,
    pub inference: inference::Options,
    /// CPU threads for inference.
    pub threads: usize,
    /// Prefix of every route: empty, or a path that starts with `/` and does not end with one.
    pub base_path: String,
    pub trusted_proxies: TrustedProxies,
    pub image_limits: Limits,
    /// From the head of a request to its response.
    pub timeout: Duration,
    /// Images in flight.
    pub max_queue: usize,
    /// Images per batch.
    pub max_batch: usize,
    pub connections: ConnectionLimits,
    /// Origins that browsers may call from; `*` for all.
    pub cors_origins: Vec<HeaderValue>,
    /// None if the API is open to all.
    pub keys: Option<ApiKeys>,
    pub collection: Option<(PathBuf, Quota)>,
    /// Title of the page, if not the one that fits the model's classes.
    pub title: Option<String>,
    /// Confidence, 0 to 1, below which the page calls a prediction a guess.
    pub unsure_below: f64,
    pub access_log: bool,
}

#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// Open at a time.
    pub max: usize,
    /// For receiving the head of a request, for a stalled write, and for an idle connection.
    pub head_timeout: Duration,
    /// From SIGTERM to the end.
    pub drain_timeout: Duration,
}
