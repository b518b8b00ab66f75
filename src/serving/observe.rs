//! What is done for every request: an id, metrics, a line in the log, and cautious headers.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use rand::RngExt;
use tracing::info;

use super::client::{Client, Peer};
use super::metrics::Metrics;
use super::routes::route_of;
use super::service::Service;

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Wraps the handler of every request.
pub async fn observe(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Response {
    let start = Instant::now();
    let settings = &service.settings;
    let id = request_id(request.headers());
    let route = route_of(request.uri().path(), &settings.base_path);
    let method = method_of(request.method());
    let peer = request.extensions().get::<Peer>().copied();
    let client = settings
        .trusted
        .client(peer.unwrap_or(Peer::UnixSocket), request.headers());
    let path = settings.access_log.then(|| request.uri().path().to_owned());
    let mut counted = Counted {
        metrics: &service.metrics,
        route,
        method,
        status: GONE,
        start,
    };
    let mut response = next.run(request).await;
    let status = response.status().as_u16();
    counted.status = status;
    drop(counted);
    let took = start.elapsed();
    if let Some(path) = path {
        let Client { address, https } = client;
        let client = address.map_or("-".into(), |address| address.to_string());
        let milliseconds = took.as_secs_f64() * 1e3;
        info!(target: "access", %client, https, method, path, status, milliseconds, id = id.to_str().unwrap_or("-"), "request");
    }
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if service.stop.is_draining() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The status that is counted for a client that left before its answer, as nginx does.
const GONE: u16 = 499;

/// Counts a request when it is dropped: answered, or given up.
struct Counted<'a> {
    metrics: &'a Metrics,
    route: &'static str,
    method: &'static str,
    status: u16,
    start: Instant,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let took = self.start.elapsed();
        let metrics = self.metrics;
        metrics.request(self.route, self.method, self.status, took);
    }
}

/// The id that a proxy gave, if it is harmless in a log, or a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let harmless = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
    let given = headers.get(REQUEST_ID).filter(|id| {
        let id = id.as_bytes();
        (1..=64).contains(&id.len()) && id.iter().all(harmless)
    });
    given.cloned().unwrap_or_else(|| {
        let id = format!("{:016x}", rand::rng().random::<u64>());
        HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("-"))
    })
}

/// The method as a label; a client may invent others.
fn method_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
