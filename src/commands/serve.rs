//! `flowers serve`: a model behind HTTP.

use std::time::Duration;

use axum::http::HeaderValue;
use tokio::runtime;
use tracing_subscriber::filter::LevelFilter;

use crate::cli::serve::{LogFormat, Place, ServeArgs};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::image::Limits;
use crate::inference::{Kernels, Options, resolve_device};
use crate::memory;
use crate::serving::client::{Trusted, TrustedName};
use crate::serving::collect::Bounds;
use crate::serving::keys::Keys;
use crate::serving::listener::Listener;
use crate::serving::serve;
use crate::serving::service::decoders;
use crate::serving::settings::{Connections, Settings};

/// Where Cloud Run and others tell the port.
const PORT: &str = "PORT";

/// Runs `flowers serve` until it is told to stop.
///
/// # Errors
/// [`Error::Usage`] for values that make no sense; [`Error::Environment`] when it can't listen;
/// those of loading the model.
pub fn run(args: &ServeArgs) -> Result<()> {
    log(args.log_format);
    let settings = settings(args)?;
    let runtime = runtime::Builder::new_multi_thread()
        .enable_all()
        // For decoding, and a few for loading models and writing photos.
        .max_blocking_threads(decoders() + 4)
        .on_thread_start(memory::share_and_return)
        .build();
    let refused = |cause| Error::Environment(format!("can't start threads: {cause}"));
    let runtime = runtime.map_err(refused)?;
    let served = runtime.block_on(async {
        let listener = listener(&args.place).await?;
        serve(listener, settings).await
    });
    // Nobody waits for what is still being decoded.
    runtime.shutdown_background();
    served?;
    // Without the destructors of libtorch, which its threads may still be using.
    // SAFETY: all that was accepted is answered, and no file is open for writing.
    unsafe { libc::_exit(0) }
}

fn log(format: LogFormat) {
    let logs = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(LevelFilter::INFO);
    match format {
        LogFormat::Text => logs.with_ansi(false).init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
}

fn settings(args: &ServeArgs) -> Result<Settings> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let limits = &args.limits;
    let device = resolve_device(args.device)?;
    Ok(Settings {
        model: args.model.clone(),
        inference: Options {
            device,
            precision: args.precision,
            kernels: Kernels::Auto,
        },
        threads: match device {
            Device::Cpu => args.threads.map_or(cores, usize::from),
            _ => 1,
        },
        base_path: args.place.base_path.clone(),
        trusted: trusted(&args.place.trusted_proxy)?,
        picture: Limits {
            max_pixels: limits.max_pixels,
            max_bytes: limits.max_body,
        },
        timeout: Duration::from_secs_f64(limits.timeout),
        max_queue: limits.max_queue as usize,
        max_batch: limits.max_batch as usize,
        connections: Connections {
            max: limits.max_connections as usize,
            head_timeout: Duration::from_secs_f64(limits.header_timeout),
            drain_timeout: Duration::from_secs_f64(limits.drain_timeout),
        },
        cors_origins: origins(&args.cors_origin)?,
        keys: args.api_key_file.as_deref().map(Keys::read).transpose()?,
        collect: args.collect.folder.clone().map(|folder| {
            let bounds = Bounds {
                photos: args.collect.photos,
                bytes: args.collect.bytes,
            };
            (folder, bounds)
        }),
        title: args.page.title.clone().filter(|title| !title.is_empty()),
        unsure_below: args.page.unsure_below,
        access_log: args.access_log,
    })
}

fn trusted(names: &[String]) -> Result<Trusted> {
    let name = |name: &String| {
        let refused = |why| Error::Usage(format!("--trusted-proxy {name}: {why}"));
        name.parse::<TrustedName>().map_err(refused)
    };
    let names = names.iter().filter(|name| !name.is_empty());
    let names: Vec<TrustedName> = names.map(name).collect::<Result<_, _>>()?;
    Ok(Trusted::new(&names))
}

/// Origins as browsers send them: a scheme, a host, perhaps a port, and nothing behind.
fn origins(names: &[String]) -> Result<Vec<HeaderValue>> {
    let origin = |name: &String| {
        let host = name.split_once("://").map(|(_, host)| host);
        let good = name == "*" || host.is_some_and(|host| !host.is_empty() && !host.contains('/'));
        let value = HeaderValue::from_str(name).ok().filter(|_| good);
        value.ok_or_else(|| {
            let message = format!(
                "--cors-origin {name}: expected an origin without a path, e.g. \
                 https://example.com, or `*`"
            );
            Error::Usage(message).into()
        })
    };
    let names = names.iter().filter(|name| !name.is_empty());
    names.map(origin).collect()
}

async fn listener(place: &Place) -> Result<Listener> {
    if let Some(inherited) = Listener::inherited()? {
        return Ok(inherited);
    }
    if let Some(path) = &place.listen {
        #[cfg(unix)]
        return Listener::unix(path);
        #[cfg(not(unix))]
        return Err(Error::Usage("unix sockets need a Unix system".into()).into());
    }
    Listener::tcp(&place.host, port(place.port)?).await
}

fn port(given: Option<u16>) -> Result<u16> {
    /// What Flask listens on, whose clients are to go on working.
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
