//! `flowers serve`: serves a model over HTTP.

use std::time::Duration;

use axum::http::HeaderValue;
use tokio::runtime;
use tracing_subscriber::filter::LevelFilter;

use crate::cli::serve::{ListenArgs, LogFormat, ServeArgs};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::image::Limits;
use crate::inference::{Options, resolve_device};
use crate::machine;
use crate::memory;
use crate::serving::client::{TrustedProxies, TrustedProxy};
use crate::serving::collection::Quota;
use crate::serving::config::{ConnectionLimits, ServerConfig};
use crate::serving::keys::ApiKeys;
use crate::serving::listener::Listener;
use crate::serving::serve;
use crate::serving::state::max_decoders;

/// How Cloud Run and other platforms pass the port.
const PORT: &str = "PORT";

/// Runs `flowers serve` until SIGTERM or Ctrl-C.
///
/// # Errors
/// [`Error::Usage`] for invalid values; [`Error::Environment`] when it can't listen;
/// those of loading the model.
pub(super) fn run(args: &ServeArgs) -> Result<()> {
    start_log(args.log_format);
    let config = config(args)?;
    let runtime = runtime::Builder::new_multi_thread()
        .enable_all()
        // For decoding, and a few for writing photos and other work.
        .max_blocking_threads(max_decoders() + 4)
        .on_thread_start(memory::share_and_return)
        .build();
    let failed = |cause| Error::Environment(format!("can't start threads: {cause}"));
    let runtime = runtime.map_err(failed)?;
    let served = runtime.block_on(async {
        let listener = listener(&args.listen).await?;
        serve(listener, config).await
    });
    // Images that are still being decoded have lost their requests.
    runtime.shutdown_background();
    served?;
    // Skips the destructors of libtorch, whose state its threads may still use.
    // SAFETY: accepted requests have been answered, and no file is open for writing.
    unsafe { libc::_exit(0) }
}

fn start_log(format: LogFormat) {
    let logs = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(LevelFilter::INFO);
    match format {
        LogFormat::Text => logs.with_ansi(false).init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
}

fn config(args: &ServeArgs) -> Result<ServerConfig> {
    let limits = &args.limits;
    let device = resolve_device(args.device)?;
    Ok(ServerConfig {
        model: args.model.clone(),
        inference: Options {
            precision: args.precision,
            backend: args.backend,
            ..Options::auto(device)
        },
        threads: match device {
            Device::Cpu => args
                .threads
                .map_or_else(machine::compute_threads, usize::from),
            _ => 1,
        },
        base_path: args.listen.base_path.clone(),
        trusted_proxies: trusted_proxies(&args.listen.trusted_proxy)?,
        image_limits: Limits {
            max_pixels: limits.max_pixels,
            max_bytes: limits.max_body,
        },
        timeout: Duration::from_secs_f64(limits.timeout),
        max_queue: limits.max_queue as usize,
        max_batch: limits.max_batch as usize,
        connections: ConnectionLimits {
            max: limits.max_connections as usize,
            head_timeout: Duration::from_secs_f64(limits.header_timeout),
            drain_timeout: Duration::from_secs_f64(limits.drain_timeout),
        },
        cors_origins: origins(&args.cors_origin)?,
        keys: args
            .api_key_file
            .as_deref()
            .map(ApiKeys::read)
            .transpose()?,
        collection: args.collect.folder.clone().map(|folder| {
            let quota = Quota {
                photos: args.collect.photos,
                bytes: args.collect.bytes,
            };
            (folder, quota)
        }),
        title: args.page.title.clone().filter(|title| !title.is_empty()),
        unsure_below: args.page.unsure_below,
        access_log: args.access_log,
    })
}

fn trusted_proxies(names: &[String]) -> Result<TrustedProxies> {
    let parse = |name: &String| {
        let invalid = |why| Error::Usage(format!("--trusted-proxy {name}: {why}"));
        name.parse::<TrustedProxy>().map_err(invalid)
    };
    let names = names.iter().filter(|name| !name.is_empty());
    let proxies = names.map(parse).collect::<Result<_, _>>()?;
    Ok(TrustedProxies::new(proxies))
}

/// Origins as browsers send them: a scheme, a host, and maybe a port, without a path.
fn origins(names: &[String]) -> Result<Vec<HeaderValue>> {
    let parse = |name: &String| {
        let host = name.split_once("://").map(|(_, host)| host);
        let valid = name == "*" || host.is_some_and(|host| !host.is_empty() && !host.contains('/'));
        let value = HeaderValue::from_str(name).ok().filter(|_| valid);
        value.ok_or_else(|| {
            let message = format!(
                "--cors-origin {name}: expected an origin without a path, e.g. \
                 https://example.com, or `*`"
            );
            Error::Usage(message).into()
        })
    };
    let names = names.iter().filter(|name| !name.is_empty());
    names.map(parse).collect()
}

async fn listener(args: &ListenArgs) -> Result<Listener> {
    if let Some(inherited) = Listener::inherited()? {
        return Ok(inherited);
    }
    if let Some(path) = &args.socket {
        #[cfg(unix)]
        return Listener::unix(path);
        #[cfg(not(unix))]
        return Err(Error::Usage("Unix sockets need a Unix system".into()).into());
    }
    Listener::tcp(&args.host, port(args.port)?).await
}

fn port(given: Option<u16>) -> Result<u16> {
    /// That of Flask, so that its clients work unchanged.
    const DEFAULT: u16 = 5000;
    if let Some(port) = given {
        return Ok(port);
    }
    match std::env::var(PORT) {
        Err(_) => Ok(DEFAULT),
        Ok(text) if text.is_empty() => Ok(DEFAULT),
        Ok(text) => text.parse().map_err(|_| {
            let message = format!("the environment variable {PORT} is not a port: {text:?}");
            Error::Usage(message).into()
        }),
    }
}
