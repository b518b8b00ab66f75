//! Middleware around every request: its id, metrics, access log, and security headers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use rand::RngExt;
use tracing::info;

use super::client::{Client, Peer};
use super::metrics::Metrics;
use super::state::AppState;

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The status that is counted when the client closes its connection before the response, as in
/// nginx.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// To be layered around the whole router, after its routes.
pub async fn observe(State(state): State<Arc<AppState>>, request: Request, next: Next) -> Response {
    let config = &state.config;
    let id = request_id(request.headers());
    let peer = request.extensions().get::<Peer>().copied();
    let peer = peer.unwrap_or(Peer::UnixSocket);
    let access = config.access_log.then(|| Access {
        client: config.trusted_proxies.client(peer, request.headers()),
        method: method_label(request.method()),
        path: request.uri().path().to_owned(),
        id: id.clone(),
    });
    let mut measured = Measured {
        metrics: &state.metrics,
        route: route_label(request.extensions().get(), &config.base_path),
        method: method_label(request.method()),
        status: CLIENT_CLOSED_REQUEST,
        start: Instant::now(),
    };
    let mut response = next.run(request).await;
    measured.status = response.status().as_u16();
    if let Some(access) = access {
        access.log(response.status(), measured.start.elapsed());
    }
    drop(measured);
    add_headers(response.headers_mut(), id);
    if state.shutdown.is_draining() {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

/// Counts a request when it is dropped: answered, or abandoned by its client.
struct Measured<'a> {
    metrics: &'a Metrics,
    route: String,
    method: &'static str,
    status: u16,
    start: Instant,
}

impl Drop for Measured<'_> {
    fn drop(&mut self) {
        let route = std::mem::take(&mut self.route);
        let duration = self.start.elapsed();
        self.metrics
            .request(route, self.method, self.status, duration);
    }
}

/// A line of the access log.
struct Access {
    client: Client,
    method: &'static str,
    path: String,
    id: HeaderValue,
}

impl Access {
    fn log(self, status: StatusCode, duration: Duration) {
        let Client { address, https } = self.client;
        let client = address.map_or("-".into(), |address| address.to_string());
        info!(
            target: "access",
            %client,
            https,
            method = self.method,
            path = self.path,
            status = status.as_u16(),
            milliseconds = duration.as_secs_f64() * 1e3,
            id = self.id.to_str().unwrap_or("-"),
            "request"
        );
    }
}

fn add_headers(headers: &mut HeaderMap, id: HeaderValue) {
    headers.insert(REQUEST_ID, id);
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// The id that a proxy gave if it is safe to log, or a random one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let safe = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
    let given = headers.get(REQUEST_ID).filter(|id| {
        let id = id.as_bytes();
        (1..=64).contains(&id.len()) && id.iter().all(safe)
    });
    given.cloned().unwrap_or_else(|| {
        let id = format!("{:016x}", rand::rng().random::<u64>());
        HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("-"))
    })
}

/// The route below the base path, without a trailing slash, or `other` for an unknown path: clients
/// can't add time series.
fn route_label(matched: Option<&MatchedPath>, base_path: &str) -> String {
    let Some(matched) = matched.map(MatchedPath::as_str) else {
        return "other".into();
    };
    let route = matched.strip_prefix(base_path).unwrap_or(matched);
    match route.trim_end_matches('/') {
        "" => "/".into(),
        route => route.into(),
    }
}

/// The method if a route or a browser may use it; clients can make others up.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
