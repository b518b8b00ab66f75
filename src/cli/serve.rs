//! Arguments of `flowers serve`.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{Args, ValueEnum};

use super::paths;
use crate::device::DeviceChoice;
use crate::inference::{Choice, Precision};
use crate::values::{fraction, real, whole};

/// The range of time limits.
const SECONDS: RangeInclusive<f64> = 0.01..=86_400.0;

#[derive(Debug, Args)]
#[command(after_help = "\
POST /predict takes a form with one or more pictures in the field `file`, or a single picture as the \
request body. GET / is a web page to try the model. /openapi.json describes the other routes: \
/labels, /healthz, /readyz, /metrics, and /feedback with --collect.

On SIGTERM or Ctrl-C, /readyz starts to fail, accepted requests are finished, and the exit code is 0. \
On SIGHUP, or when the model file changes, the new model is loaded next to the old one, tested, and \
swapped in; if that fails, the old one stays. A socket opened by systemd (LISTEN_FDS) takes the place \
of --host and --port. Empty environment variables count as unset.

Memory beyond the model: for each of --max-connections, at most twice --max-body; for each core, 11 \
bytes per pixel of the picture that it decodes (--max-pixels), and as much again left by earlier ones, \
which is released after ten seconds; and --max-queue pictures of the network's input size.

Examples:
  flowers serve run/model.safetensors
  curl -F file=@rose.jpg http://127.0.0.1:5000/predict
  flowers serve run/model.safetensors --host 0.0.0.0 --port 80 --api-key-file keys --log-format json
  flowers serve run/model.safetensors --listen unix:/run/f.sock --base-path /f --trusted-proxy unix")]
pub struct ServeArgs {
    /// Model file, or the folder of a run
    #[arg(env = "FLOWERS_MODEL", value_parser = paths::model())]
    pub model: PathBuf,
    #[command(flatten)]
    pub listen: ListenArgs,
    #[command(flatten)]
    pub limits: LimitArgs,
    /// Device to compute on; on a GPU, see also --max-batch
    #[arg(long, env = "FLOWERS_DEVICE", value_enum, default_value_t = DeviceChoice::Auto)]
    pub device: DeviceChoice,
    /// CPU threads to compute with; they sleep sooner while other processes use the machine, unless
    /// OMP_WAIT_POLICY or GOMP_SPINCOUNT is set [default: one per core]
    #[arg(long, env = "FLOWERS_THREADS", value_name = "N", value_parser = whole::<u16>(1..=1024))]
    pub threads: Option<u16>,
    /// Precision to compute in
    #[arg(long, env = "FLOWERS_PRECISION", value_enum, default_value_t)]
    pub precision: Precision,
    /// Backend to compute with
    #[arg(long, value_enum, default_value_t = Choice::Auto)]
    pub backend: Choice,
    /// Origins whose pages may call the server, e.g. `https://example.com`, or `*` [default: none]
    #[arg(
        long,
        env = "FLOWERS_CORS_ORIGIN",
        value_name = "LIST",
        value_delimiter = ','
    )]
    pub cors_origin: Vec<String>,
    /// File with API keys, one per line; /, /healthz and /readyz need no key
    #[arg(long, env = "FLOWERS_API_KEY_FILE", value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
    /// Format of the log on standard error
    #[arg(long, env = "FLOWERS_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Log every request with its id
    #[arg(long, env = "FLOWERS_ACCESS_LOG", value_parser = FalseyValueParser::new())]
    pub access_log: bool,
    #[command(flatten)]
    pub page: PageArgs,
    #[command(flatten)]
    pub collect: CollectArgs,
}

/// The web page.
#[derive(Debug, Args)]
pub struct PageArgs {
    /// Title of the page [default: Flower Classifier if the classes are flowers, else Image
    /// Classifier]
    #[arg(long, env = "FLOWERS_TITLE", value_name = "TEXT")]
    pub title: Option<String>,
    /// Confidence, 0 to 1, below which the page calls a prediction a guess
    #[arg(long, env = "FLOWERS_UNSURE_BELOW", value_name = "FRACTION", default_value_t = 0.5, value_parser = fraction)]
    pub unsure_below: f64,
}

/// Where to listen, and behind which proxies.
#[derive(Debug, Args)]
pub struct ListenArgs {
    /// Address or host name to listen on; 0.0.0.0 for all interfaces
    #[arg(long, env = "FLOWERS_HOST", default_value = "127.0.0.1", value_parser = host)]
    pub host: String,
    /// Port to listen on [default: the environment variable PORT, or 5000]
    #[arg(long, env = "FLOWERS_PORT", value_parser = whole::<u16>(0..=65_535))]
    pub port: Option<u16>,
    /// Unix socket to listen on instead of host and port
    #[arg(long = "listen", env = "FLOWERS_LISTEN", value_name = "unix:PATH", value_parser = unix_socket)]
    pub socket: Option<PathBuf>,
    /// Path in front of every route, e.g. /flowers, for a proxy that does not strip it
    #[arg(long, env = "FLOWERS_BASE_PATH", value_name = "PATH", default_value = "", hide_default_value = true, value_parser = base_path)]
    pub base_path: String,
    /// Proxies whose X-Forwarded-For and X-Forwarded-Proto are trusted: networks, addresses, `unix`
    #[arg(
        long,
        env = "FLOWERS_TRUSTED_PROXY",
        value_name = "LIST",
        value_delimiter = ','
    )]
    pub trusted_proxy: Vec<String>,
}

