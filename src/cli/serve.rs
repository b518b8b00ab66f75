//! Arguments of `flowers serve`.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{Args, ValueEnum};

use crate::engine::Precision;

#[derive(Debug, Args)]
#[command(after_help = "\
POST /predict takes a form with a picture as field `file` (or several), or the picture itself as
body. GET / is a page to try it, /openapi.json describes the rest: /labels /healthz /readyz /metrics.

SIGTERM and Ctrl-C: /readyz goes down, accepted requests are finished, exit code 0. SIGHUP, or a
changed file: the model is loaded beside the old one, tested, and swapped in; if it is bad, the old
one stays. A socket that systemd opened (LISTEN_FDS) is used instead of --host and --port.

Memory, beyond the model: at most --max-connections uploads of twice --max-body, one picture of 11
bytes a pixel (--max-pixels) a core while it is decoded and as much of pictures before it, until ten
seconds later, and --max-queue pictures of the network's size.

Examples:
  flowers serve run/model.safetensors
  curl -F file=@rose.jpg http://127.0.0.1:5000/predict
  flowers serve run/model.safetensors --host 0.0.0.0 --port 80 --api-key-file keys --log-format json
  flowers serve run/model.safetensors --listen unix:/run/flowers.sock --base-path /flowers --trusted-proxy unix")]
pub struct ServeArgs {
    /// Model file
    #[arg(env = "FLOWERS_MODEL")]
    pub model: PathBuf,
    #[command(flatten)]
    pub place: Place,
    #[command(flatten)]
    pub limits: ServeLimits,
    /// Threads that compute [default: one a core]
    #[arg(long, env = "FLOWERS_THREADS", value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Numbers to compute with
    #[arg(long, env = "FLOWERS_PRECISION", value_enum, default_value_t)]
    pub precision: Precision,
    /// Origins whose pages may call, e.g. `https://example.com`, or `*` [default: none]
    #[arg(
        long,
        env = "FLOWERS_CORS_ORIGIN",
        value_name = "LIST",
        value_delimiter = ','
    )]
    pub cors_origin: Vec<String>,
    /// File of API keys, one a line; /, /healthz and /readyz stay open
    #[arg(long, env = "FLOWERS_API_KEY_FILE", value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
    /// Form of the log on standard error
    #[arg(long, env = "FLOWERS_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Log every request, with its id
    #[arg(long, env = "FLOWERS_ACCESS_LOG", value_parser = FalseyValueParser::new())]
    pub access_log: bool,
    #[command(flatten)]
    pub collect: Collect,
}

/// Where to listen, and what stands before.
#[derive(Debug, Args)]
pub struct Place {
    /// Address or name to listen on; 0.0.0.0 for all
    #[arg(long, env = "FLOWERS_HOST", default_value = "127.0.0.1")]
    pub host: String,
    /// Port to listen on; the variable PORT is honoured too [default: 5000]
    #[arg(long, env = "FLOWERS_PORT")]
    pub port: Option<u16>,
    /// Unix socket to listen on instead
    #[arg(long, env = "FLOWERS_LISTEN", value_name = "unix:PATH", value_parser = unix_socket)]
    pub listen: Option<PathBuf>,
    /// Path before every route, e.g. /flowers, for a proxy that keeps it
    #[arg(long, env = "FLOWERS_BASE_PATH", value_name = "PATH", default_value = "", hide_default_value = true, value_parser = base_path)]
    pub base_path: String,
    /// Proxies whose X-Forwarded-For and -Proto are believed: networks, addresses, `unix`
    #[arg(
        long,
        env = "FLOWERS_TRUSTED_PROXY",
        value_name = "LIST",
        value_delimiter = ','
    )]
    pub trusted_proxy: Vec<String>,
}

#[derive(Debug, Args)]
pub struct ServeLimits {
    /// Largest upload in bytes
    #[arg(long, env = "FLOWERS_MAX_BODY", value_name = "BYTES", default_value_t = 20_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub max_body: u64,
    /// Largest picture, width times height
    #[arg(long, env = "FLOWERS_MAX_PIXELS", value_name = "N", default_value_t = 50_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub max_pixels: u64,
    /// Time from the head of a request to its answer
    #[arg(long, env = "FLOWERS_TIMEOUT", value_name = "S", default_value_t = 30.0, value_parser = seconds)]
    pub timeout: f64,
    /// Time for the head of a request to come, for bytes of an answer to go, and to be idle
    #[arg(long, env = "FLOWERS_HEADER_TIMEOUT", value_name = "S", default_value_t = 15.0, value_parser = seconds)]
    pub header_timeout: f64,
    /// Pictures between upload and answer; beyond it clients are told to come back (429). When they
    /// leave more slowly than they did, as under far too many requests, it is down to half, so that
    /// the wait remains the same
    #[arg(long, env = "FLOWERS_MAX_QUEUE", value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub max_queue: u32,
    /// Pictures that a thread takes at once
    #[arg(long, env = "FLOWERS_MAX_BATCH", value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub max_batch: u32,
    /// Open connections; beyond it clients wait
    #[arg(long, env = "FLOWERS_MAX_CONNECTIONS", value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub max_connections: u32,
    /// Time after SIGTERM for what was accepted
    #[arg(long, env = "FLOWERS_DRAIN_TIMEOUT", value_name = "S", default_value_t = 20.0, value_parser = seconds)]
    pub drain_timeout: f64,
}

#[derive(Debug, Args)]
pub struct Collect {
    /// Keep photos whose label people confirm or correct on the page, as a data set
    #[arg(long = "collect", env = "FLOWERS_COLLECT", value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// Most photos to keep
    #[arg(
        long = "collect-photos",
        env = "FLOWERS_COLLECT_PHOTOS",
        value_name = "N",
        default_value_t = 10_000
    )]
    pub photos: u64,
    /// Most bytes to keep
    #[arg(
        long = "collect-bytes",
        env = "FLOWERS_COLLECT_BYTES",
        value_name = "N",
        default_value_t = 2_000_000_000
    )]
    pub bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    /// An object a line
    Json,
}

fn unix_socket(text: &str) -> Result<PathBuf, String> {
    match text.strip_prefix("unix:") {
        Some(path) if !path.is_empty() => Ok(path.into()),
        _ => Err("unix: and a path is wanted, e.g. unix:/run/flowers.sock".into()),
    }
}

/// A path without a slash at its end; `/` is the same as none.
fn base_path(text: &str) -> Result<String, String> {
    let path = text.trim_end_matches('/');
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.~".contains(c);
    let mut parts = path.split('/').skip(1);
    let good = parts
        .all(|part| !part.is_empty() && part.chars().all(plain) && part.chars().any(|c| c != '.'));
    match path.is_empty() || (path.starts_with('/') && good) {
        true => Ok(path.into()),
        false => Err("a path of letters, digits and -_.~ is wanted, e.g. /flowers".into()),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.01..=86400.0).contains(&seconds) => Ok(seconds),
        _ => Err("seconds from 0.01 to 86400 are wanted".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_path_is_plain() {
        for (text, path) in [
            ("", ""),
            ("/", ""),
            ("/flowers", "/flowers"),
            ("/a/b-c/", "/a/b-c"),
        ] {
            assert_eq!(base_path(text).as_deref(), Ok(path));
        }
        for bad in ["flowers", "/a//b", "/{id}", "/a b", "/..", "/a/./b", "//"] {
            assert!(bad == "//" || base_path(bad).is_err(), "{bad}");
        }
    }
}