#[derive(Debug, Args)]
pub struct LimitArgs {
    /// Largest request body in bytes
    #[arg(long, env = "FLOWERS_MAX_BODY", value_name = "BYTES", default_value_t = 20_000_000, value_parser = whole::<u64>(1..=1_000_000_000))]
    pub max_body: u64,
    /// Largest picture in pixels, width times height
    #[arg(long, env = "FLOWERS_MAX_PIXELS", value_name = "N", default_value_t = 50_000_000, value_parser = whole::<u64>(1..=1_000_000_000))]
    pub max_pixels: u64,
    /// Time limit from the head of a request to its response
    #[arg(long, env = "FLOWERS_TIMEOUT", value_name = "SECONDS", default_value_t = 30.0, value_parser = real(SECONDS))]
    pub timeout: f64,
    /// Time limit for receiving the head of a request, for a stalled response, and for an idle
    /// connection
    #[arg(long, env = "FLOWERS_HEADER_TIMEOUT", value_name = "SECONDS", default_value_t = 15.0, value_parser = real(SECONDS))]
    pub header_timeout: f64,
    /// Pictures between upload and response; beyond that, clients are told to retry later (429). Under
    /// overload, when pictures take longer than usual, the limit falls to as little as half of this, so
    /// that they do not wait longer
    #[arg(long, env = "FLOWERS_MAX_QUEUE", value_name = "N", default_value_t = 128, value_parser = whole::<u32>(1..=100_000))]
    pub max_queue: u32,
    /// Largest batch of pictures that a thread computes at once
    #[arg(long, env = "FLOWERS_MAX_BATCH", value_name = "N", default_value_t = 8, value_parser = whole::<u32>(1..=1024))]
    pub max_batch: u32,
    /// Open connections; beyond that, clients wait
    #[arg(long, env = "FLOWERS_MAX_CONNECTIONS", value_name = "N", default_value_t = 256, value_parser = whole::<u32>(1..=100_000))]
    pub max_connections: u32,
    /// Time limit for finishing accepted requests after SIGTERM
    #[arg(long, env = "FLOWERS_DRAIN_TIMEOUT", value_name = "SECONDS", default_value_t = 20.0, value_parser = real(SECONDS))]
    pub drain_timeout: f64,
}

#[derive(Debug, Args)]
pub struct CollectArgs {
    /// Folder for photos whose labels users confirm or correct on the page; becomes a data set
    #[arg(long = "collect", env = "FLOWERS_COLLECT", value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// Largest number of photos to keep
    #[arg(
        long = "collect-photos",
        env = "FLOWERS_COLLECT_PHOTOS",
        value_name = "N",
        default_value_t = 10_000,
        value_parser = whole::<u64>(0..=u64::MAX)
    )]
    pub photos: u64,
    /// Largest total size of the photos to keep, in bytes
    #[arg(
        long = "collect-bytes",
        env = "FLOWERS_COLLECT_BYTES",
        value_name = "BYTES",
        default_value_t = 2_000_000_000,
        value_parser = whole::<u64>(0..=u64::MAX)
    )]
    pub bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    /// One JSON object per line
    Json,
}

fn unix_socket(text: &str) -> Result<PathBuf, String> {
    match text.strip_prefix("unix:") {
        Some(path) if !path.is_empty() => Ok(path.into()),
        _ => Err("expected unix:PATH, e.g. unix:/run/flowers.sock".into()),
    }
}

/// A host without scheme or port. IPv6 addresses contain colons too.
fn host(text: &str) -> Result<String, String> {
    let bare = text.split_once("://").map_or(text, |(_, rest)| rest);
    let bare = bare.trim_end_matches('/');
    let port = |text: &str| text.parse::<u16>().is_ok();
    let bracketed = bare
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("]:"));
    let split = match bare.matches(':').count() {
        1 => bare.split_once(':'),
        _ => bracketed,
    };
    match split.filter(|(_, number)| port(number)) {
        Some((host, port)) => Err(format!(
            "the port has its own option: --host {host} --port {port}"
        )),
        None if bare != text => Err(format!("expected a host without a scheme: --host {bare}")),
        None => Ok(text.into()),
    }
}

/// A path without a trailing slash; `/` is the same as none.
fn base_path(text: &str) -> Result<String, String> {
    let path = text.trim_end_matches('/');
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.~".contains(c);
    let mut parts = path.split('/').skip(1);
    let good = parts
        .all(|part| !part.is_empty() && part.chars().all(plain) && part.chars().any(|c| c != '.'));
    match path.is_empty() || (path.starts_with('/') && good) {
        true => Ok(path.into()),
        false => Err("expected a path of letters, digits and -_.~, e.g. /flowers".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_no_port() {
        for good in ["localhost", "0.0.0.0", "::1", "[::1]", "fe80::1:80"] {
            assert_eq!(host(good).as_deref(), Ok(good));
        }
        for (bad, meant) in [
            ("localhost:5000", "--host localhost --port 5000"),
            ("[::1]:80", "--host ::1 --port 80"),
            ("http://localhost:80/", "--host localhost --port 80"),
            ("http://localhost", "--host localhost"),
        ] {
            let message = host(bad).unwrap_err();
            assert!(message.ends_with(meant), "{message}");
        }
    }

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
